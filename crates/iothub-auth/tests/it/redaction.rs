use std::{fmt::Debug, sync::Arc};

use azure_core::{
    credentials::Secret,
    http::{StatusCode, headers::AUTHORIZATION},
};
use iothub_auth::{
    ChainedTokenCredential, ClientCertificate, ClientCertificateCredential, ClientSecretCredential,
    ClientSecretCredentialOptions, ConnectionString, Credential, DefaultAzureCredential, DefaultAzureCredentialOptions,
    EnvironmentCredential, EnvironmentCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    SharedAccessKey, SharedAccessSignature,
};
use iothub_core::{
    HubHost,
    testing::{HttpAnswer, ScriptedHttp},
};

use crate::wire::{environment, testdata, token};

/// `canarycanarycanary` as a secret would stand in a file, in a header and in a query.
const CANARY: &str = "canarycanarycanary";
const CANARY_BASE64: &str = "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5";

#[track_caller]
fn clean(value: &dyn Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(!text.is_empty());
        assert!(!text.contains(CANARY) && !text.contains(CANARY_BASE64), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_prints_a_secret() {
    let host: HubHost = "hub.net".parse().unwrap();
    let http = ScriptedHttp::always(token(CANARY));
    let variables = environment(&[
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_CLIENT_SECRET", CANARY),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/"),
        ("IDENTITY_HEADER", CANARY),
    ]);
    clean(&variables);

    let key = SharedAccessKey::new("service", CANARY_BASE64).unwrap();
    let sas = format!("SharedAccessSignature sr=hub.net&sig={CANARY}&se=4102444800");
    let signature: SharedAccessSignature = sas.parse().unwrap();
    let text = format!("HostName=hub.net;SharedAccessKeyName=service;SharedAccessKey={CANARY_BASE64}");
    clean(&text.parse::<ConnectionString>().unwrap());
    clean(
        &format!("HostName=hub.net;SharedAccessSignature={sas}")
            .parse::<ConnectionString>()
            .unwrap(),
    );

    let options = ClientSecretCredentialOptions {
        client_options: http.client_options(),
    };
    clean(&options);
    let secret = ClientSecretCredential::new("tenant", "client", Secret::new(CANARY), Some(options)).unwrap();
    clean(&secret);
    let options = EnvironmentCredentialOptions {
        environment: variables.clone(),
        client_options: http.client_options(),
    };
    clean(&options);
    clean(&EnvironmentCredential::new(Some(options)).unwrap());
    let options = ManagedIdentityCredentialOptions {
        environment: variables.clone(),
        client_options: http.client_options(),
        ..Default::default()
    };
    clean(&options);
    clean(&ManagedIdentityCredential::new(Some(options)).unwrap());
    let options = DefaultAzureCredentialOptions {
        environment: variables,
        client_options: http.client_options(),
        executor: None,
    };
    clean(&options);
    let default = DefaultAzureCredential::new(Some(options)).unwrap();
    clean(&default);
    clean(&default.explain());
    clean(&ChainedTokenCredential::new(vec![secret.clone()]));

    for credential in [key.into(), signature.into(), Credential::from(secret)] {
        let policy = credential.policy(&host);
        let cbs = credential.cbs_tokens(&host);
        let token = cbs.token().await.unwrap();
        assert!(!token.secret.secret().is_empty());
        for value in [&credential as &dyn Debug, &policy, &cbs, &token] {
            clean(value);
        }
    }
}

#[test]
fn a_certificate_prints_its_thumbprint_and_no_key() {
    let file = std::fs::read_to_string(testdata("app.pem")).unwrap();
    let certificate = ClientCertificate::from_bytes(file.as_bytes(), None).unwrap();
    let printed = format!("{certificate:?}");
    assert!(printed.starts_with("ClientCertificate { thumbprint: \""), "{printed}");
    assert!(
        file.lines()
            .filter(|line| line.len() == 64)
            .all(|line| !printed.contains(line))
    );

    let options = iothub_auth::ClientCertificateCredentialOptions {
        client_options: ScriptedHttp::default().client_options(),
        ..Default::default()
    };
    let credential: Arc<_> = ClientCertificateCredential::new("t", "c", certificate, Some(options)).unwrap();
    assert_eq!(
        format!("{credential:?}"),
        r#"ClientCertificateCredential { tenant_id: "t", client_id: "c", .. }"#
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_endpoint_has_no_secret_of_the_request() {
    let answer = HttpAnswer::new(StatusCode::InternalServerError, "{}").with_header(AUTHORIZATION, CANARY);
    let options = ClientSecretCredentialOptions {
        client_options: ScriptedHttp::always(answer).client_options(),
    };
    let secret = ClientSecretCredential::new("tenant", "client", Secret::new(CANARY), Some(options)).unwrap();
    let error = crate::wire::ask(&*secret).await.unwrap_err();
    clean(&error);
    assert!(!error.to_string().contains(CANARY));
}
