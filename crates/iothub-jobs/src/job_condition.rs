use std::{fmt, str::FromStr};

use azure_core::error::ErrorKind;
use iothub_core::{DeviceId, Error, Result};

/// Which devices a job is about: a condition as it stands behind the `WHERE` of a query, or `*`.
///
/// It is parsed from text of up to 8192 characters. Whether the hub understands it is found out when the job runs: one
/// that it does not understand makes the job fail.
///
/// Conditions are about devices. One about modules begins with `FROM devices.modules WHERE`, as those of configurations
/// do; whether hubs take that in jobs is not documented.
///
/// # Examples
///
/// ```
/// use iothub_core::DeviceId;
/// use iothub_jobs::JobCondition;
///
/// let warm: JobCondition = "tags.hall = 7 AND properties.reported.temperature > 30".parse()?;
/// let two = JobCondition::devices(&["lamp".parse()?, "candle".parse()?])?;
/// assert_eq!(two.as_str(), "deviceId IN ['lamp','candle']");
/// assert_eq!(JobCondition::all().as_str(), "*");
/// assert!("SELECT * FROM devices".parse::<JobCondition>().is_err());
/// # let _ = warm;
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[doc(alias = "queryCondition")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobCondition(String);

impl JobCondition {
    /// All devices of the hub.
    pub fn all() -> Self {
        Self("*".to_owned())
    }

    /// The devices with these ids. Those that do not exist are passed over.
    ///
    /// # Errors
    ///
    /// There are none, or more than fit into one condition: at least 62, and hundreds if they are short.
    /// [`lists_of`](Self::lists_of) takes any number.
    pub fn devices(ids: &[DeviceId]) -> Result<Self> {
        let mut lists = Self::lists_of(ids);
        match (lists.pop(), lists.is_empty()) {
            (Some(list), true) => Ok(list),
            (None, _) => Err(mistake("a job about no device has nothing to do".to_owned())),
            (Some(_), false) => Err(mistake(format!(
                "the ids of {} devices have more than {MAX_TEXT} characters together: `JobCondition::lists_of` makes \
                 several conditions of them",
                ids.len()
            ))),
        }
    }

    /// The devices with these ids, in as many conditions as it takes; none for no ids. Each is for a job of its own, and
    /// a hub runs at most ten at a time.
    pub fn lists_of<'a>(ids: impl IntoIterator<Item = &'a DeviceId>) -> Vec<Self> {
        let mut lists: Vec<String> = Vec::new();
        for id in ids {
            // The other kind of quotes does without escapes: no id holds both.
            let quote = if id.as_str().contains('\'') { '"' } else { '\'' };
            let item = format!("{quote}{id}{quote}");
            match lists.last_mut() {
                Some(list) if list.len() + ",]".len() + item.len() <= MAX_TEXT => {
                    list.push(',');
                    list.push_str(&item);
                }
                _ => lists.push(format!("deviceId IN [{item}")),
            }
        }
        lists.into_iter().map(|list| Self(list + "]")).collect()
    }

    /// The text as the hub gets it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobCondition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let first = text.split_whitespace().next().unwrap_or_default();
        let length = text.chars().count();
        if first.is_empty() {
            return Err(mistake(
                "a job has a condition: `JobCondition::all()` is for all devices".to_owned(),
            ));
        }
        if ["SELECT", "WHERE"].iter().any(|word| first.eq_ignore_ascii_case(word)) {
            return Err(mistake(format!(
                "the condition of a job begins behind the WHERE of a query, as in tags.hall = 7, and not with {first}"
            )));
        }
        if length > MAX_TEXT {
            return Err(mistake(format!(
                "the condition of a job has at most {MAX_TEXT} characters, and this one has {length}"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for JobCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn mistake(text: String) -> Error {
    Error::with_message(ErrorKind::DataConversion, text)
}

/// The published limit of a query over jobs.
const MAX_TEXT: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_ids_are_split_where_the_hub_takes_no_more() {
        let ids: Vec<DeviceId> = (0..1000).map(|n| format!("device-{n:04}").parse().unwrap()).collect();
        let lists = JobCondition::lists_of(&ids);
        // `deviceId IN [` and `]` are 14 characters, `'device-0000',` is 14 each and the last one has no comma.
        let sizes: Vec<usize> = lists
            .iter()
            .map(|list| list.as_str().matches("device-").count())
            .collect();
        assert_eq!(sizes, [584, 416]);
        assert_eq!(lists[0].as_str().len(), 8189);
        assert!(
            lists[1]
                .as_str()
                .starts_with("deviceId IN ['device-0584','device-0585',")
        );
        assert!(JobCondition::devices(&ids[..584]).is_ok());
        let error = JobCondition::devices(&ids[..585]).unwrap_err().to_string();
        assert!(error.contains("lists_of"), "{error}");
        assert!(JobCondition::lists_of(&[]).is_empty());
        assert!(JobCondition::devices(&[]).is_err());
    }

    #[test]
    fn an_apostrophe_in_an_id_needs_other_quotes() {
        let ids: [DeviceId; 2] = ["it's".parse().unwrap(), "b".parse().unwrap()];
        assert_eq!(
            JobCondition::devices(&ids).unwrap().as_str(),
            "deviceId IN [\"it's\",'b']"
        );
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for (text, why) in [
            ("", "`JobCondition::all()`"),
            (" \n", "`JobCondition::all()`"),
            ("select * from devices", "behind the WHERE"),
            (" WHERE tags.a = 1", "behind the WHERE"),
            (&"x".repeat(8193), "at most 8192 characters, and this one has 8193"),
        ] {
            let error = text.parse::<JobCondition>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!("selected = 1".parse::<JobCondition>().is_ok());
        assert!("x".repeat(8192).parse::<JobCondition>().is_ok());
    }
}
