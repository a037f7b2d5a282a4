use iothub_core::HubErrorCode;
use time::OffsetDateTime;

use crate::hub::{
    Failure, Target,
    json_text::{RawMembers, compact, quoted},
    property_tree::Node,
    twin::Section,
    twin_request::SectionChange,
};

/// What a configuration writes into the twins that it is for.
#[derive(Debug)]
pub(crate) struct ConfigurationContent {
    /// Compact JSON, as clients see it.
    pub(crate) json: String,
    pub(crate) kind: ContentKind,
}

/// Which twins a configuration is for, and what it writes there.
#[derive(Debug)]
pub(crate) enum ContentKind {
    Device(Vec<Setting>),
    Module(Vec<Setting>),
    /// An edge deployment: settings for each module of an edge device.
    Edge(Deployment),
}

/// Settings by module.
type Deployment = Vec<(Box<str>, Vec<Setting>)>;

/// A value for one place in the desired properties, where it replaces what is there.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Empty for the desired properties as a whole.
    path: Box<[Box<str>]>,
    value: Node,
}

impl ConfigurationContent {
    /// From the text of a JSON object. What is empty counts as absent, because some clients send all three kinds.
    pub(crate) fn parse(json: &str) -> Result<Self, Failure> {
        let json = compact(json).map_err(wrong)?;
        let mut found = None;
        for (name, text) in members(&json)? {
            if matches!(text, "null" | "{}") {
                continue;
            }
            let kind = match name.as_str() {
                "deviceContent" => ContentKind::Device(settings(text)?),
                "moduleContent" => ContentKind::Module(settings(text)?),
                "modulesContent" => ContentKind::Edge(deployment(text)?),
                _ => continue,
            };
            let json = format!("{{{}:{text}}}", quoted(&name));
            if found.replace(Self { json, kind }).is_some() {
                return Err(refused("there is content for more than one kind of twin"));
            }
        }
        found.ok_or_else(|| refused("there is neither deviceContent nor moduleContent nor modulesContent"))
    }

    /// Whether this is a deployment that only adds to another one: it says nothing about all of the edge agent.
    pub(crate) fn is_layered(&self) -> bool {
        match &self.kind {
            ContentKind::Edge(modules) => modules.iter().any(|(module, settings)| {
                &**module == EDGE_AGENT && settings.iter().all(|setting| !setting.is_whole())
            }),
            _ => false,
        }
    }

    /// The system metrics of such a configuration, each with its query.
    pub(crate) fn system_queries(&self, id: &str, target: &str) -> Vec<(&'static str, String)> {
        let applied = format!("configurations.[[{id}]].status = 'Applied'");
        let below = |prefix: &str| match target.trim() {
            "*" => prefix.to_owned(),
            condition if prefix.contains(" where ") => format!("{prefix} and ({condition})"),
            condition => format!("{prefix} where {condition}"),
        };
        match &self.kind {
            ContentKind::Device(_) => vec![
                ("targetedCount", below("select deviceId from devices")),
                ("appliedCount", format!("select deviceId from devices where {applied}")),
            ],
            ContentKind::Module(_) => vec![
                (
                    "targetedCount",
                    match target.trim_start().get(..4) {
                        Some(word) if word.eq_ignore_ascii_case("from") => format!("select deviceId {}", target.trim()),
                        _ => below("select deviceId from devices.modules"),
                    },
                ),
                (
                    "appliedCount",
                    format!("select deviceId from devices.modules where {applied}"),
                ),
            ],
            ContentKind::Edge(_) => {
                let agent =
                    format!("select deviceId from devices.modules where moduleId = '{EDGE_AGENT}' and {applied}");
                let reported = "properties.desired.$version = properties.reported.lastDesiredVersion \
                                and properties.reported.lastDesiredStatus.code";
                vec![
                    (
                        "targetedCount",
                        below("select deviceId from devices where capabilities.iotEdge = true"),
                    ),
                    ("appliedCount", agent.clone()),
                    ("reportedSuccessfulCount", format!("{agent} and {reported} = 200")),
                    ("reportedFailedCount", format!("{agent} and {reported} != 200")),
                ]
            }
        }
    }
}

impl ContentKind {
    /// Where it writes, to find out who else does.
    pub(crate) fn paths(&self) -> Vec<String> {
        let of = |prefix: &str, settings: &[Setting]| -> Vec<String> {
            let paths = settings.iter().map(|setting| setting.path.join("."));
            paths.map(|path| format!("{prefix}.{path}.")).collect()
        };
        match self {
            Self::Device(settings) | Self::Module(settings) => of("", settings),
            Self::Edge(modules) => modules
                .iter()
                .flat_map(|(module, settings)| of(module, settings))
                .collect(),
        }
    }
}

impl Setting {
    fn parse(name: &str, json: &str) -> Result<Self, Failure> {
        let rest = name.strip_prefix("properties.desired").ok_or_else(|| outside(name))?;
        let path: Box<[Box<str>]> = match rest.strip_prefix('.') {
            Some(path) if path.split('.').all(|name| !name.is_empty()) => path.split('.').map(Into::into).collect(),
            None if rest.is_empty() => Box::default(),
            _ => return Err(outside(name)),
        };
        // Checked where it is going to stand, because the limits of twins count from the section on.
        let (mut whole, mut ends) = (String::new(), String::new());
        for name in &path {
            whole.push_str(&format!("{{{}:", quoted(name)));
            ends.push('}');
        }
        match SectionChange::parse("properties.desired", &format!("{whole}{json}{ends}")).map_err(wrong)? {
            SectionChange::Members(_) => {}
            _ => return Err(refused("properties.desired cannot be null")),
        }
        Ok(Self {
            path,
            value: Node::new(json),
        })
    }

    fn is_whole(&self) -> bool {
        self.path.is_empty()
    }

    pub(crate) fn path(&self) -> &[Box<str>] {
        &self.path
    }

    pub(crate) fn value(&self) -> &Node {
        &self.value
    }
}

/// Writes settings into desired properties, later ones over earlier ones. Says whether that changed them.
pub(crate) fn write_settings<'a>(
    desired: &mut Section,
    settings: impl Iterator<Item = &'a Setting>,
    now: OffsetDateTime,
) -> Result<bool, Failure> {
    let values = settings.map(|setting| (setting.path(), setting.value()));
    desired.set(values, now).map_err(wrong)
}

fn settings(json: &str) -> Result<Vec<Setting>, Failure> {
    let settings: Vec<Setting> = members(json)?
        .into_iter()
        .map(|(name, value)| Setting::parse(&name, value))
        .collect::<Result<_, _>>()?;
    // What no twin can hold is refused now, because later there is nobody to be told.
    write_settings(&mut Section::default(), settings.iter(), OffsetDateTime::UNIX_EPOCH)?;
    Ok(settings)
}

fn deployment(json: &str) -> Result<Deployment, Failure> {
    let modules = members(json)?;
    if modules.len() > MAX_MODULES {
        return Err(refused(format!(
            "there are {} modules, and {MAX_MODULES} are the most",
            modules.len()
        )));
    }
    if !modules.iter().any(|(name, _)| name == EDGE_AGENT) {
        return Err(refused(format!("modulesContent has no {EDGE_AGENT}")));
    }
    let module = |(name, json): (String, &str)| {
        if name.starts_with('$') && ![EDGE_AGENT, EDGE_HUB].contains(&&*name) {
            return Err(refused(format!("{name}: the edge runtime has no such module")));
        }
        // Any device will do, because the rules for names are the same for all.
        Target::parse("device", Some(&name)).map_err(wrong)?;
        Ok((name.into(), settings(json)?))
    };
    modules.into_iter().map(module).collect()
}

fn members(json: &str) -> Result<Vec<(String, &str)>, Failure> {
    let RawMembers(members) = serde_json::from_str(json).map_err(|error| refused(format!("not an object: {error}")))?;
    Ok(members.into_iter().map(|(name, text)| (name, text.get())).collect())
}

fn outside(name: &str) -> Failure {
    refused(format!("{name:?} is not a place below properties.desired"))
}

fn wrong(failure: Failure) -> Failure {
    refused(failure.message)
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::new(HubErrorCode::InvalidConfigurationContent, why)
}

pub(crate) const EDGE_AGENT: &str = "$edgeAgent";
const EDGE_HUB: &str = "$edgeHub";

/// The published limit.
const MAX_MODULES: usize = 20;
