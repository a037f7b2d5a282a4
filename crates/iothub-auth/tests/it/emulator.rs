use std::{sync::Arc, time::Duration};

use azure_core::{
    credentials::TokenCredential,
    http::{ClientOptions, Context, Method, Pipeline, PipelineSendOptions, Request, StatusCode},
};
use iothub_auth::{
    ClientCertificate, ClientSecretCredential, ClientSecretCredentialOptions, ConnectionString, Credential,
    DefaultAzureCredential, DefaultAzureCredentialOptions, EntraCredential, EnvironmentCredential,
    EnvironmentCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions, SharedAccessKey,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use iothub_core::{Result, amqp::CbsTokenKind};
use iothub_emulator::{Emulator, EmulatorOptions, EntraOptions, Event};
use iothub_transport_http::{HyperOptions, HyperTransport};

use crate::wire::{TempFile, environment, testdata};

/// A local hub, and a wire to it that trusts its root.
struct Hub {
    emulator: Emulator,
    http: HyperTransport,
}

impl Hub {
    async fn start() -> Self {
        Self::with(EntraOptions::default()).await
    }

    async fn with(entra: EntraOptions) -> Self {
        let options = EmulatorOptions {
            entra,
            ..Default::default()
        };
        let emulator = Emulator::start(options).await.unwrap();
        let http = HyperTransport::new(HyperOptions {
            extra_roots: vec![emulator.root_certificate().to_owned().into()],
            ..Default::default()
        });
        let http = http.unwrap();
        Self { emulator, http }
    }

    fn client_options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(self.http.clone().into()),
            ..Default::default()
        }
    }

    /// The variables of the app, and `more`.
    fn variables<'a>(&self, more: &[(&'a str, &'a str)]) -> Vec<(String, String)> {
        let entra = self.emulator.entra();
        let app = [
            ("AZURE_AUTHORITY_HOST", entra.authority()),
            ("AZURE_TENANT_ID", entra.tenant_id().to_owned()),
            ("AZURE_CLIENT_ID", entra.application().client_id().to_owned()),
        ];
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        app.into_iter()
            .chain(more)
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn app_with(&self, more: &[(&str, &str)]) -> Arc<EnvironmentCredential> {
        let options = EnvironmentCredentialOptions {
            environment: self.variables(more).into_iter().collect(),
            client_options: self.client_options(),
        };
        EnvironmentCredential::new(Some(options)).unwrap()
    }

    /// Asks for a device that is not there: 404 to somebody whom the hub knows, else 401.
    async fn ask(&self, credential: &Credential) -> Result<StatusCode> {
        let policy = credential.policy(self.emulator.host());
        let pipeline = Pipeline::new(None, None, self.client_options(), vec![], vec![policy], None);
        let url = self
            .emulator
            .host()
            .endpoint()
            .join("devices/nobody?api-version=2021-04-12")?;
        let options = PipelineSendOptions {
            skip_checks: true,
            ..Default::default()
        };
        let mut request = Request::new(url, Method::Get);
        let response = pipeline.send(&Context::new(), &mut request, Some(options)).await?;
        Ok(response.status())
    }

    /// Whom the hub recognized.
    async fn greets(&self, credential: impl Into<Credential>) {
        let credential = credential.into();
        assert_eq!(self.ask(&credential).await.unwrap(), StatusCode::NotFound);
        let cbs = credential.cbs_tokens(self.emulator.host()).token().await.unwrap();
        assert_eq!(
            cbs.kind == CbsTokenKind::Jwt,
            matches!(credential, Credential::Entra(_))
        );
        let known = |event: &Event| matches!(event, Event::Authorized { .. });
        assert_eq!(self.emulator.journal().count(known), 1);
    }
}

#[tokio::test]
async fn a_secret_is_enough() {
    let hub = Hub::start().await;
    let app = hub.emulator.entra().application();
    hub.greets(hub.app_with(&[("AZURE_CLIENT_SECRET", app.client_secret())]))
        .await;
}

#[tokio::test]
async fn a_certificate_in_pem_is_enough_with_its_chain_or_without() {
    for send_chain in ["0", "1"] {
        let hub = Hub::start().await;
        let file = TempFile::holding(&hub.emulator.entra().application().certificate_pem().unwrap());
        let credential = hub.app_with(&[
            ("AZURE_CLIENT_CERTIFICATE_PATH", file.0.to_str().unwrap()),
            ("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", send_chain),
        ]);
        hub.greets(credential).await;
    }
}

#[cfg(feature = "pkcs12")]
#[tokio::test]
async fn a_certificate_that_openssl_packed_is_enough() {
    let hub = Hub::start().await;
    let app = hub.emulator.entra().application();
    app.add_certificate(include_str!("../../testdata/leaf.pem")).unwrap();
    let credential = hub.app_with(&[
        ("AZURE_CLIENT_CERTIFICATE_PATH", testdata("app.p12").to_str().unwrap()),
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "test-password"),
    ]);
    hub.greets(credential).await;
}

#[tokio::test]
async fn a_federated_token_is_enough() {
    let hub = Hub::start().await;
    let entra = hub.emulator.entra();
    let token = entra
        .federated_token(&entra.application(), Duration::from_secs(600))
        .unwrap();
    let file = TempFile::holding(&token);
    let options = WorkloadIdentityCredentialOptions {
        token_file_path: Some(file.0.clone()),
        environment: hub.variables(&[]).into_iter().collect(),
        client_options: hub.client_options(),
        ..Default::default()
    };
    hub.greets(WorkloadIdentityCredential::new(Some(options)).unwrap())
        .await;
}

#[tokio::test]
async fn a_managed_identity_is_enough_on_app_service_and_on_a_machine() {
    for on_app_service in [true, false] {
        let hub = Hub::start().await;
        let entra = hub.emulator.entra();
        let (endpoint, imds) = (entra.identity_endpoint(), entra.imds_endpoint());
        let variables = match on_app_service {
            true => vec![
                ("IDENTITY_ENDPOINT", &*endpoint),
                ("IDENTITY_HEADER", entra.identity_header()),
            ],
            false => vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*imds)],
        };
        let options = ManagedIdentityCredentialOptions {
            environment: environment(&variables),
            client_options: hub.client_options(),
            ..Default::default()
        };
        hub.greets(ManagedIdentityCredential::new(Some(options)).unwrap()).await;
    }
}

#[tokio::test]
async fn the_default_chain_finds_the_secret_or_the_machine() {
    let hub = Hub::start().await;
    let entra = hub.emulator.entra();
    let app = entra.application();
    let imds = entra.imds_endpoint();
    for (variables, chosen) in [
        (
            hub.variables(&[("AZURE_CLIENT_SECRET", app.client_secret())]),
            "EnvironmentCredential",
        ),
        (
            vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), imds)],
            "ManagedIdentityCredential",
        ),
    ] {
        let options = DefaultAzureCredentialOptions {
            environment: variables.into_iter().collect(),
            client_options: hub.client_options(),
            executor: None,
        };
        let default = DefaultAzureCredential::new(Some(options)).unwrap();
        let status = hub.ask(&Credential::from(default.clone())).await.unwrap();
        assert_eq!(status, StatusCode::NotFound);
        assert!(
            default.explain().contains(&format!("{chosen} (chosen)")),
            "{}",
            default.explain()
        );
    }
}

#[tokio::test]
async fn a_scope_of_another_cloud_reaches_http_and_amqp() {
    let resource = "https://iothubs.cloud.example";
    let hub = Hub::with(EntraOptions {
        resources: vec![resource.to_owned()],
        ..Default::default()
    });
    let hub = hub.await;
    let app = hub.emulator.entra().application();
    let secret = hub.app_with(&[("AZURE_CLIENT_SECRET", app.client_secret())]);
    let entra = EntraCredential::new(secret.clone()).with_scopes([format!("{resource}/.default")]);
    let credential = Credential::from(entra);
    assert_eq!(hub.ask(&credential).await.unwrap(), StatusCode::NotFound);
    let cbs = credential.cbs_tokens(hub.emulator.host()).token().await.unwrap();
    assert_eq!(audience(cbs.secret.secret()), resource);

    let unknown = EntraCredential::new(secret).with_scopes(["https://nowhere.example/.default"]);
    let error = hub.ask(&unknown.into()).await.unwrap_err();
    assert!(chain(&error).contains("AADSTS500011"), "{error:?}");
}

#[tokio::test]
async fn wrong_secrets_and_foreign_certificates_are_refused_with_entras_words() {
    let hub = Hub::start().await;
    let error = hub
        .ask(&hub.app_with(&[("AZURE_CLIENT_SECRET", "wrong")]).into())
        .await
        .unwrap_err();
    assert!(chain(&error).contains("AADSTS7000215"), "{error:?}");

    let path = testdata("app.pem");
    ClientCertificate::from_file(&path, None).unwrap();
    let foreign = hub.app_with(&[("AZURE_CLIENT_CERTIFICATE_PATH", path.to_str().unwrap())]);
    let error = hub.ask(&foreign.into()).await.unwrap_err();
    assert!(chain(&error).contains("AADSTS700027"), "{error:?}");
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_gets_no_secret_and_is_not_asked_twice() {
    let hub = Hub::start().await;
    let entra = hub.emulator.entra();
    let options = ClientSecretCredentialOptions {
        client_options: ClientOptions {
            cloud: Some(Arc::new(cloud(&entra.authority()))),
            transport: Some(HyperTransport::new(HyperOptions::default()).unwrap().into()),
            ..Default::default()
        },
    };
    let app = entra.application();
    let secret = app.client_secret().to_owned().into();
    let credential = ClientSecretCredential::new(entra.tenant_id(), app.client_id(), secret, Some(options));
    let error = credential
        .unwrap()
        .get_token(&["https://iothubs.azure.net/.default"], None)
        .await
        .unwrap_err();
    assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    let asked = |event: &Event| matches!(event, Event::Request { .. });
    assert_eq!(hub.emulator.journal().count(asked), 0);
}

#[tokio::test]
async fn a_token_that_expired_early_costs_one_answer_401() {
    let hub = Hub::start().await;
    let app = hub.emulator.entra().application();
    let credential = Credential::from(hub.app_with(&[("AZURE_CLIENT_SECRET", app.client_secret())]));
    assert_eq!(hub.ask(&credential).await.unwrap(), StatusCode::NotFound);
    hub.emulator.clock().advance(Duration::from_secs(2 * 3600));
    assert_eq!(hub.ask(&credential).await.unwrap(), StatusCode::Unauthorized);
    assert_eq!(hub.ask(&credential).await.unwrap(), StatusCode::NotFound);
}

#[tokio::test]
async fn a_policys_key_is_enough_and_a_wrong_one_is_not() {
    let hub = Hub::start().await;
    let text = hub.emulator.connection_string("iothubowner").unwrap();
    let ConnectionString { host, credential, .. } = text.parse().unwrap();
    assert_eq!(host.to_string(), hub.emulator.host().to_string());
    hub.greets(credential).await;

    let wrong = SharedAccessKey::new("iothubowner", "bm90LWEtcmVhbC1rZXk=").unwrap();
    assert_eq!(hub.ask(&wrong.into()).await.unwrap(), StatusCode::Unauthorized);
}

fn cloud(authority: &str) -> azure_core::cloud::CloudConfiguration {
    let mut custom = azure_core::cloud::CustomConfiguration::default();
    custom.authority_host = authority.to_owned();
    custom.into()
}

/// An error and its causes: the bare pipeline of these tests puts a sentence of its own in front.
fn chain(error: &iothub_core::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn audience(token: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = token.split('.').nth(1).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["aud"].as_str().unwrap().to_owned()
}
