//! Everybody whom a hub knows reads and updates digital twins; commands are for who holds a key.

use std::{collections::HashMap, sync::Arc, time::Duration};

use azure_core::{cloud::CustomConfiguration, http::ClientOptions, time::OffsetDateTime};
use iothub_auth::{
    ClientCertificate, ClientCertificateCredential, ClientCertificateCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, Credential, CredentialError, DefaultAzureCredential, DefaultAzureCredentialOptions,
    Environment, ManagedIdentityCredential, ManagedIdentityCredentialOptions, SharedAccessSignature,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use iothub_core::{HubErrorCode, Result};
use iothub_digitaltwin::{Command, JsonPatch, models::BasicDigitalTwin};
use iothub_emulator::Role;

use crate::hub::{Hub, code, key};

const CONTROLLER: &str = "dtmi:com:example:TemperatureController;1";

/// Every kind of credential of Entra, by its name.
fn of_entra(hub: &Hub) -> Result<Vec<(&'static str, Credential)>> {
    let (entra, app) = (hub.emulator.entra(), hub.emulator.entra().application());
    let (tenant, id) = (entra.tenant_id(), app.client_id());
    let mut cloud = CustomConfiguration::default();
    cloud.authority_host = entra.authority();
    let in_cloud = || ClientOptions {
        cloud: Some(Arc::new(cloud.clone().into())),
        ..hub.client_options()
    };
    let environment = |more: &[(&str, &str)]| -> Environment {
        let common = [
            ("AZURE_AUTHORITY_HOST", &*entra.authority()),
            ("AZURE_TENANT_ID", tenant),
            ("AZURE_CLIENT_ID", id),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let more = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        HashMap::from(common).into_iter().chain(more).collect()
    };

    let default = DefaultAzureCredential::new(Some(DefaultAzureCredentialOptions {
        environment: environment(&[("AZURE_CLIENT_SECRET", app.client_secret())]),
        client_options: hub.client_options(),
        ..Default::default()
    }))?;
    let secret = ClientSecretCredentialOptions {
        client_options: in_cloud(),
    };
    let secret = ClientSecretCredential::new(tenant, id, app.client_secret().to_owned().into(), Some(secret))?;
    let certificate = ClientCertificate::from_bytes(app.certificate_pem()?.as_bytes(), None)?;
    let options = ClientCertificateCredentialOptions {
        client_options: in_cloud(),
        ..Default::default()
    };
    let certificate = ClientCertificateCredential::new(tenant, id, certificate, Some(options))?;
    let federated = WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
        token_file_path: entra.federated_token_file().map(Into::into),
        environment: environment(&[]),
        client_options: hub.client_options(),
        ..Default::default()
    }))?;
    let endpoint = entra.identity_endpoint();
    let managed = ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
        environment: environment(&[
            ("IDENTITY_ENDPOINT", &endpoint),
            ("IDENTITY_HEADER", entra.identity_header()),
        ]),
        client_options: hub.client_options(),
        ..Default::default()
    }))?;
    Ok(vec![
        ("default", default.into()),
        ("secret", secret.into()),
        ("certificate", certificate.into()),
        ("federated", federated.into()),
        ("managed identity", managed.into()),
    ])
}

#[tokio::test]
async fn every_credential_of_entra_reads_and_updates_and_is_told_why_it_commands_nothing() -> Result<()> {
    let hub = Hub::with_a_device(CONTROLLER).await;
    hub.device.on_method(|_, _| (200, String::new()))?;
    let report = Command::new("getMaxMinReport").on_component("thermostat1");
    for (value, (name, credential)) in of_entra(&hub)?.into_iter().enumerate() {
        let twins = hub.twins_of(credential);
        let patch = JsonPatch::new().add("/thermostat1/targetTemperature", value);
        twins.update_digital_twin(&hub.id, &patch, None).await?;
        let twin: BasicDigitalTwin = twins.get_digital_twin(&hub.id, None).await?.parse()?;
        assert_eq!(twin.metadata.model_id.as_deref(), Some(CONTROLLER), "{name}");
        let wanted = &twin.properties["thermostat1"]["$metadata"]["targetTemperature"]["desiredValue"];
        assert_eq!(wanted, value, "{name}");

        let refused = twins.invoke_command(&hub.id, &report, None).await.unwrap_err();
        assert_eq!(code(&refused), Some(&HubErrorCode::IotHubUnauthorizedAccess), "{name}");
        let text = refused.to_string();
        assert!(
            text.contains("direct method `thermostat1*getMaxMinReport`"),
            "{name}: {text}"
        );
    }
    assert_eq!(hub.runs(), 0);
    Ok(())
}

#[tokio::test]
async fn a_reader_reads_and_does_not_write() -> Result<()> {
    let hub = Hub::with_a_device(CONTROLLER).await;
    hub.emulator.entra().application().set_roles(&[Role::DataReader]);
    let (_, credential) = of_entra(&hub)?.swap_remove(0);
    let twins = hub.twins_of(credential);
    twins.get_digital_twin(&hub.id, None).await?;
    let patch = JsonPatch::new().add("/level", 1);
    let refused = twins.update_digital_twin(&hub.id, &patch, None).await.unwrap_err();
    assert_eq!(code(&refused), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    Ok(())
}

#[tokio::test]
async fn a_key_of_the_registry_opens_no_digital_twin() -> Result<()> {
    let hub = Hub::with_a_device(CONTROLLER).await;
    let twins = hub.twins_of(key(&hub.emulator, "registryReadWrite"));
    let refused = twins.get_digital_twin(&hub.id, None).await.unwrap_err();
    assert_eq!(code(&refused), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    Ok(())
}

/// A signature as somebody else would have made it.
fn signed(hub: &Hub, expires_on: OffsetDateTime) -> SharedAccessSignature {
    let Credential::SharedAccessKey(key) = key(&hub.emulator, "service") else {
        panic!("a connection string holds a key")
    };
    key.sign(hub.emulator.host().name(), expires_on)
}

#[tokio::test]
async fn a_signature_is_exchanged_in_place() -> Result<()> {
    let hub = Hub::with_a_device(CONTROLLER).await;
    hub.device.on_method(|_, _| (200, String::new()))?;
    let now = OffsetDateTime::now_utc();
    let signature = signed(&hub, now - Duration::from_secs(60));
    let twins = hub.twins_of(signature.clone());

    let expired = twins.get_digital_twin(&hub.id, None).await.unwrap_err();
    assert!(
        matches!(CredentialError::of(&expired), Some(CredentialError::Expired { .. })),
        "{expired}"
    );

    signature.update(signed(&hub, now + Duration::from_secs(600)));
    twins.get_digital_twin(&hub.id, None).await?;
    twins
        .update_digital_twin(&hub.id, &JsonPatch::new().add("/level", 1), None)
        .await?;
    let run = Command::new("run");
    assert_eq!(twins.invoke_command(&hub.id, &run, None).await?.status, 200);
    Ok(())
}
