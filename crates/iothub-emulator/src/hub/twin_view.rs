use super::{
    configurations::shown,
    identity_document::{connection_state, etag},
    query::{Document, Found},
    registry::{Device, Identity},
    timestamp,
    twin::{Section, Twin},
};

/// A twin to ask queries about, without writing it out.
pub(crate) struct TwinView<'a> {
    pub(crate) device_id: &'a str,
    pub(crate) device: &'a Device,
    /// The module whose twin it is, if it is one's.
    pub(crate) module: Option<(&'a str, &'a Identity)>,
}

impl TwinView<'_> {
    fn identity(&self) -> &Identity {
        self.module.map_or(&self.device.identity, |(_, identity)| identity)
    }

    fn system(&self, name: &str) -> Option<Found<'_>> {
        let (device, identity) = (self.device, self.identity());
        let time = |time| Some(Found::from(timestamp::text_or_never(time).into_owned()));
        match name {
            "deviceId" => Some(self.device_id.into()),
            "moduleId" => self.module.map(|(id, _)| id.into()),
            "etag" => Some(identity.twin.etag().into()),
            "deviceEtag" => Some(etag(identity.etag).into()),
            "status" => Some(device.status.as_str().into()),
            "statusReason" => device.status.reason.as_deref().map(Found::from),
            "statusUpdateTime" => time(device.status.updated),
            "connectionState" => Some(connection_state(&identity.connection).into()),
            "lastActivityTime" => time(identity.connection.last_activity),
            "cloudToDeviceMessageCount" => integer(identity.message_count()),
            "authenticationType" => Some(identity.authentication.kind().into()),
            "modelId" => Some(identity.model_id().into()),
            "version" => integer(identity.twin.version()),
            "deviceScope" => device.shown_scope().map(Found::from),
            "parentScopes" if !device.parents.is_empty() => json(&device.parents),
            "configurations" if !identity.assignments.is_empty() => json(&shown(&identity.assignments, STATUS)),
            "capabilities" => json(&serde_json::json!({ "iotEdge": device.edge })),
            _ => None,
        }
    }
}

impl Document for TwinView<'_> {
    fn find<'a>(&'a self, names: &[Box<str>]) -> Option<Found<'a>> {
        let (first, rest) = names.split_first()?;
        let twin: &Twin = &self.identity().twin;
        match (&**first, rest) {
            ("tags", rest) => Found::within(&twin.tags, rest),
            ("properties", []) => Some(Found::Json(twin.properties().into())),
            ("properties", [section, rest @ ..]) => match &**section {
                "desired" => property(&twin.desired, rest, true),
                "reported" => property(&twin.reported, rest, false),
                _ => None,
            },
            ("capabilities", [name]) if &**name == "iotEdge" => Some(self.device.edge.into()),
            ("configurations", [id, status]) if &**status == "status" => {
                let mut assignments = self.identity().assignments.iter();
                let [targeted, applied] = STATUS;
                let found = assignments.find(|assignment| *assignment.id() == **id)?;
                Some(if found.is_applied() { applied } else { targeted }.into())
            }
            ("x509Thumbprint", rest) => self.thumbprint(rest),
            (name, []) => self.system(name),
            _ => None,
        }
    }
}

impl TwinView<'_> {
    fn thumbprint(&self, names: &[Box<str>]) -> Option<Found<'_>> {
        let [primary, secondary] = self.identity().authentication.thumbprints();
        match names {
            [] => json(&serde_json::json!({ "PrimaryThumbprint": primary, "SecondaryThumbprint": secondary })),
            [name] if name.eq_ignore_ascii_case("primaryThumbprint") => primary.map(Found::from),
            [name] if name.eq_ignore_ascii_case("secondaryThumbprint") => secondary.map(Found::from),
            _ => None,
        }
    }
}

/// In queries these words begin with a capital, as the documentation of the service has them. In twins they do not.
const STATUS: [&str; 2] = ["Targeted", "Applied"];

/// Within a section; only for what the hub adds to it, the section is written out.
fn property<'a>(section: &'a Section, names: &[Box<str>], with_versions: bool) -> Option<Found<'a>> {
    match names {
        [name] if &**name == "$version" => integer(section.version),
        [name, ..] if !name.starts_with('$') => Found::within(&section.text, names),
        _ => {
            let document = section.document(with_versions);
            match Found::within(&document, names)? {
                Found::Json(json) => Some(Found::Json(json.into_owned().into())),
                _ => None,
            }
        }
    }
}

fn integer<'a, N: TryInto<i64>>(number: N) -> Option<Found<'a>> {
    number.try_into().ok().map(Found::Integer)
}

fn json<'a>(value: &impl serde::Serialize) -> Option<Found<'a>> {
    serde_json::to_string(value).ok().map(|json| Found::Json(json.into()))
}
