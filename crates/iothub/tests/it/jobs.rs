use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    cloud::CustomConfiguration,
    http::{ClientMethodOptions, ClientOptions},
    time::OffsetDateTime,
};
use iothub::{
    ConnectionString, Credential, HubErrorCode, Result, SharedAccessSignature,
    auth::{
        ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientCertificate,
        ClientCertificateCredential, ClientCertificateCredentialOptions, ClientSecretCredential,
        ClientSecretCredentialOptions, Environment, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    },
    jobs::{JobClient, JobClientOptions, JobCondition},
    models::{JobStatus, TwinPatch},
};
use iothub_emulator::Role;

use crate::hub::{Hub, code};

impl Hub {
    fn jobs(&self, credential: impl Into<Credential>) -> JobClient {
        let options = JobClientOptions {
            client_options: self.client_options(),
            ..Default::default()
        };
        JobClient::new(self.emulator.host().clone(), credential, Some(options)).unwrap()
    }

    /// For credentials that ask the authority themselves: which one that is.
    fn token_options(&self) -> ClientOptions {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.emulator.entra().authority();
        ClientOptions {
            cloud: Some(Arc::new(cloud.into())),
            ..self.client_options()
        }
    }

    /// Every kind of credential, each of somebody who may do everything.
    fn credentials(&self) -> Result<Vec<(&'static str, Credential)>> {
        let entra = self.emulator.entra();
        let (tenant, app) = (entra.tenant_id(), entra.application());
        entra.managed_identity().set_roles(&[Role::DataContributor]);
        let secret = ClientSecretCredentialOptions {
            client_options: self.token_options(),
        };
        let secret = ClientSecretCredential::new(
            tenant,
            app.client_id(),
            app.client_secret().to_owned().into(),
            Some(secret),
        )?;
        let certificate = ClientCertificateCredentialOptions {
            client_options: self.token_options(),
            ..Default::default()
        };
        let pem = ClientCertificate::from_bytes(app.certificate_pem()?.as_bytes(), None)?;
        let certificate = ClientCertificateCredential::new(tenant, app.client_id(), pem, Some(certificate))?;
        let token = entra.federated_token(&app, HOUR)?;
        let federated = ClientAssertionCredentialOptions {
            client_options: self.token_options(),
        };
        let federated = ClientAssertionCredential::new(tenant, app.client_id(), Assertion(token), Some(federated))?;
        let machine: Environment = [
            ("IDENTITY_ENDPOINT", entra.identity_endpoint()),
            ("IDENTITY_HEADER", entra.identity_header().to_owned()),
        ]
        .into_iter()
        .collect();
        let machine = ManagedIdentityCredentialOptions {
            environment: machine,
            client_options: self.client_options(),
            ..Default::default()
        };
        let text = self.emulator.connection_string("service").unwrap();
        let ConnectionString { credential: key, .. } = text.parse()?;
        Ok(vec![
            ("default", self.app()),
            ("secret", secret.into()),
            ("certificate", certificate.into()),
            ("federated", federated.into()),
            ("machine", ManagedIdentityCredential::new(Some(machine))?.into()),
            ("key", key),
            ("signature", self.signed(OffsetDateTime::now_utc() + HOUR).into()),
        ])
    }

    fn signed(&self, expires_on: OffsetDateTime) -> SharedAccessSignature {
        let text = self.emulator.connection_string("service").unwrap();
        let ConnectionString { host, credential, .. } = text.parse().unwrap();
        let Credential::SharedAccessKey(key) = credential else {
            panic!("the connection string holds a key")
        };
        key.sign(host.name(), expires_on)
    }
}

/// A token of a trusted issuer, as a cluster puts it into a file.
#[derive(Debug)]
struct Assertion(String);

#[async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> Result<String> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_job_can_be_scheduled_whoever_one_is() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let registry = hub.backend(hub.app(), iothub_transport_amqp::Carrier::Tls).registry;
    for (name, credential) in hub.credentials()? {
        let jobs = hub.jobs(credential);
        let patch = TwinPatch::new().set_tag("by", name);
        let job = jobs
            .schedule_twin_update(&JobCondition::all(), &patch, None)
            .await?
            .into_model()?;
        let done = jobs.wait_for_job(&job.job_id, None)?.await?.into_model()?;
        assert_eq!(done.status, JobStatus::Completed, "{name}");
        let lamp = registry.get_twin(&"lamp".parse()?, None).await?.into_model()?;
        assert_eq!(lamp.tags().get::<String>("by")?.as_deref(), Some(name));
    }
    Ok(())
}

#[tokio::test]
async fn a_reader_sees_jobs_and_schedules_none() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let app = hub.emulator.entra().application();
    let jobs = hub.jobs(hub.app());
    let patch = TwinPatch::new().set_tag("a", 1);
    let job = jobs
        .schedule_twin_update(&JobCondition::all(), &patch, None)
        .await?
        .into_model()?;

    app.set_roles(&[Role::DataReader]);
    jobs.wait_for_job(&job.job_id, None)?.await?;
    let refused = jobs
        .schedule_twin_update(&JobCondition::all(), &patch, None)
        .await
        .unwrap_err();

    assert_eq!(code(&refused), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    assert!(
        refused.to_string().contains("Microsoft.Devices/IotHubs/jobs/write"),
        "{refused}"
    );
    let cancelled = jobs.cancel_job(&job.job_id, None).await.unwrap_err();
    assert!(
        cancelled.to_string().contains("Microsoft.Devices/IotHubs/jobs/delete"),
        "{cancelled}"
    );
    Ok(())
}

const HOUR: Duration = Duration::from_secs(3600);
