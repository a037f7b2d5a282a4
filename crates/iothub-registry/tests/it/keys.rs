use iothub_core::{CallFacts, HubErrorCode, ModuleId, Result};
use iothub_emulator::Operation;
use iothub_registry::{
    KeyRenewal,
    models::{Authentication, Device, KeyOwner, KeyToRegenerate, Module, SymmetricKey, X509Thumbprints},
};

use crate::hub::Hub;

#[tokio::test]
async fn keys_are_given_swapped_and_made_anew() -> Result<()> {
    let hub = Hub::empty().await;
    let id = "lamp".parse()?;
    let given = SymmetricKey::new("AAECAwQFBgcICQoLDA0ODw==", "Dw4NDAsKCQgHBgUEAwIBAA==");
    let device = Device::new("lamp".parse()?).with_authentication(given.clone().into());
    hub.registry.create_device(&device, None).await?;
    assert_eq!(keys(&hub).await?, given);

    let swap = |lamp: &mut Device| {
        if let Authentication::Keys(keys) = &mut lamp.authentication {
            std::mem::swap(&mut keys.primary_key, &mut keys.secondary_key);
        }
    };
    hub.registry.modify_device(&id, swap, None).await?;
    assert_eq!(
        keys(&hub).await?,
        SymmetricKey::new(given.secondary_key, given.primary_key)
    );

    let before = keys(&hub).await?;
    let renew = |lamp: &mut Device| lamp.authentication = Authentication::GeneratedKeys;
    hub.registry.modify_device(&id, renew, None).await?;
    let after = keys(&hub).await?;
    assert_ne!(after.primary_key, before.primary_key);
    assert_ne!(after.secondary_key, before.secondary_key);
    Ok(())
}

#[tokio::test]
async fn the_hub_renews_the_keys_that_are_named_and_no_others() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let dimmer = ModuleId::new("lamp".parse()?, "dimmer")?;
    let module = hub
        .registry
        .create_module(&Module::new(dimmer.clone()), None)
        .await?
        .into_model()?;
    let before = keys(&hub).await?;
    let owner = [KeyOwner::new("lamp".parse()?)];

    for (which, renewed) in [
        (KeyToRegenerate::Secondary, [false, true]),
        (KeyToRegenerate::Primary, [true, true]),
    ] {
        let renewals = hub.registry.regenerate_keys(which, &owner, None).await?;
        let after = keys(&hub).await?;
        let KeyRenewal::Renewed(told) = &renewals[0] else {
            panic!("{renewals:?}");
        };
        assert_eq!(
            (told.primary_key.as_ref(), told.secondary_key.as_ref()),
            (Some(&after.primary_key), Some(&after.secondary_key))
        );
        let changed = [
            after.primary_key != before.primary_key,
            after.secondary_key != before.secondary_key,
        ];
        assert_eq!(changed, renewed);
    }
    let unchanged = hub.registry.get_module(&dimmer, None).await?.into_model()?;
    assert_eq!(unchanged, module);
    Ok(())
}

#[tokio::test]
async fn each_renewal_is_told_by_itself() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let certified = Device::new("certified".parse()?)
        .with_authentication(X509Thumbprints::new("0123456789ABCDEF0123456789ABCDEF01234567").into());
    hub.registry.create_device(&certified, None).await?;
    let owners = [
        KeyOwner::new("nobody".parse()?),
        KeyOwner::new("lamp".parse()?),
        KeyOwner::new("certified".parse()?),
        KeyOwner::new("lamp".parse()?).with_module_id("none"),
    ];
    let renewals = hub
        .registry
        .regenerate_keys(KeyToRegenerate::Both, &owners, None)
        .await?;

    let code = |renewal: &KeyRenewal| match renewal {
        KeyRenewal::Failed(failure) => failure.error_code.clone(),
        _ => None,
    };
    let codes: Vec<_> = renewals.iter().map(code).collect();
    let expected = [
        Some(HubErrorCode::DeviceNotFound),
        None,
        Some(HubErrorCode::ArgumentInvalid),
        Some(HubErrorCode::ModuleNotFound),
    ];
    assert_eq!(codes, expected);
    assert!(matches!(renewals[1], KeyRenewal::Renewed(_)));
    Ok(())
}

#[tokio::test]
async fn keys_whose_renewal_got_no_answer_are_not_renewed_twice() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    hub.emulator.faults().lose_next_answers(1);
    let owners = [KeyOwner::new("lamp".parse()?)];
    let error = hub
        .registry
        .regenerate_keys(KeyToRegenerate::Both, &owners, None)
        .await
        .unwrap_err();
    assert!(CallFacts::of(&error).expect("it was tried").maybe_applied);
    assert_eq!(hub.executed(Operation::Update, "lamp"), 1);
    Ok(())
}

async fn keys(hub: &Hub) -> Result<SymmetricKey> {
    match hub.device("lamp").await?.authentication {
        Authentication::Keys(keys) => Ok(keys),
        other => panic!("{other:?}"),
    }
}
