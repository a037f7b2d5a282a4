use std::{
    io,
    io::Write,
    path::{Path, PathBuf},
};

use iothub_emulator::{Device, Emulator};
use serde::Serialize;

/// How to reach what is ready. It holds keys and secrets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready<'a> {
    event: &'static str,
    host: &'a str,
    https_port: u16,
    amqps_port: u16,
    mqtts_port: u16,
    pub(crate) connection_string: Option<String>,
    pub(crate) device_connection_string: Option<String>,
    event_hub_connection_string: Option<String>,
    storage_connection_string: String,
    management_endpoint: Option<String>,
    management_token: Option<&'a str>,
    pub(crate) ca_file: Option<PathBuf>,
    authority: String,
    tenant_id: &'a str,
    client_id: String,
    client_secret: String,
    certificate_file: Option<&'a Path>,
    federated_token_file: Option<&'a Path>,
    identity_endpoint: String,
    identity_header: &'a str,
}

impl<'a> Ready<'a> {
    /// `device` is the one that was asked for by name, `root` where the root certificate lies if not in a data directory.
    pub(crate) fn of(emulator: &'a Emulator, device: Option<&Device>, root: Option<&Path>) -> Self {
        let (entra, app) = (emulator.entra(), emulator.entra().application());
        Self {
            event: "ready",
            host: emulator.host().name(),
            https_port: emulator.host().https_port(),
            amqps_port: emulator.host().amqps_port(),
            mqtts_port: emulator.mqtts_port(),
            connection_string: emulator.connection_string("iothubowner"),
            device_connection_string: device.and_then(|device| emulator.device_connection_string(device.target())),
            event_hub_connection_string: emulator.event_hub_connection_string(),
            storage_connection_string: emulator.storage_connection_string(),
            management_endpoint: emulator.management_endpoint(),
            management_token: emulator.management_token(),
            ca_file: root.map(Path::to_owned).or_else(|| emulator.root_certificate_file()),
            authority: entra.authority(),
            tenant_id: entra.tenant_id(),
            client_id: app.client_id().to_owned(),
            client_secret: app.client_secret().to_owned(),
            certificate_file: entra.certificate_file(),
            federated_token_file: entra.federated_token_file(),
            identity_endpoint: entra.identity_endpoint(),
            identity_header: entra.identity_header(),
        }
    }

    /// Prints one line of JSON for whoever started this: everything is ready, and this is how to reach it.
    pub(crate) fn announce(&self) -> io::Result<()> {
        let line = serde_json::to_string(self)?;
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()
    }
}
