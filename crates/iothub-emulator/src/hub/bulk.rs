//! Up to a hundred changes of the registry in one call. Each succeeds or fails by itself.

use std::collections::HashSet;

use iothub_core::{DeviceId, HubErrorCode, ModuleId};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{
    DataAction, Failure, Grant, Hub, Target,
    identities::to_json,
    identity_request::{DeviceRequest, Members, ModuleRequest},
    if_match::IfMatch,
    twin::{Twin, Write},
    twin_request::TwinRequest,
};

/// What became of a bulk call.
#[derive(Debug)]
pub(crate) struct BulkResult {
    pub(crate) is_successful: bool,
    pub(crate) json: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    is_successful: bool,
    errors: Vec<ItemError>,
    warnings: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemError {
    device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<String>,
    /// A number, because clients know more numbers than names.
    error_code: Option<u32>,
    error_status: String,
}

/// One change of the registry, read from its JSON.
#[derive(Debug)]
pub(super) struct Item<'a> {
    raw: &'a str,
    pub(super) members: Members<'a>,
    pub(super) target: Target,
    pub(super) mode: Mode,
    /// Whether it happens only if the tag fits.
    pub(super) if_match: bool,
}

/// What an item asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Create,
    CreateOrUpdate,
    Update,
    Delete,
    UpdateTwin,
}

impl Hub {
    /// Carries out every item of a JSON array, in its order.
    pub(crate) fn bulk(&self, grant: &Grant, body: &[u8]) -> Result<BulkResult, Failure> {
        // Each item is counted by itself.
        grant.require(DataAction::WriteDevices)?;
        let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
            let text = format!("the body is not a JSON array of devices: {error}");
            Failure::new(HubErrorCode::IotHubFormatError, text)
        })?;
        if items.len() > MOST {
            let text = format!("one call holds at most {MOST} devices, this one {}", items.len());
            return Err(Failure::new(HubErrorCode::TooManyDevices, text));
        }
        let items: Vec<(&RawValue, Value)> = items
            .into_iter()
            .map(|item| Ok((item, serde_json::from_str(item.get())?)))
            .collect::<Result<_, _>>()
            .map_err(|error: serde_json::Error| Failure::new(HubErrorCode::IotHubFormatError, error.to_string()))?;
        let mut ids = HashSet::new();
        for (_, item) in &items {
            if let Some(id) = item.get("id").and_then(Value::as_str)
                && !ids.insert(id)
            {
                let text = format!("device {id} is in the call more than once");
                return Err(Failure::new(HubErrorCode::DeviceDefinedMultipleTimes, text));
            }
        }
        let errors: Vec<ItemError> = items
            .iter()
            .filter_map(|(raw, item)| {
                let outcome = Item::parse(raw.get(), item).and_then(|item| self.bulk_item(grant, &item));
                let failure = outcome.err()?;
                let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
                Some(ItemError {
                    device_id: text("id").unwrap_or_default(),
                    module_id: text("moduleId").filter(|id| !id.is_empty()),
                    error_code: failure.code.number(),
                    error_status: failure.message,
                })
            })
            .collect();
        let is_successful = errors.is_empty();
        let json = to_json(&Summary {
            is_successful,
            errors,
            warnings: [],
        })?;
        Ok(BulkResult { is_successful, json })
    }

    /// Carries out one change, as bulk calls and import jobs have them.
    pub(super) fn bulk_item(&self, grant: &Grant, item: &Item<'_>) -> Result<(), Failure> {
        let (target, members) = (&item.target, item.members);
        match item.mode {
            Mode::UpdateTwin => {
                let condition = item.condition("twinETag")?;
                let request = TwinRequest::parse(item.raw.as_bytes())?;
                // Whoever may write identities in bulk may write twins along with them.
                self.write_twin(&Grant::unlimited(), target, condition, &request, Write::Merge)?;
                Ok(())
            }
            Mode::Delete => match target {
                Target::Device(id) => self.delete_device(grant, id.as_str(), &item.condition("eTag")?),
                Target::Module(id) => self.delete_module(grant, id, &item.condition("eTag")?),
            },
            Mode::Update => self.put(grant, target, members, &item.condition("eTag")?),
            Mode::CreateOrUpdate if self.registry().identity(target).is_ok() => self.update_with_twin(grant, item),
            Mode::Create | Mode::CreateOrUpdate => self.create_with_twin(grant, target, members, item.raw),
        }
    }

    /// The twin that comes along has a tag of its own, which counts if it is given.
    fn update_with_twin(&self, grant: &Grant, item: &Item<'_>) -> Result<(), Failure> {
        let twin = TwinRequest::parse(item.raw.as_bytes())?;
        self.put(grant, &item.target, item.members, &item.condition("eTag")?)?;
        if twin.tags.is_nothing() && twin.desired.is_nothing() {
            return Ok(());
        }
        let condition = item.members.text("twinETag")?.map_or(IfMatch::Any, tag);
        self.write_twin(&Grant::unlimited(), &item.target, condition, &twin, Write::Merge)?;
        Ok(())
    }

    /// Nothing is created if the twin that comes along cannot be.
    fn create_with_twin(&self, grant: &Grant, target: &Target, item: Members<'_>, raw: &str) -> Result<(), Failure> {
        let twin = TwinRequest::parse(raw.as_bytes())?;
        let holds_something = Twin::default().write(&twin, Write::Merge, self.clock().now())?;
        self.put(grant, target, item, &IfMatch::Absent)?;
        if holds_something {
            self.write_twin(&Grant::unlimited(), target, IfMatch::Any, &twin, Write::Merge)?;
        }
        Ok(())
    }

    fn put(&self, grant: &Grant, target: &Target, item: Members<'_>, condition: &IfMatch) -> Result<(), Failure> {
        match target {
            Target::Device(id) => self.put_bulk_device(grant, id, item, condition),
            Target::Module(id) => self.put_bulk_module(grant, id, item, condition),
        }
    }

    fn put_bulk_device(
        &self,
        grant: &Grant,
        id: &DeviceId,
        item: Members<'_>,
        condition: &IfMatch,
    ) -> Result<(), Failure> {
        let request = DeviceRequest::read(id.as_str(), item)?;
        self.put_device(grant, id, condition, request).map(drop)
    }

    fn put_bulk_module(
        &self,
        grant: &Grant,
        id: &ModuleId,
        item: Members<'_>,
        condition: &IfMatch,
    ) -> Result<(), Failure> {
        let request = ModuleRequest::read(item)?;
        self.put_module(grant, id, condition, request).map(drop)
    }
}

impl<'a> Item<'a> {
    /// `raw` is the text of `value`.
    pub(super) fn parse(raw: &'a str, value: &'a Value) -> Result<Self, Failure> {
        let members = value
            .as_object()
            .ok_or_else(|| Failure::new(HubErrorCode::IotHubFormatError, "an item is not a JSON object"))?;
        let members = Members(members);
        let id = members
            .text("id")?
            .ok_or_else(|| Failure::argument("an item has no id"))?;
        let target = Target::parse(id, members.text("moduleId")?)?;
        let (mode, if_match) = mode(members.text("importMode")?)?;
        Ok(Self {
            raw,
            members,
            target,
            mode,
            if_match,
        })
    }

    /// The condition of the mode, with the tag of this name.
    fn condition(&self, name: &str) -> Result<IfMatch, Failure> {
        match (self.if_match, self.members.text(name)?) {
            (false, _) => Ok(IfMatch::Any),
            (true, Some(text)) => Ok(tag(text)),
            (true, None) => Err(Failure::argument(format!("a conditional change needs {name}"))),
        }
    }
}

fn tag(text: &str) -> IfMatch {
    IfMatch::Tag {
        tag: text.trim_matches('"').to_owned(),
        quoted: true,
    }
}

/// The mode, and whether it has a condition. Clients spell modes with and without a capital.
pub(super) fn mode(text: Option<&str>) -> Result<(Mode, bool), Failure> {
    let Some(text) = text else {
        return Ok((Mode::CreateOrUpdate, false));
    };
    let name = text.to_ascii_lowercase();
    let (name, if_match) = match name.strip_suffix("ifmatchetag") {
        Some(name) => (name, true),
        None => (name.as_str(), false),
    };
    let mode = match name {
        "create" if !if_match => Mode::Create,
        "createorupdate" => Mode::CreateOrUpdate,
        "update" => Mode::Update,
        "delete" => Mode::Delete,
        "updatetwin" => Mode::UpdateTwin,
        _ => return Err(Failure::argument(format!("{text:?} is not an importMode"))),
    };
    Ok((mode, if_match))
}

/// The published limit of a call.
const MOST: usize = 100;
