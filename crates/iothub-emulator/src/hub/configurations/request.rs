use iothub_core::{ConfigurationId, HubErrorCode};
use serde_json::{Map, Value};

use super::content::{ConfigurationContent, ContentKind};
use crate::hub::{
    Failure,
    identity_request::{Members, object},
    json_text::RawMembers,
    query::{Condition, Query, Source},
};

/// What a client wants a configuration to be.
#[derive(Debug)]
pub(crate) struct ConfigurationRequest {
    pub(crate) schema_version: Option<String>,
    pub(crate) labels: Map<String, Value>,
    pub(crate) content: ConfigurationContent,
    pub(crate) target: TargetCondition,
    pub(crate) priority: i32,
    /// Names and texts of queries, in the client's order.
    pub(crate) metrics: Vec<(String, String)>,
}

/// Which twins a configuration is for.
#[derive(Debug)]
pub(crate) struct TargetCondition {
    /// As the client wrote it.
    pub(crate) text: String,
    /// `None` for none at all.
    pub(crate) condition: Option<Condition>,
}

impl ConfigurationRequest {
    pub(crate) fn parse(id: &ConfigurationId, body: &[u8]) -> Result<Self, Failure> {
        let all = object(body)?;
        let members = Members(&all);
        if let Some(other) = members.text("id")?.filter(|other| id != other) {
            let text = format!("id is {other:?} in the body and {:?} in the path", id.as_str());
            return Err(Failure::argument(text));
        }
        let content = ConfigurationContent::parse(content_of(body)?)?;
        let target = TargetCondition::parse(members.text("targetCondition")?.unwrap_or_default(), &content.kind)?;
        let priority = match members.value("priority") {
            None => 0,
            Some(priority) => priority
                .as_i64()
                .and_then(|priority| i32::try_from(priority).ok())
                .ok_or_else(|| Failure::argument("priority has to be a whole number of 32 bits"))?,
        };
        Ok(Self {
            schema_version: members.text("schemaVersion")?.map(str::to_owned),
            labels: match members.object("labels")? {
                Some(labels) => labels.0.clone(),
                None => Map::new(),
            },
            content,
            target,
            priority,
            metrics: metrics(members)?,
        })
    }
}

impl TargetCondition {
    pub(crate) fn parse(text: &str, kind: &ContentKind) -> Result<Self, Failure> {
        let condition = match text.trim() {
            "" => None,
            condition => Some(condition_of(condition, kind)?),
        };
        Ok(Self {
            text: text.to_owned(),
            condition,
        })
    }

    /// Refuses a condition on twins that content of this kind is not for.
    pub(crate) fn check(&self, kind: &ContentKind) -> Result<(), Failure> {
        match &self.condition {
            Some(condition) => check_source(condition, kind),
            None => Ok(()),
        }
    }
}

/// Checks a condition as configurations may have it.
pub(crate) fn condition_of(text: &str, kind: &ContentKind) -> Result<Condition, Failure> {
    let refused = |why: String| Failure::new(HubErrorCode::InvalidConfigurationTargetCondition, why);
    let condition = Condition::parse(text).map_err(|mistake| refused(mistake.to_string()))?;
    check_source(&condition, kind)?;
    for path in condition.paths() {
        let names: Vec<&str> = path.names().iter().map(|name| &**name).collect();
        if !matches!(
            names[..],
            ["deviceId" | "moduleId"] | ["tags", ..] | ["properties", "reported", ..]
        ) {
            let text = format!("a target condition asks about deviceId, tags and properties.reported, not {path}");
            return Err(refused(text));
        }
    }
    Ok(condition)
}

fn check_source(condition: &Condition, kind: &ContentKind) -> Result<(), Failure> {
    match (condition.source(), kind) {
        (Source::Devices, _) | (Source::Modules, ContentKind::Module(_)) => Ok(()),
        _ => Err(Failure::new(
            HubErrorCode::InvalidConfigurationTargetCondition,
            "the condition is not about the twins that the content is for",
        )),
    }
}

/// Checks the query of a metric.
pub(crate) fn check_metric(name: &str, text: &str) -> Result<(), Failure> {
    let refused = |why: String| {
        Failure::new(
            HubErrorCode::InvalidConfigurationCustomMetricsQuery,
            format!("{name}: {why}"),
        )
    };
    match Query::parse(text) {
        Ok(query) if query.source() == Source::Jobs => Err(refused("a metric does not count jobs".to_owned())),
        Ok(_) => Ok(()),
        Err(mistake) => Err(refused(mistake.to_string())),
    }
}

fn metrics(members: Members<'_>) -> Result<Vec<(String, String)>, Failure> {
    let Some(metrics) = members.object("metrics")? else {
        return Ok(Vec::new());
    };
    let queries = queries(metrics, "queries")?;
    if queries.len() > MAX_METRICS {
        let text = format!(
            "there are {} custom metrics, and {MAX_METRICS} are the most",
            queries.len()
        );
        return Err(Failure::new(HubErrorCode::InvalidConfigurationCustomMetricsQuery, text));
    }
    queries.iter().try_for_each(|(name, text)| check_metric(name, text))?;
    Ok(queries)
}

/// The names and texts of the queries in a member.
pub(crate) fn queries(members: Members<'_>, name: &str) -> Result<Vec<(String, String)>, Failure> {
    let Some(Members(queries)) = members.object(name)? else {
        return Ok(Vec::new());
    };
    let text = |(name, query): (&String, &Value)| match query.as_str() {
        Some(query) => Ok((name.clone(), query.to_owned())),
        None => Err(Failure::argument(format!("the query of {name} has to be a string"))),
    };
    queries.iter().map(text).collect()
}

/// The text of the content, which keeps numbers as the client wrote them.
fn content_of(body: &[u8]) -> Result<&str, Failure> {
    let RawMembers(members) = serde_json::from_slice(body)
        .map_err(|error| Failure::new(HubErrorCode::IotHubFormatError, error.to_string()))?;
    let content = members.into_iter().rfind(|(name, _)| name == "content");
    let content = content.map(|(_, text)| text.get()).filter(|text| *text != "null");
    content.ok_or_else(|| Failure::new(HubErrorCode::InvalidConfigurationContent, "there is no content"))
}

/// The published limit.
const MAX_METRICS: usize = 5;
