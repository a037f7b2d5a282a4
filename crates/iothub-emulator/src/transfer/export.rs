use super::broken;
use crate::{
    blob::{BlobWriter, Container},
    hub::{ExportPlace, Failure, Hub, transfers::Transfer},
};

/// Writes a line for each device and module. Nobody sees the blob before it is whole.
pub(super) async fn run(
    hub: &Hub,
    transfer: &Transfer,
    output: &Container,
    devices: &str,
    exclude_keys: bool,
    configurations: Option<&str>,
) -> Result<(), Failure> {
    let mut blob = BlobWriter::new(output.clone(), devices);
    if exclude_keys {
        blob.write(WARNING).await.map_err(broken)?;
    }
    let (mut place, mut lines) = (ExportPlace::default(), Vec::new());
    while hub.export_some(&mut place, exclude_keys, &mut lines)? {
        blob.write(&lines).await.map_err(broken)?;
        lines.clear();
        transfer.progress(hub.exported_percent(&place));
        tokio::task::yield_now().await;
    }
    blob.finish().await.map_err(broken)?;
    if let Some(name) = configurations {
        let mut blob = BlobWriter::new(output.clone(), name);
        blob.write(&hub.export_configurations()?).await.map_err(broken)?;
        blob.finish().await.map_err(broken)?;
    }
    Ok(())
}

/// The service says as much in front of an export without keys, in words of its own.
const WARNING: &[u8] = b"WARNING: the keys of devices and modules are not part of this export.\n";
