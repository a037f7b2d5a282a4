//! Configurations: which there are, who may change them when, and what they do to twins.

mod assignments;
mod content;
mod document;
mod line;
mod record;
mod request;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard},
};

use iothub_core::{ConfigurationId, HubErrorCode};
use serde_json::json;
use time::OffsetDateTime;

pub(crate) use self::{
    assignments::{Assignment, shown},
    record::ConfigurationRecord,
    request::ConfigurationRequest,
};
use self::{
    content::{ConfigurationContent, ContentKind},
    document::ConfigurationDocument,
    request::{TargetCondition, check_metric, condition_of, queries},
};
use super::{
    DataAction, Event, Failure, Grant, Hub,
    changes::Changes,
    identities::{Document, to_json},
    identity_document::etag,
    identity_request::{Members, object},
    if_match::IfMatch,
    journal::Operation,
    key::Key,
};

/// All configurations of a hub, by id.
#[derive(Debug, Default)]
pub(crate) struct Configurations {
    all: BTreeMap<Box<str>, Arc<Configuration>>,
    last_number: u64,
    changes: Changes,
}

/// A configuration. It is replaced as a whole.
#[derive(Debug)]
struct Configuration {
    id: Box<str>,
    /// Stays the same until somebody deletes it; of two that were made, the younger has the higher one.
    generation: u64,
    etag: u64,
    created: OffsetDateTime,
    updated: OffsetDateTime,
    schema_version: Option<String>,
    labels: serde_json::Map<String, serde_json::Value>,
    content: Arc<ConfigurationContent>,
    target: TargetCondition,
    priority: i32,
    /// Names and texts of queries.
    metrics: Vec<(String, String)>,
}

impl Hub {
    pub(crate) fn get_configuration(&self, grant: &Grant, id: &str) -> Result<Document, Failure> {
        self.allow(grant, DataAction::ReadConfigurations)?;
        let configuration = self.configurations().get(id)?.clone();
        self.configuration_document(&configuration)
    }

    /// All configurations, by id.
    pub(super) fn configuration_ids(&self) -> Vec<Box<str>> {
        self.configurations().all.keys().cloned().collect()
    }

    pub(crate) fn list_configurations(&self, grant: &Grant) -> Result<Vec<u8>, Failure> {
        self.allow(grant, DataAction::ReadConfigurations)?;
        let all: Vec<_> = self.configurations().all.values().cloned().collect();
        let all: Vec<_> = all
            .iter()
            .map(|configuration| ConfigurationDocument::new(self, configuration))
            .collect::<Result<_, _>>()?;
        to_json(&all)
    }

    /// Creates a configuration, or updates it if there is a condition, and brings all twins in line.
    pub(crate) fn put_configuration(
        &self,
        grant: &Grant,
        id: &ConfigurationId,
        condition: IfMatch,
        request: ConfigurationRequest,
    ) -> Result<Document, Failure> {
        self.allow(grant, DataAction::WriteConfigurations)?;
        let (now, condition) = (self.clock().now(), condition.only_quoted());
        let put = self.configurations_mut().put(id.as_str(), &condition, request, now);
        let (configuration, operation) = put?;
        self.journal().record(Event::Executed {
            operation,
            on: id.as_str().to_owned(),
        });
        self.configure_all();
        self.configuration_document(&configuration)
    }

    /// Deletes a configuration. What it has written stays in the twins, until a weaker one takes its place.
    pub(crate) fn delete_configuration(&self, grant: &Grant, id: &str, condition: IfMatch) -> Result<(), Failure> {
        self.allow(grant, DataAction::DeleteConfigurations)?;
        {
            let mut configurations = self.configurations_mut();
            condition.only_quoted().check(&etag(configurations.get(id)?.etag))?;
            configurations.remove(id);
        }
        self.journal().record(Event::Executed {
            operation: Operation::Delete,
            on: id.to_owned(),
        });
        self.configure_all();
        Ok(())
    }

    /// Says what is wrong with a target condition and with queries for metrics.
    pub(crate) fn test_configuration_queries(&self, grant: &Grant, body: &[u8]) -> Result<Vec<u8>, Failure> {
        self.allow(grant, DataAction::TestConfigurationQueries)?;
        let all = object(body)?;
        let members = Members(&all);
        // Modules have every condition that devices have, and some more.
        let kind = ContentKind::Module(Vec::new());
        let target = match members.text("targetCondition")? {
            None => None,
            // The service refuses here what it takes in a configuration.
            Some("*") => Some("* is no condition".to_owned()),
            Some(text) => condition_of(text, &kind).err().map(|failure| failure.message),
        };
        let errors: serde_json::Map<_, _> = queries(members, "customMetricQueries")?
            .into_iter()
            .filter_map(|(name, text)| {
                let failure = check_metric(&name, &text).err()?;
                Some((name, failure.message.into()))
            })
            .collect();
        to_json(&json!({ "targetConditionError": target, "customMetricQueryErrors": errors }))
    }

    pub(crate) fn configurations(&self) -> RwLockReadGuard<'_, Configurations> {
        self.0.configurations.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn configurations_mut(&self) -> RwLockWriteGuard<'_, Configurations> {
        self.0.configurations.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn configuration_document(&self, configuration: &Configuration) -> Result<Document, Failure> {
        Ok(Document {
            json: to_json(&ConfigurationDocument::new(self, configuration)?)?,
            etag: etag(configuration.etag),
        })
    }
}

impl Configurations {
    pub(crate) fn new(changes: Changes) -> Self {
        Self {
            changes,
            ..Self::default()
        }
    }

    /// The last number that a configuration was given.
    pub(crate) fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Gives only higher numbers than this from now on.
    pub(crate) fn count_on(&mut self, number: u64) {
        self.last_number = self.last_number.max(number);
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(|id| &**id)
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.changes.note(|| Key::Configuration(id.into()));
        self.all.remove(id);
    }

    fn insert(&mut self, configuration: Arc<Configuration>) {
        self.changes.note(|| Key::Configuration(configuration.id.clone()));
        self.all.insert(configuration.id.clone(), configuration);
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.changes.note(|| Key::Hub);
        self.last_number
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn by_id(&self) -> impl Iterator<Item = &Configuration> {
        self.all.values().map(|configuration| &**configuration)
    }

    /// The first one wins: by priority, and among equals the younger.
    fn ranked(&self) -> Vec<Arc<Configuration>> {
        let mut ranked: Vec<_> = self.all.values().cloned().collect();
        ranked.sort_by_key(|configuration| std::cmp::Reverse((configuration.priority, configuration.generation)));
        ranked
    }

    fn get(&self, id: &str) -> Result<&Arc<Configuration>, Failure> {
        self.all.get(id).ok_or_else(|| not_found(id))
    }

    fn put(
        &mut self,
        id: &str,
        condition: &IfMatch,
        request: ConfigurationRequest,
        now: OffsetDateTime,
    ) -> Result<(Arc<Configuration>, Operation), Failure> {
        let stored = self.all.get(id);
        let operation = match (stored, condition) {
            (Some(_), IfMatch::Absent) => {
                let text = format!("configuration {id} exists");
                return Err(Failure::new(HubErrorCode::ConfigurationAlreadyExists, text));
            }
            (None, IfMatch::Absent) if self.all.len() >= MOST => {
                let text = format!("a hub has at most {MOST} configurations");
                return Err(Failure::new(HubErrorCode::ConfigurationCountLimitExceeded, text));
            }
            (None, IfMatch::Absent) => Operation::Create,
            (None, _) => return Err(not_found(id)),
            (Some(stored), condition) => {
                condition.check(&etag(stored.etag))?;
                // The content that stays decides, which is a guess: what came with the request is not looked at.
                request.target.check(&stored.content.kind)?;
                Operation::Update
            }
        };
        let number = self.last_number + 1;
        let configuration = Arc::new(Configuration {
            id: id.into(),
            generation: stored.map_or(number, |stored| stored.generation),
            etag: number,
            created: stored.map_or(now, |stored| stored.created),
            updated: now,
            schema_version: request.schema_version,
            labels: request.labels,
            // The service keeps the first content without a word.
            content: stored.map_or_else(|| Arc::new(request.content), |stored| stored.content.clone()),
            target: request.target,
            priority: request.priority,
            metrics: request.metrics,
        });
        self.next_number();
        self.insert(configuration.clone());
        Ok((configuration, operation))
    }
}

fn not_found(id: &str) -> Failure {
    Failure::new(
        HubErrorCode::ConfigurationNotFound,
        format!("there is no configuration {id}"),
    )
}

/// The published limit of a paid hub.
const MOST: usize = 100;
