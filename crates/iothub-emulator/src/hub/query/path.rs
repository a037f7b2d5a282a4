use std::fmt;

use super::Source;

/// Where in a document a value is: the names of members, from the root on.
///
/// The hub's own names are in the hub's spelling, whatever the query's was; what belongs to the application is as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<Box<str>>);

impl Path {
    /// `names` are as written; a leading source, as in `devices.jobs.jobId`, is dropped.
    pub(super) fn new(mut names: Vec<Box<str>>, source: Source) -> Self {
        let words = source.words();
        for words in [words, &words[..1]] {
            let is_source = names
                .iter()
                .zip(words)
                .all(|(name, word)| name.eq_ignore_ascii_case(word));
            if names.len() > words.len() && is_source {
                names.drain(..words.len());
                break;
            }
        }
        match source {
            Source::Jobs => spell(&mut names, JOB),
            Source::Devices | Source::Modules => spell(&mut names, TWIN),
        }
        Self(names)
    }

    pub(crate) fn names(&self) -> &[Box<str>] {
        &self.0
    }

    /// The name that a column has if it is not given another one.
    pub(super) fn last(&self) -> &str {
        self.0.last().map_or("", |name| name)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// A name of the hub's own, other spellings of it, and the names below it.
struct Spelling {
    name: &'static str,
    also: Option<&'static str>,
    below: &'static [Self],
}

/// Brings names that the hub knows into its spelling, as deep as it knows them.
fn spell(names: &mut [Box<str>], known: &[Spelling]) {
    let Some((first, rest)) = names.split_first_mut() else {
        return;
    };
    let is = |name: &str| first.eq_ignore_ascii_case(name);
    if let Some(spelling) = known
        .iter()
        .find(|spelling| is(spelling.name) || spelling.also.is_some_and(is))
    {
        *first = spelling.name.into();
        spell(rest, spelling.below);
    }
}

const fn name(name: &'static str) -> Spelling {
    Spelling {
        name,
        also: None,
        below: &[],
    }
}

const fn above(name: &'static str, below: &'static [Spelling]) -> Spelling {
    Spelling {
        name,
        also: None,
        below,
    }
}

const TWIN: &[Spelling] = &[
    name("deviceId"),
    name("moduleId"),
    name("modelId"),
    name("etag"),
    name("version"),
    name("deviceEtag"),
    name("status"),
    name("statusReason"),
    Spelling {
        name: "statusUpdateTime",
        also: Some("statusUpdatedTime"),
        below: &[],
    },
    name("connectionState"),
    name("lastActivityTime"),
    name("cloudToDeviceMessageCount"),
    name("authenticationType"),
    // The hub itself is of two minds about these two.
    above(
        "x509Thumbprint",
        &[name("PrimaryThumbprint"), name("SecondaryThumbprint")],
    ),
    above("capabilities", &[name("iotEdge")]),
    name("deviceScope"),
    name("parentScopes"),
    name("configurations"),
    name("tags"),
    above("properties", &[name("desired"), name("reported")]),
];

const JOB: &[Spelling] = &[
    name("deviceId"),
    name("jobId"),
    name("jobType"),
    name("status"),
    name("startTimeUtc"),
    name("endTimeUtc"),
    // The documentation filters on the short name, the rows carry the long one.
    Spelling {
        name: "createdDateTimeUtc",
        also: Some("createdTimeUtc"),
        below: &[],
    },
    Spelling {
        name: "lastUpdatedDateTimeUtc",
        also: Some("lastUpdatedTimeUtc"),
        below: &[],
    },
    above(
        "outcome",
        &[above("deviceMethodResponse", &[name("status"), name("payload")])],
    ),
    above("error", &[name("code"), name("description")]),
];
