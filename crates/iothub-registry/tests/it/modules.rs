use iothub_core::{HubErrorCode, ModuleId, Result};
use iothub_emulator::Operation;
use iothub_registry::{
    DeleteModuleOptions, IfMatch, UpdateModuleOptions,
    models::{Authentication, Module, SymmetricKey, X509Thumbprints},
};

use crate::hub::{Hub, code};

#[tokio::test]
async fn a_module_lives_from_create_to_delete() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let id = dimmer()?;
    assert!(hub.registry.try_get_module(&id, None).await?.is_none());

    let module = Module::new(id.clone()).with_managed_by("lighting");
    let created = hub.registry.create_module(&module, None).await?.into_model()?;
    assert_eq!((&created.id, created.managed_by.as_deref()), (&id, Some("lighting")));
    assert!(
        matches!(created.authentication, Authentication::Keys(_)),
        "the hub makes keys"
    );

    let mut read = hub.registry.get_module(&id, None).await?.into_model()?;
    assert_eq!(read, created);
    read.managed_by = None;
    let updated = hub.registry.update_module(&read, None).await?.into_model()?;
    assert_eq!(updated.managed_by, None);
    assert_eq!(updated.authentication, created.authentication);
    assert_ne!(updated.etag, created.etag);

    hub.registry.delete_module(&id, None).await?;
    let error = hub.registry.get_module(&id, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::ModuleNotFound));
    for operation in [Operation::Create, Operation::Update, Operation::Delete] {
        assert_eq!(hub.executed(operation, "lamp/dimmer"), 1, "{operation:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_module_proves_itself_as_it_was_told_to() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let thumbprint = "0123456789ABCDEF0123456789ABCDEF01234567";
    for (name, authentication) in [
        (
            "keys",
            SymmetricKey::new("AAECAwQFBgcICQoLDA0ODw==", "Dw4NDAsKCQgHBgUEAwIBAA==").into(),
        ),
        ("thumbprint", X509Thumbprints::new(thumbprint).into()),
        ("authority", Authentication::CertificateAuthority),
    ] {
        let module = Module::new(ModuleId::new("lamp".parse()?, name)?).with_authentication(authentication);
        hub.registry.create_module(&module, None).await?;
        let read = hub.registry.get_module(&module.id, None).await?.into_model()?;
        assert_eq!(read.authentication, module.authentication);
    }
    Ok(())
}

#[tokio::test]
async fn a_module_with_a_certificate_lives_from_create_to_delete() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let thumbprints = X509Thumbprints::new("0123456789ABCDEF0123456789ABCDEF01234567");
    let renewed = X509Thumbprints::new("89ABCDEF0123456789ABCDEF0123456789ABCDEF");
    for (name, first, second) in [
        ("thumbprint", thumbprints.into(), renewed.into()),
        (
            "authority",
            Authentication::CertificateAuthority,
            Authentication::CertificateAuthority,
        ),
    ] {
        let id = ModuleId::new("lamp".parse()?, name)?;
        let module = Module::new(id.clone()).with_authentication(first);
        let mut created = hub.registry.create_module(&module, None).await?.into_model()?;
        assert_eq!(created.authentication, module.authentication);

        created.authentication = second;
        created.managed_by = Some("lighting".to_owned());
        let updated = hub.registry.update_module(&created, None).await?.into_model()?;
        assert_ne!(updated.etag, created.etag);
        let read = hub.registry.get_module(&id, None).await?.into_model()?;
        assert_eq!(read, updated);
        assert_eq!(
            (&read.authentication, &read.managed_by),
            (&created.authentication, &created.managed_by)
        );

        hub.registry.delete_module(&id, None).await?;
        assert!(hub.registry.try_get_module(&id, None).await?.is_none());
        for operation in [Operation::Create, Operation::Update, Operation::Delete] {
            assert_eq!(hub.executed(operation, &format!("lamp/{name}")), 1, "{operation:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_device_tells_its_modules_and_no_others() -> Result<()> {
    let hub = Hub::with_devices(["lamp", "candle"]).await;
    for (device, module) in [("lamp", "dimmer"), ("lamp", "a%2Fb"), ("candle", "wick")] {
        let id = ModuleId::new(device.parse()?, module)?;
        hub.registry.create_module(&Module::new(id), None).await?;
    }
    let listed = hub.registry.list_modules(&"lamp".parse()?, None).await?.into_model()?;
    let mut names: Vec<&str> = listed.iter().map(|module| module.id.module()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a%2Fb", "dimmer"]);

    // A hub tells the holder of a policy's key nothing about devices that are missing.
    let error = hub.registry.list_modules(&"torch".parse()?, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    Ok(())
}

#[tokio::test]
async fn a_module_is_added_once_and_to_a_device_that_exists() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let module = Module::new(dimmer()?);
    hub.registry.create_module(&module, None).await?;
    let again = hub.registry.create_module(&module, None).await.unwrap_err();
    assert_eq!(code(&again), Some(&HubErrorCode::ModuleAlreadyExistsOnDevice));

    let orphan = Module::new(ModuleId::new("torch".parse()?, "dimmer")?);
    let error = hub.registry.create_module(&orphan, None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    Ok(())
}

#[tokio::test]
async fn a_late_writer_changes_no_module() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let id = dimmer()?;
    let mine = hub
        .registry
        .create_module(&Module::new(id.clone()), None)
        .await?
        .into_model()?;
    let theirs = hub
        .registry
        .modify_module(&id, |module| module.managed_by = Some("them".to_owned()), None)
        .await?;

    let update = hub.registry.update_module(&mine, None).await.unwrap_err();
    assert_eq!(code(&update), Some(&HubErrorCode::PreconditionFailed));
    let as_read = |etag| DeleteModuleOptions {
        if_match: Some(IfMatch::Tag(etag)),
        ..DeleteModuleOptions::default()
    };
    let stale = as_read(mine.etag.clone().expect("the hub gives tags"));
    let delete = hub.registry.delete_module(&id, Some(stale)).await.unwrap_err();
    assert_eq!(code(&delete), Some(&HubErrorCode::PreconditionFailed));

    let anyway = UpdateModuleOptions {
        if_match: Some(IfMatch::Any),
        ..UpdateModuleOptions::default()
    };
    let forced = hub.registry.update_module(&mine, Some(anyway)).await?.into_model()?;
    assert_ne!(forced.etag, theirs.etag);
    let fresh = as_read(forced.etag.expect("the hub gives tags"));
    hub.registry.delete_module(&id, Some(fresh)).await
}

fn dimmer() -> Result<ModuleId> {
    ModuleId::new("lamp".parse()?, "dimmer")
}
