use iothub_core::{HubErrorCode, Result, models::Device};
use iothub_emulator::Operation;
use iothub_registry::{
    DeleteDeviceOptions, IfMatch,
    models::{Authentication, DeviceStatus, SymmetricKey, X509Thumbprints},
};

use crate::hub::{Hub, code};

#[tokio::test]
async fn a_device_lives_from_create_to_delete() -> Result<()> {
    let hub = Hub::empty().await;
    let lamp = "lamp".parse()?;
    assert!(hub.registry.try_get_device(&lamp, None).await?.is_none());

    let created = hub
        .registry
        .create_device(&Device::new(lamp.clone()), None)
        .await?
        .into_model()?;
    assert_eq!(created.device_id, lamp);
    assert!(
        matches!(created.authentication, Authentication::Keys(_)),
        "the hub makes keys"
    );
    assert!(created.generation_id.is_some());

    let mut read = hub.device("lamp").await?;
    assert_eq!(read, created);

    read.status = DeviceStatus::Disabled;
    read.status_reason = Some("sold".to_owned());
    let updated = hub.registry.update_device(&read, None).await?.into_model()?;
    assert_eq!(
        (&updated.status, updated.status_reason.as_deref()),
        (&DeviceStatus::Disabled, Some("sold"))
    );
    assert_eq!(updated.authentication, created.authentication);
    assert_ne!(updated.etag, created.etag);

    hub.registry.delete_device(&lamp, None).await?;
    let error = hub.device("lamp").await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound));
    for operation in [Operation::Create, Operation::Update, Operation::Delete] {
        assert_eq!(hub.executed(operation, "lamp"), 1, "{operation:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_device_proves_itself_as_it_was_told_to() -> Result<()> {
    let hub = Hub::empty().await;
    let thumbprint = "0123456789ABCDEF0123456789ABCDEF01234567";
    for (id, authentication) in [
        (
            "keys",
            SymmetricKey::new("AAECAwQFBgcICQoLDA0ODw==", "Dw4NDAsKCQgHBgUEAwIBAA==").into(),
        ),
        ("thumbprint", X509Thumbprints::new(thumbprint).into()),
        ("authority", Authentication::CertificateAuthority),
    ] {
        let device = Device::new(id.parse()?).with_authentication(authentication);
        hub.registry.create_device(&device, None).await?;
        assert_eq!(hub.device(id).await?.authentication, device.authentication);
    }
    Ok(())
}

#[tokio::test]
async fn every_character_that_an_id_may_have_names_the_same_device_everywhere() -> Result<()> {
    let hub = Hub::empty().await;
    for id in [
        "Az09-:.+%_#*?!(),=@;$'",
        "%2E%2E",
        "...",
        "a%2Fb",
        "50%",
        "+",
        "a?api-version=x",
        "#",
        "LAMP",
        "lamp",
    ] {
        hub.registry.create_device(&Device::new(id.parse()?), None).await?;
        assert_eq!(hub.device(id).await?.device_id, id);
        assert_eq!(hub.executed(Operation::Create, id), 1, "{id}");
    }
    Ok(())
}

#[tokio::test]
async fn a_late_writer_does_not_overwrite() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let mine = hub.device("lamp").await?;
    hub.somebody_disables("lamp").await?;

    let refused = hub.registry.update_device(&mine, None).await.unwrap_err();

    assert_eq!(code(&refused), Some(&HubErrorCode::PreconditionFailed));
    assert_eq!(hub.device("lamp").await?.status, DeviceStatus::Disabled);
    Ok(())
}

#[tokio::test]
async fn a_late_deleter_does_not_delete() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let mine = hub.device("lamp").await?;
    hub.somebody_disables("lamp").await?;
    let as_read = DeleteDeviceOptions {
        if_match: mine.etag.map(IfMatch::Tag),
        ..DeleteDeviceOptions::default()
    };

    let refused = hub
        .registry
        .delete_device(&mine.device_id, Some(as_read))
        .await
        .unwrap_err();

    assert_eq!(code(&refused), Some(&HubErrorCode::PreconditionFailed));
    assert_eq!(hub.executed(Operation::Delete, "lamp"), 0);
    Ok(())
}
