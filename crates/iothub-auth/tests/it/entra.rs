use std::sync::Arc;

use azure_core::{
    cloud::{CloudConfiguration, CustomConfiguration},
    error::ErrorKind,
    http::{ClientOptions, StatusCode},
};
use iothub_auth::{
    ClientCertificate, ClientCertificateCredential, ClientCertificateCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, CredentialError, EnvironmentCredential, EnvironmentCredentialOptions,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use iothub_core::{Result, testing::ScriptedHttp};

use crate::wire::{SCOPE, TempFile, ask, environment, form, only_request, refusal, testdata, text, token};

/// Always with a cloud, so that nothing depends on the variables of the process.
fn in_cloud(http: &ScriptedHttp, authority: &str) -> ClientOptions {
    let mut custom = CustomConfiguration::default();
    custom.authority_host = authority.to_owned();
    ClientOptions {
        cloud: Some(Arc::new(custom.into())),
        ..http.client_options()
    }
}

fn with_secret(http: &ScriptedHttp) -> Result<Arc<ClientSecretCredential>> {
    let options = ClientSecretCredentialOptions {
        client_options: in_cloud(http, "https://login.example"),
    };
    ClientSecretCredential::new("tenant", "client", "p&ss word".into(), Some(options))
}

#[tokio::test]
async fn a_secret_is_posted_to_the_tenants_token_endpoint() {
    let http = ScriptedHttp::new([token("t")]);
    assert_eq!(text(&*with_secret(&http).unwrap()).await, "t");
    let request = only_request(&http);
    assert_eq!(request.url.as_str(), "https://login.example/tenant/oauth2/v2.0/token");
    let form = form(&request);
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["client_id"], "client");
    assert_eq!(form["client_secret"], "p&ss word");
    assert_eq!(form["scope"], SCOPE);
}

#[tokio::test]
async fn each_call_is_a_request_so_that_a_refused_token_does_not_come_back() {
    let http = ScriptedHttp::new([token("first"), token("second")]);
    let credential = with_secret(&http).unwrap();
    assert_eq!(text(&*credential).await, "first");
    assert_eq!(text(&*credential).await, "second");
}

#[tokio::test]
async fn a_bad_secret_fails_at_once_with_what_entra_said() {
    let http = ScriptedHttp::always(refusal(7_000_215, "Invalid client secret provided."));
    let error = ask(&*with_secret(&http).unwrap()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Credential));
    let said = error.to_string();
    assert!(
        said.contains("AADSTS7000215: Invalid client secret provided."),
        "{said}"
    );
    assert!(!format!("{error:?}").contains("p&ss"));
    assert_eq!(http.seen().len(), 1);
}

#[tokio::test]
async fn garbage_from_the_endpoint_is_an_error() {
    for garbage in [
        "",
        "null",
        "[]",
        "{}",
        "<html>",
        r#"{"access_token":1,"expires_in":1}"#,
        r#"{"access_token":"","expires_in":1}"#,
        r#"{"access_token":"t"}"#,
        r#"{"access_token":"t","expires_in":-1}"#,
        r#"{"access_token":"t","expires_in":9223372036854775807}"#,
    ] {
        let http = ScriptedHttp::answering(StatusCode::Ok, garbage);
        let error = ask(&*with_secret(&http).unwrap()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Credential));
        let said = error.to_string();
        assert!(
            said.contains("https://login.example answered 200, but not with a token"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn clouds_have_their_own_authority() {
    for (cloud, host) in [
        (CloudConfiguration::AzurePublic, "login.microsoftonline.com"),
        (CloudConfiguration::AzureGovernment, "login.microsoftonline.us"),
        (CloudConfiguration::AzureChina, "login.chinacloudapi.cn"),
    ] {
        let http = ScriptedHttp::new([token("t")]);
        let certificate = ClientCertificate::from_file(testdata("app.pem"), None).unwrap();
        let options = ClientCertificateCredentialOptions {
            client_options: ClientOptions {
                cloud: Some(Arc::new(cloud)),
                ..http.client_options()
            },
            ..Default::default()
        };
        let credential = ClientCertificateCredential::new("t", "c", certificate, Some(options)).unwrap();
        ask(&*credential).await.unwrap();
        let request = only_request(&http);
        assert_eq!(request.url.host_str(), Some(host));
        let audience = claims(&form(&request)["client_assertion"])["aud"].clone();
        assert_eq!(audience, request.url.as_str());
    }
}

#[test]
fn malformed_ids_and_authorities_are_refused_before_a_request() {
    let http = ScriptedHttp::default();
    let secret = |tenant: &str, client: &str, secret: &str, authority: &str| {
        let options = ClientSecretCredentialOptions {
            client_options: in_cloud(&http, authority),
        };
        ClientSecretCredential::new(tenant, client, secret.to_owned().into(), Some(options)).is_err()
    };
    assert!(secret("a/b", "c", "s", "https://login.example"));
    assert!(secret("", "c", "s", "https://login.example"));
    assert!(secret("t", "", "s", "https://login.example"));
    assert!(secret("t", "c", "", "https://login.example"));
    assert!(secret("t", "c", "s", "http://login.example"));
    assert!(secret("t", "c", "s", "login"));
}

#[tokio::test]
async fn the_environment_describes_a_secret() {
    let http = ScriptedHttp::new([token("t")]);
    let credential = from_environment(
        &http,
        &[
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_CLIENT_SECRET", "secret"),
            ("AZURE_CLIENT_CERTIFICATE_PATH", "/ignored"),
            ("AZURE_AUTHORITY_HOST", "https://login.cloud.example/"),
        ],
    );
    assert_eq!(text(&*credential.unwrap()).await, "t");
    let request = only_request(&http);
    assert_eq!(
        request.url.as_str(),
        "https://login.cloud.example/tenant/oauth2/v2.0/token"
    );
    assert_eq!(form(&request)["client_secret"], "secret");
}

#[tokio::test]
async fn the_environment_describes_a_certificate() {
    for (send_chain, certificates) in [
        (None, None),
        (Some("0"), None),
        (Some("1"), Some(2)),
        (Some("True"), Some(2)),
    ] {
        let http = ScriptedHttp::new([token("t")]);
        let path = testdata("app.pem");
        let mut variables = vec![
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_CLIENT_CERTIFICATE_PATH", path.to_str().unwrap()),
        ];
        variables.extend(send_chain.map(|value| ("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", value)));
        let credential = from_environment(&http, &variables);
        assert_eq!(text(&*credential.unwrap()).await, "t");
        let form = form(&only_request(&http));
        assert_eq!(
            form["client_assertion_type"],
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        let header = part(&form["client_assertion"], 0);
        assert_eq!(header["x5c"].as_array().map(Vec::len), certificates);
    }
}

#[cfg(feature = "pkcs12")]
#[tokio::test]
async fn the_environment_describes_a_certificate_with_a_password() {
    let path = testdata("app.p12");
    let variables = |password| {
        [
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_CLIENT_CERTIFICATE_PATH", path.to_str().unwrap()),
            ("AZURE_CLIENT_CERTIFICATE_PASSWORD", password),
        ]
    };
    let http = ScriptedHttp::new([token("t")]);
    let credential = from_environment(&http, &variables("test-password"));
    assert_eq!(text(&*credential.unwrap()).await, "t");

    let error = from_environment(&http, &variables("wrong")).unwrap_err();
    assert!(error.to_string().contains("the password is wrong"), "{error}");
}

#[test]
fn what_the_environment_lacks_is_named() {
    for (variables, expected) in [
        (&[][..], "AZURE_TENANT_ID, AZURE_CLIENT_ID not set"),
        (
            &[("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "")],
            "AZURE_CLIENT_ID not set",
        ),
        (
            &[("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")],
            "neither AZURE_CLIENT_SECRET nor",
        ),
    ] {
        let error = from_environment(&ScriptedHttp::default(), variables).unwrap_err();
        assert!(matches!(
            CredentialError::of(&error),
            Some(CredentialError::Unavailable { .. })
        ));
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn the_federated_token_is_read_anew_for_each_request() {
    let http = ScriptedHttp::new([token("t"), token("u")]);
    let file = TempFile::holding("first\n");
    let credential = federated(&http, &file).unwrap();
    ask(&*credential).await.unwrap();
    std::fs::write(&file.0, "second").unwrap();
    ask(&*credential).await.unwrap();
    let sent: Vec<_> = http
        .requests()
        .iter()
        .map(|it| form(it)["client_assertion"].clone())
        .collect();
    assert_eq!(sent, ["first", "second"]);
}

#[tokio::test]
async fn a_token_file_that_will_not_do_is_named() {
    let http = ScriptedHttp::default();
    let file = TempFile::holding(" \n");
    let path = file.0.display().to_string();
    let credential = federated(&http, &file).unwrap();
    let check = |error: &iothub_core::Error, reason: &str| {
        assert!(matches!(
            CredentialError::of(error),
            Some(CredentialError::TokenFile { .. })
        ));
        let said = error.to_string();
        assert!(said.starts_with("WorkloadIdentityCredential"), "{said}");
        assert!(said.contains(&path) && said.contains(reason), "{said}");
    };
    check(&ask(&*credential).await.unwrap_err(), "it is empty");
    drop(file);
    check(&ask(&*credential).await.unwrap_err(), "No such file");
    assert!(http.seen().is_empty());
}

#[test]
fn a_missing_token_file_variable_is_named() {
    let variables = environment(&[("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")]);
    let options = WorkloadIdentityCredentialOptions {
        environment: variables,
        client_options: ScriptedHttp::default().client_options(),
        ..Default::default()
    };
    let error = WorkloadIdentityCredential::new(Some(options)).unwrap_err();
    assert!(
        error.to_string().contains("AZURE_FEDERATED_TOKEN_FILE not set"),
        "{error}"
    );
}

#[cfg(not(feature = "hyper"))]
#[test]
fn without_a_transport_every_constructor_says_so() {
    let missing =
        |error: iothub_core::Error| assert_eq!(CredentialError::of(&error), Some(&CredentialError::NoTransport));
    missing(ClientSecretCredential::new("t", "c", "s".into(), None).unwrap_err());
    let certificate = ClientCertificate::from_file(testdata("app.pem"), None).unwrap();
    missing(ClientCertificateCredential::new("t", "c", certificate, None).unwrap_err());
    missing(iothub_auth::DefaultAzureCredential::new(None).unwrap_err());
    missing(iothub_auth::ManagedIdentityCredential::new(None).unwrap_err());
}

#[cfg(feature = "hyper")]
#[test]
fn without_a_transport_there_is_hyper() {
    ClientSecretCredential::new("t", "c", "s".into(), None).unwrap();
    iothub_auth::ManagedIdentityCredential::new(None).unwrap();
}

fn from_environment(http: &ScriptedHttp, variables: &[(&str, &str)]) -> Result<Arc<EnvironmentCredential>> {
    EnvironmentCredential::new(Some(EnvironmentCredentialOptions {
        environment: environment(variables),
        client_options: http.client_options(),
    }))
}

fn federated(http: &ScriptedHttp, file: &TempFile) -> Result<Arc<WorkloadIdentityCredential>> {
    WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
        environment: environment(&[
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_FEDERATED_TOKEN_FILE", file.0.to_str().unwrap()),
        ]),
        client_options: http.client_options(),
        ..Default::default()
    }))
}

fn claims(assertion: &str) -> serde_json::Value {
    part(assertion, 1)
}

fn part(assertion: &str, index: usize) -> serde_json::Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let text = assertion.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}
