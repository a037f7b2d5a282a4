//! Digital twins: the properties, components and commands of Plug and Play, as views of twins and methods.
//!
//! A model says what is a component and what is writable, but a hub does without: a component is marked in the twin, and
//! what has a desired value is writable.

mod command;
mod document;
mod patch;

use self::document::document;
pub(crate) use self::{command::Command, patch::Patch};
use super::{
    DataAction, Failure, Grant, Hub, Target, identities::Document, if_match::IfMatch, methods::MethodAnswer,
    twin::Write, twins::as_device,
};

impl Hub {
    pub(crate) fn get_digital_twin(&self, grant: &Grant, target: &Target) -> Result<Document, Failure> {
        self.allow(grant, DataAction::ReadTwins)?;
        let registry = self.registry();
        let identity = registry.identity(target).map_err(as_device)?;
        Ok(Document {
            json: document(&id(target), identity).into_bytes(),
            etag: identity.twin.etag(),
        })
    }

    /// Writes desired properties, and returns the tag of the twin.
    pub(crate) fn patch_digital_twin(
        &self,
        grant: &Grant,
        target: &Target,
        condition: IfMatch,
        patch: &Patch,
    ) -> Result<String, Failure> {
        self.allow(grant, DataAction::WriteTwins)?;
        self.change_twin_by(target, condition, Write::Merge, |twin| patch.request(twin))
    }

    /// Invokes a command, which is a method to the device.
    ///
    /// # Errors
    ///
    /// `IotHubUnauthorizedAccess` for whoever came with a token of Entra: so it was seen on a hub, whatever the role.
    /// Otherwise as for methods.
    pub(crate) async fn invoke_command(
        &self,
        grant: &Grant,
        target: &Target,
        command: Command,
    ) -> Result<MethodAnswer, Failure> {
        if !grant.is_sas() {
            let text = "commands of digital twins take a shared access signature, and no token of Microsoft Entra ID";
            return Err(Failure::unauthorized(text));
        }
        self.invoke_method(grant, target, command.0).await
    }
}

/// Whom the id of a digital twin names: `device`, or `device~module`.
pub(crate) fn target(id: &str) -> Result<Target, Failure> {
    match id.split_once('~') {
        None => Target::parse(id, None),
        Some((device, module)) => Target::parse(device, Some(module)),
    }
}

fn id(target: &Target) -> String {
    match target.module() {
        None => target.device().to_owned(),
        Some(module) => format!("{}~{module}", target.device()),
    }
}
