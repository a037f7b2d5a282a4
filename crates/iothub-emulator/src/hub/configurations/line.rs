//! Configurations as import and export jobs have them: one a line, with names that begin with a capital.

use std::collections::BTreeMap;

use iothub_core::{ConfigurationId, HubErrorCode};
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{Configuration, ConfigurationRequest};
use crate::hub::{
    Failure, Grant, Hub,
    bulk::{Mode, mode},
    identity_document::etag,
    identity_request::{Members, object},
    if_match::IfMatch,
    json_text::{RawMembers, broken, compact, quoted},
    timestamp,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    id: &'a str,
    schema_version: Option<&'a str>,
    labels: &'a Map<String, Value>,
    content: Box<RawValue>,
    target_condition: &'a str,
    created_time_utc: String,
    last_updated_time_utc: String,
    priority: i32,
    metrics: Metrics<'a>,
    #[serde(rename = "ETag")]
    etag: String,
    import_mode: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metrics<'a> {
    queries: BTreeMap<&'a str, &'a str>,
}

impl Hub {
    /// A line for each configuration.
    pub(crate) fn export_configurations(&self) -> Result<Vec<u8>, Failure> {
        let mut lines = Vec::new();
        for configuration in self.configurations().by_id() {
            serde_json::to_writer(&mut lines, &Line::new(configuration)?).map_err(broken)?;
            lines.push(b'\n');
        }
        Ok(lines)
    }

    /// Carries out one line, whichever way its names are spelt.
    pub(crate) fn import_configuration_line(&self, line: &str) -> Result<(), Failure> {
        let json = lower(&compact(line)?, &["content", "metrics"])?;
        let all = object(json.as_bytes())?;
        let members = Members(&all);
        let id: ConfigurationId = members
            .text("id")?
            .unwrap_or_default()
            .parse()
            .map_err(|error: iothub_core::Error| Failure::argument(error.to_string()))?;
        let exists = self.configurations().get(id.as_str()).is_ok();
        let (mode, if_match) = mode(members.text("importMode")?)?;
        let condition = match (if_match, members.text("etag")?.or(members.text("eTag")?)) {
            (false, _) => IfMatch::Any,
            (true, Some(tag)) => IfMatch::parse(Some(&format!("\"{}\"", tag.trim_matches('"')))),
            (true, None) => return Err(Failure::argument("a conditional change needs etag")),
        };
        let condition = match mode {
            Mode::Create => IfMatch::Absent,
            Mode::CreateOrUpdate if !exists => IfMatch::Absent,
            Mode::CreateOrUpdate | Mode::Update => condition,
            Mode::Delete => return self.delete_configuration(&Grant::unlimited(), id.as_str(), condition),
            Mode::UpdateTwin => return Err(Failure::argument("a configuration has no twin")),
        };
        let request = ConfigurationRequest::parse(&id, json.as_bytes())?;
        self.put_configuration(&Grant::unlimited(), &id, condition, request)
            .map(drop)
    }
}

impl<'a> Line<'a> {
    fn new(configuration: &'a Configuration) -> Result<Self, Failure> {
        let content = raise(&configuration.content.json)?;
        let queries = configuration
            .metrics
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        Ok(Self {
            id: &configuration.id,
            schema_version: configuration.schema_version.as_deref(),
            labels: &configuration.labels,
            content: RawValue::from_string(content).map_err(broken)?,
            target_condition: &configuration.target.text,
            created_time_utc: timestamp::text(configuration.created),
            last_updated_time_utc: timestamp::text(configuration.updated),
            priority: configuration.priority,
            metrics: Metrics {
                queries: queries.collect(),
            },
            etag: etag(configuration.etag),
            import_mode: "createOrUpdateIfMatchETag",
        })
    }
}

/// The same object with capitals in front of its names.
fn raise(json: &str) -> Result<String, Failure> {
    respell(json, &[], |first| first.to_ascii_uppercase())
}

/// The same object without capitals in front of its names, nor in the objects that are its members by these names.
fn lower(json: &str, within: &[&str]) -> Result<String, Failure> {
    respell(json, within, |first| first.to_ascii_lowercase())
}

fn respell(json: &str, within: &[&str], spell: fn(char) -> char) -> Result<String, Failure> {
    let RawMembers(members) = serde_json::from_str(json)
        .map_err(|error| Failure::new(HubErrorCode::DeserializationError, format!("not an object: {error}")))?;
    let mut respelt = Vec::with_capacity(members.len());
    for (name, value) in members {
        let mut rest = name.chars();
        let name: String = rest.next().map(spell).into_iter().chain(rest).collect();
        let value = match within.contains(&name.as_str()) && value.get().starts_with('{') {
            true => respell(value.get(), &[], spell)?,
            false => value.get().to_owned(),
        };
        respelt.push(format!("{}:{value}", quoted(&name)));
    }
    Ok(format!("{{{}}}", respelt.join(",")))
}
