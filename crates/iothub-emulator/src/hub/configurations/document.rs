use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::Configuration;
use crate::hub::{Failure, Hub, identity_document::etag, json_text::broken, timestamp};

/// A configuration as clients see it, with its metrics as they are now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigurationDocument<'a> {
    id: &'a str,
    schema_version: Option<&'a str>,
    labels: &'a Map<String, Value>,
    content: Box<RawValue>,
    target_condition: &'a str,
    created_time_utc: String,
    last_updated_time_utc: String,
    priority: i32,
    system_metrics: Metrics<'a>,
    metrics: Metrics<'a>,
    etag: String,
}

#[derive(Serialize)]
struct Metrics<'a> {
    results: BTreeMap<&'a str, u64>,
    queries: BTreeMap<&'a str, String>,
}

impl<'a> ConfigurationDocument<'a> {
    pub(crate) fn new(hub: &Hub, configuration: &'a Configuration) -> Result<Self, Failure> {
        let content = &configuration.content;
        let system = match configuration.target.condition {
            Some(_) => content.system_queries(&configuration.id, &configuration.target.text),
            None => Vec::new(),
        };
        let own = configuration
            .metrics
            .iter()
            .map(|(name, text)| (name.as_str(), text.clone()));
        Ok(Self {
            id: &configuration.id,
            schema_version: configuration.schema_version.as_deref(),
            labels: &configuration.labels,
            content: RawValue::from_string(content.json.clone()).map_err(broken)?,
            target_condition: &configuration.target.text,
            created_time_utc: timestamp::text(configuration.created),
            last_updated_time_utc: timestamp::text(configuration.updated),
            priority: configuration.priority,
            system_metrics: Metrics::new(hub, system)?,
            metrics: Metrics::new(hub, own)?,
            etag: etag(configuration.etag),
        })
    }
}

impl<'a> Metrics<'a> {
    fn new(hub: &Hub, queries: impl IntoIterator<Item = (&'a str, String)>) -> Result<Self, Failure> {
        let queries: BTreeMap<_, _> = queries.into_iter().collect();
        let count = |(name, text): (&&'a str, &String)| Ok((*name, hub.count_rows(text)?));
        Ok(Self {
            results: queries.iter().map(count).collect::<Result<_, Failure>>()?,
            queries,
        })
    }
}
