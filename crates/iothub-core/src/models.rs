//! What the hub sends and takes: identities, twins, configurations, jobs.
//!
//! Most of it is generated from a description of the service. Words that the hub may add to are open enums: an unknown
//! one is kept in `Other`, and reading ignores case, because hubs and SDKs disagree about it. Structs that the hub may
//! add members to keep the unknown ones in `other`. Dates of year one, the hub's way to say "never", read as `None`.
//!
//! Keys and addresses that hold tokens are [`Secret`](azure_core::credentials::Secret)s, and `Debug` shows neither them
//! nor what belongs to your application, such as tags.

mod authentication;
mod configuration_content;
mod desired;
mod import_export;
mod job_status;
mod json_text;
mod null;
mod open_enum;
mod scheduled_job_kind;
pub(crate) mod seconds;
pub(crate) mod timestamp;
mod twin;
mod twin_content;
mod twin_patch;
mod x509_thumbprints;

pub use crate::generated::*;
pub use authentication::Authentication;
pub use configuration_content::ConfigurationContent;
pub use import_export::{ExportDevices, ImportDevices, StorageAuthentication};
pub use json_text::JsonText;
pub use scheduled_job_kind::ScheduledJobKind;
pub use twin::{Twin, TwinFormat, TwinMetadata, TwinPage, TwinSection};
pub use twin_content::TwinContent;
pub use twin_patch::TwinPatch;
pub use x509_thumbprints::X509Thumbprints;

pub(crate) use null::null_as_default;
pub(crate) use open_enum::open_enum;
