use iothub_core::{HubErrorCode, Result};
use iothub_registry::models::{Authentication, Device, DeviceCapabilities};

use crate::hub::{Hub, code};

#[tokio::test]
async fn edge_devices_nest_and_leaves_hang_on_them() -> Result<()> {
    let hub = Hub::empty().await;
    let top = create(&hub, edge("top")?).await?;
    let scope = top.device_scope.clone().expect("an edge device has a scope");
    assert!(scope.starts_with("ms-azure-iot-edge://top-"), "{scope}");
    assert!(top.capabilities.is_edge && top.parent_scopes.is_empty());

    let nested = create(&hub, edge("nested")?.with_parent_scopes(vec![scope.clone()])).await?;
    let nested_scope = nested.device_scope.clone().expect("an edge device has a scope");
    assert_eq!(nested.parent_scopes, [scope.as_str()]);
    assert_ne!(nested_scope, scope);

    let leaf = create(
        &hub,
        Device::new("leaf".parse()?).with_device_scope(nested_scope.as_str()),
    )
    .await?;
    assert_eq!(leaf.device_scope.as_deref(), Some(nested_scope.as_str()));
    assert_eq!(
        leaf.parent_scopes,
        [nested_scope.as_str()],
        "the hub tells the parent twice"
    );

    // A leaf moves by its scope, and an edge device leaves its parent by sending no scope of one.
    let moved = hub
        .registry
        .modify_device(&leaf.device_id, |leaf| leaf.device_scope = Some(scope.clone()), None)
        .await?;
    assert_eq!(moved.parent_scopes, [scope.as_str()]);
    let detached = hub
        .registry
        .modify_device(&nested.device_id, |nested| nested.parent_scopes.clear(), None)
        .await?;
    assert_eq!(
        (detached.parent_scopes.len(), detached.device_scope),
        (0, Some(nested_scope))
    );
    Ok(())
}

#[tokio::test]
async fn a_device_becomes_an_edge_device_and_one_that_is_none_again() -> Result<()> {
    let hub = Hub::with_devices(["gateway"]).await;
    let id = "gateway".parse()?;
    let edge = hub
        .registry
        .modify_device(&id, |device| device.capabilities.is_edge = true, None)
        .await?;
    assert!(edge.capabilities.is_edge && edge.device_scope.is_some());
    let modules = hub.registry.list_modules(&id, None).await?.into_model()?;
    let mut system: Vec<_> = modules
        .iter()
        .map(|module| (module.id.module(), module.managed_by.as_deref(), &module.authentication))
        .collect();
    system.sort_by_key(|(name, ..)| *name);
    let by_edge = |name| (name, Some("iotEdge"), &Authentication::None);
    assert_eq!(system, [by_edge("$edgeAgent"), by_edge("$edgeHub")]);

    let leaf = hub
        .registry
        .modify_device(&id, |device| device.capabilities.is_edge = false, None)
        .await?;
    assert!(!leaf.capabilities.is_edge);
    assert!(hub.registry.list_modules(&id, None).await?.into_model()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_scope_is_the_one_of_an_edge_device_and_stays() -> Result<()> {
    let hub = Hub::empty().await;
    let stranger = Device::new("leaf".parse()?).with_device_scope("ms-azure-iot-edge://nobody-1");
    let error = hub.registry.create_device(&stranger, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::InvalidDeviceScope));

    let mut top = create(&hub, edge("top")?).await?;
    top.device_scope = None;
    let error = hub.registry.update_device(&top, None).await.unwrap_err();
    assert!(error.to_string().contains("Device scope is immutable"), "{error}");
    Ok(())
}

async fn create(hub: &Hub, device: Device) -> Result<Device> {
    hub.registry.create_device(&device, None).await?.into_model()
}

fn edge(id: &str) -> Result<Device> {
    Ok(Device::new(id.parse()?).with_capabilities(DeviceCapabilities::default().with_is_edge(true)))
}
