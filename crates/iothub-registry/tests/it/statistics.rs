use iothub_core::Result;

use crate::hub::Hub;

#[tokio::test]
async fn the_hub_counts_its_devices() -> Result<()> {
    let hub = Hub::with_devices(["a", "b", "c"]).await;
    hub.somebody_disables("b").await?;

    let registry = hub.registry.get_statistics(None).await?.into_model()?;
    assert_eq!(
        (
            registry.total_device_count,
            registry.enabled_device_count,
            registry.disabled_device_count
        ),
        (3, 2, 1)
    );
    let service = hub.registry.get_service_statistics(None).await?.into_model()?;
    assert_eq!(service.connected_device_count, 0);
    Ok(())
}
