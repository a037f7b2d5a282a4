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
    Ok(())
}

#[tokio::test]
async fn the_hub_counts_who_is_connected() -> Result<()> {
    let hub = Hub::with_devices(["a", "b"]).await;
    let connected = async || -> Result<_> {
        let service = hub.registry.get_service_statistics(None).await?.into_model()?;
        Ok(service.connected_device_count)
    };
    assert_eq!(connected().await?, 0);

    let device = hub.emulator.device("a")?;
    device.go_online()?;
    assert_eq!(connected().await?, 1);
    device.go_offline();
    assert_eq!(connected().await?, 0);
    Ok(())
}
