use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use time::OffsetDateTime;

use super::{Configuration, ConfigurationContent, Configurations, TargetCondition, check_metric};
use crate::{
    hub::Failure,
    state::{Moment, count},
};

/// A configuration as it is stored. What is not mentioned is as with a new one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ConfigurationRecord {
    id: Box<str>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "count::read_option"
    )]
    generation: Option<u64>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "count::read_option"
    )]
    etag: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_time: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_updated_time: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema_version: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    labels: Map<String, Value>,
    content: Box<RawValue>,
    #[serde(default)]
    target_condition: String,
    #[serde(default)]
    priority: i32,
    /// The texts of queries, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metrics: BTreeMap<String, String>,
}

impl ConfigurationRecord {
    pub(crate) fn of(configurations: &Configurations, id: &str) -> Option<Self> {
        // Taken apart, so that nothing can be added to a configuration and forgotten here.
        let Configuration {
            id,
            generation,
            etag,
            created,
            updated,
            schema_version,
            labels,
            content,
            target,
            priority,
            metrics,
        } = &**configurations.all.get(id)?;
        Some(Self {
            id: id.clone(),
            generation: Some(*generation),
            etag: Some(*etag),
            created_time: Some(Moment(*created)),
            last_updated_time: Some(Moment(*updated)),
            schema_version: schema_version.clone(),
            labels: labels.clone(),
            content: RawValue::from_string(content.json.clone()).ok()?,
            target_condition: target.text.clone(),
            priority: *priority,
            metrics: metrics.iter().cloned().collect(),
        })
    }

    pub(crate) fn restore(self, configurations: &mut Configurations, now: OffsetDateTime) -> Result<(), Failure> {
        let id: Result<iothub_core::ConfigurationId, _> = self.id.parse();
        id.map_err(|error| Failure::argument(error.to_string()))?;
        let content = ConfigurationContent::parse(self.content.get())?;
        let target = TargetCondition::parse(&self.target_condition, &content.kind)?;
        self.metrics
            .iter()
            .try_for_each(|(name, text)| check_metric(name, text))?;
        let generation = self.generation.unwrap_or_else(|| configurations.next_number());
        let etag = self.etag.unwrap_or(generation);
        configurations.count_on(generation.max(etag));
        let created = self.created_time.map_or(now, |Moment(time)| time);
        configurations.insert(Arc::new(Configuration {
            id: self.id,
            generation,
            etag,
            created,
            updated: self.last_updated_time.map_or(created, |Moment(time)| time),
            schema_version: self.schema_version,
            labels: self.labels,
            content: Arc::new(content),
            target,
            priority: self.priority,
            metrics: self.metrics.into_iter().collect(),
        }));
        Ok(())
    }
}
