use iothub_core::{HubErrorCode, Result};
use iothub_registry::models::{Authentication, Device, SymmetricKey, X509Thumbprints};

use crate::hub::{Hub, code};

#[tokio::test]
async fn a_certificate_is_replaced_by_another_and_by_an_authority() -> Result<()> {
    let hub = Hub::empty().await;
    let id = "lamp".parse()?;
    let device = Device::new("lamp".parse()?).with_authentication(X509Thumbprints::new(FIRST).into());
    hub.registry.create_device(&device, None).await?;

    let second: Authentication = X509Thumbprints::new(SECOND).into();
    for next in [second, Authentication::CertificateAuthority] {
        let changed = hub
            .registry
            .modify_device(&id, |lamp| lamp.authentication = next.clone(), None)
            .await?;
        assert_eq!(changed.authentication, next);
        assert_eq!(hub.device("lamp").await?.authentication, next);
    }
    hub.registry.delete_device(&id, None).await?;
    assert!(hub.registry.try_get_device(&id, None).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn what_proves_nothing_is_refused() -> Result<()> {
    let hub = Hub::empty().await;
    for authentication in [
        SymmetricKey::new("not base64!", "Dw4NDAsKCQgHBgUEAwIBAA==").into(),
        SymmetricKey::new("c2hvcnQ=", "Dw4NDAsKCQgHBgUEAwIBAA==").into(),
        X509Thumbprints::new("no thumbprint").into(),
        Authentication::None,
    ] {
        let device = Device::new("lamp".parse()?).with_authentication(authentication);
        let error = hub.registry.create_device(&device, None).await.unwrap_err();
        assert_eq!(
            code(&error),
            Some(&HubErrorCode::ArgumentInvalid),
            "{:?}",
            device.authentication
        );
        assert!(!error.to_string().contains("c2hvcnQ="), "{error}");
    }
    Ok(())
}

const FIRST: &str = "0123456789ABCDEF0123456789ABCDEF01234567";
const SECOND: &str = "89ABCDEF0123456789ABCDEF0123456789ABCDEF";
