use iothub_core::HubErrorCode;

use super::broken;
use crate::{
    blob::{BlobWriter, Container},
    hub::{Failure, Hub, transfers::Transfer},
};

/// Where an import reads, and where it writes what went wrong.
pub(super) struct Blobs<'a> {
    pub(super) input: &'a Container,
    pub(super) output: &'a Container,
    pub(super) devices: &'a str,
    pub(super) errors: &'a str,
    pub(super) configurations: Option<&'a str>,
}

/// Carries out every line, in the order of the file. Lines that fail end up in the log, which is empty if none did.
pub(super) async fn run(hub: &Hub, transfer: &Transfer, blobs: &Blobs<'_>) -> Result<(), Failure> {
    let mut log = BlobWriter::new(blobs.output.clone(), blobs.errors);
    let mut lines = blobs.input.lines(blobs.devices).await.map_err(broken)?;
    while let Some(line) = lines.next().await.map_err(broken)? {
        if let Err(error) = hub.import_device(&line) {
            log.write(&error.to_line()).await.map_err(broken)?;
        }
        transfer.progress(lines.percent());
        // Lines come from memory mostly, where waiting for them lets nobody else run.
        tokio::task::yield_now().await;
    }
    if let Some(configurations) = blobs.configurations {
        let mut lines = blobs.input.lines(configurations).await.map_err(broken)?;
        while let Some(line) = lines.next().await.map_err(broken)? {
            let hub = hub.clone();
            let import = tokio::task::spawn_blocking(move || hub.import_configuration(&line));
            let imported = import
                .await
                .map_err(|_| Failure::new(HubErrorCode::ServerError, "a configuration could not be imported"))?;
            if let Err(error) = imported {
                log.write(&error.to_line()).await.map_err(broken)?;
            }
        }
    }
    log.finish().await.map_err(broken)
}
