use iothub_core::HubErrorCode;

use super::{
    Failure,
    identity_request::{Members, object},
    transfers::TransferKind,
};

/// What a client wants an import or export job to do. Its URIs are secrets.
pub(crate) struct TransferRequest {
    pub(crate) kind: TransferKind,
    /// Where an import reads.
    pub(crate) input: String,
    /// Where an export writes, and an import its errors.
    pub(crate) output: String,
    /// The blob with the devices.
    pub(crate) devices: String,
    /// The blob for lines that could not be imported.
    pub(crate) errors: String,
    /// The blob with the configurations, if they come along.
    pub(crate) configurations: Option<String>,
    pub(crate) identity: TransferIdentity,
}

/// As whom the hub goes to the storage account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransferIdentity {
    /// The URIs are signed.
    Nobody,
    /// The hub's own identity.
    System,
    /// An identity that was assigned to the hub, by the id of its resource.
    User(String),
}

impl TransferRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let body = object(body)?;
        let members = Members(&body);
        let kind = match members.text("type")?.map(str::to_ascii_lowercase).as_deref() {
            Some("import") => TransferKind::Import,
            Some("export") => TransferKind::Export {
                exclude_keys: members.boolean("excludeKeysInExport")?.unwrap_or(false),
            },
            other => {
                let text = format!(
                    "the type of a job is import or export, not {}",
                    other.unwrap_or("nothing")
                );
                return Err(Failure::argument(text));
            }
        };
        let uri = |name: &str| match members.text(name)? {
            Some(uri) => Ok(uri.to_owned()),
            None => Err(container_failure(format!("{name} is missing"))),
        };
        let blob = |name: &str, default: &str| Ok::<_, Failure>(members.text(name)?.unwrap_or(default).to_owned());
        let output = uri("outputBlobContainerUri")?;
        let (input, devices, errors) = match kind {
            TransferKind::Import => (
                uri("inputBlobContainerUri")?,
                blob("inputBlobName", DEVICES)?,
                blob("outputBlobName", ERRORS)?,
            ),
            TransferKind::Export { .. } => (String::new(), blob("outputBlobName", DEVICES)?, String::new()),
        };
        let configurations = match members.boolean("includeConfigurations")? {
            Some(true) => Some(blob("configurationsBlobName", CONFIGURATIONS)?),
            _ => None,
        };
        Ok(Self {
            kind,
            input,
            output,
            devices,
            errors,
            configurations,
            identity: identity(members)?,
        })
    }
}

/// Why the storage of a job is of no use.
pub(crate) fn container_failure(why: impl Into<String>) -> Failure {
    Failure::new(HubErrorCode::BlobContainerValidationError, why)
}

fn identity(members: Members<'_>) -> Result<TransferIdentity, Failure> {
    match members.text("storageAuthenticationType")? {
        None => return Ok(TransferIdentity::Nobody),
        Some(kind) if kind.eq_ignore_ascii_case("keyBased") => return Ok(TransferIdentity::Nobody),
        Some(kind) if kind.eq_ignore_ascii_case("identityBased") => {}
        Some(kind) => {
            let text = format!("storageAuthenticationType {kind:?} is neither keyBased nor identityBased");
            return Err(Failure::argument(text));
        }
    }
    let user = match members.object("identity")? {
        Some(identity) => identity.text("userAssignedIdentity")?,
        None => None,
    };
    Ok(user.map_or(TransferIdentity::System, |id| TransferIdentity::User(id.to_owned())))
}

const DEVICES: &str = "devices.txt";
const ERRORS: &str = "importErrors.log";
const CONFIGURATIONS: &str = "configurations.txt";
