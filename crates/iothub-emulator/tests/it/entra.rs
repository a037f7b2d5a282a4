use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use iothub_emulator::{
    Application, Door, Emulator, EmulatorOptions, EntraOptions, Event, Fault, Principal, Role, When,
};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use url::Url;

use crate::client::{Client, tls_at};

const SCOPE: &str = "https://iothubs.azure.net/.default";

async fn start() -> Emulator {
    Emulator::start(EmulatorOptions::default()).await.unwrap()
}

/// Asks at a URL, and returns status and JSON.
async fn ask(emulator: &Emulator, request: Request<Full<Bytes>>) -> (StatusCode, Value) {
    let url: Url = request.uri().to_string().parse().unwrap();
    let port = url.port().unwrap();
    match url.scheme() {
        "https" => exchange(tls_at(emulator, port, b"http/1.1").await, request).await,
        _ => {
            exchange(
                TcpStream::connect((url.host_str().unwrap(), port)).await.unwrap(),
                request,
            )
            .await
        }
    }
}

async fn exchange<S>(stream: S, mut request: Request<Full<Bytes>>) -> (StatusCode, Value)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let authority = request.uri().authority().unwrap().to_string();
    request.headers_mut().insert("host", authority.parse().unwrap());
    *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn get(emulator: &Emulator, url: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    ask(emulator, request.body(Full::default()).unwrap()).await
}

/// Asks the token endpoint with this form.
async fn post(emulator: &Emulator, tenant: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
    let url = format!("{}/{tenant}/oauth2/v2.0/token", emulator.entra().authority());
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = Request::post(url).header("content-type", "application/x-www-form-urlencoded");
    ask(emulator, request.body(Full::from(form)).unwrap()).await
}

fn form<'a>(app: &'a Application, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_id", app.client_id()),
        ("client_secret", app.client_secret()),
        ("scope", SCOPE),
    ];
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        form.push((name, value));
    }
    form
}

pub(crate) async fn token(emulator: &Emulator, app: &Application) -> String {
    let (status, answer) = post(emulator, emulator.entra().tenant_id(), &form(app, &[])).await;
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

pub(crate) async fn hub(emulator: &Emulator, token: &str) -> Client {
    let mut client = Client::new(emulator, "iothubowner").await;
    client.token = format!("Bearer {token}");
    client
}

#[tokio::test]
async fn a_secret_opens_the_hub() {
    let emulator = start().await;
    let app = emulator.entra().application();
    let (status, answer) = post(&emulator, emulator.entra().tenant_id(), &form(&app, &[])).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"]),
        (&json!("Bearer"), &json!(3599))
    );

    let mut client = hub(&emulator, answer["access_token"].as_str().unwrap()).await;
    assert_eq!(
        client
            .put("/devices/lamp", None, r#"{"deviceId":"lamp"}"#)
            .await
            .outcome(),
        "200"
    );
    let principal = Principal::App(app.object_id().to_owned());
    let authorized = |event: &Event| matches!(event, Event::Authorized { principal: seen } if *seen == principal);
    assert_eq!(emulator.journal().count(authorized), 1);
    let operation = format!("POST /{}/oauth2/v2.0/token", emulator.entra().tenant_id());
    let request = Event::Request {
        door: Door::Entra,
        operation,
        status: 200,
    };
    assert_eq!(emulator.journal().count(|event| *event == request), 1);
}

#[tokio::test]
async fn a_token_is_signed_with_the_key_that_discovery_leads_to() {
    let emulator = start().await;
    let entra = emulator.entra();
    let issuer = format!("{}/{}/v2.0", entra.authority(), entra.tenant_id());
    let (_, configuration) = get(&emulator, &format!("{issuer}/.well-known/openid-configuration"), &[]).await;
    assert_eq!(configuration["issuer"], issuer);
    let endpoint = format!("{}/{}/oauth2/v2.0/token", entra.authority(), entra.tenant_id());
    assert_eq!(configuration["token_endpoint"], endpoint);

    let token = token(&emulator, &entra.application()).await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let [header, claims] =
        [header, claims].map(|part| -> Value { serde_json::from_slice(&BASE64URL.decode(part).unwrap()).unwrap() });
    let (_, keys) = get(&emulator, configuration["jwks_uri"].as_str().unwrap(), &[]).await;
    let key = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .unwrap();
    let [n, e] = ["n", "e"].map(|part| BASE64URL.decode(key[part].as_str().unwrap()).unwrap());
    RsaPublicKeyComponents { n, e }
        .verify(
            &RSA_PKCS1_2048_8192_SHA256,
            signed.as_bytes(),
            &BASE64URL.decode(signature).unwrap(),
        )
        .unwrap();
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&issuer.into(), &"https://iothubs.azure.net".into())
    );
    assert_eq!(
        (&claims["tid"], &claims["appid"]),
        (&entra.tenant_id().into(), &entra.application().client_id().into())
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_request_has_a_code() {
    let emulator = start().await;
    let (entra, app) = (emulator.entra(), emulator.entra().application());
    let tenant = entra.tenant_id();
    for (tenant, changes, status, error, code) in [
        (tenant, ("client_secret", "wrong"), 401, "invalid_client", 7_000_215),
        (tenant, ("client_secret", ""), 401, "invalid_client", 7_000_218),
        (tenant, ("client_id", tenant), 400, "unauthorized_client", 700_016),
        (tenant, ("client_id", ""), 400, "invalid_request", 900_144),
        (
            tenant,
            ("scope", "https://iothubs.azure.net/read"),
            400,
            "invalid_scope",
            70_011,
        ),
        (
            tenant,
            ("scope", "openid https://iothubs.azure.net/.default"),
            400,
            "invalid_scope",
            70_011,
        ),
        (
            tenant,
            ("scope", "https://vault.azure.net/.default"),
            400,
            "invalid_resource",
            500_011,
        ),
        (
            tenant,
            ("grant_type", "password"),
            400,
            "unsupported_grant_type",
            70_003,
        ),
        (tenant, ("client_assertion", "a.b.c"), 400, "invalid_request", 900_144),
        ("contoso", ("scope", SCOPE), 400, "invalid_request", 90_002),
    ] {
        let (answered, body) = post(&emulator, tenant, &form(&app, &[changes])).await;
        assert_eq!(
            (answered.as_u16(), &body["error"], &body["error_codes"]),
            (status, &error.into(), &json!([code]))
        );
        assert!(
            body["error_description"]
                .as_str()
                .unwrap()
                .starts_with(&format!("AADSTS{code}: ")),
            "{body}"
        );
        assert!(!body.to_string().contains(app.client_secret()));
    }
    let (status, _) = get(
        &emulator,
        &format!("{}/{tenant}/oauth2/v2.0/token", entra.authority()),
        &[],
    )
    .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_token_is_worth_its_roles_and_its_time() {
    let entra = EntraOptions {
        token_lifetime: Duration::from_secs(60),
        ..Default::default()
    };
    let emulator = Emulator::start(EmulatorOptions {
        entra,
        ..Default::default()
    })
    .await
    .unwrap();
    let reader = emulator.entra().register("reader").unwrap();
    reader.set_roles(&[Role::DataReader]);
    let mut client = hub(&emulator, &token(&emulator, &reader).await).await;
    assert_eq!(client.get("/devices").await.outcome(), "200");

    let refused = client.put("/devices/lamp", None, r#"{"deviceId":"lamp"}"#).await;
    assert_eq!(refused.outcome(), "401 IotHubUnauthorizedAccess");
    let message = refused.json()["Message"].to_string();
    assert!(
        message.contains(reader.object_id()) && message.contains("Microsoft.Devices/IotHubs/devices/write"),
        "{message}"
    );

    emulator.clock().advance(Duration::from_secs(61));
    let refused = client.get("/devices").await;
    assert_eq!(refused.outcome(), "401 IotHubUnauthorizedAccess");
    assert!(refused.json()["Message"].to_string().contains("it has expired"));
}

#[tokio::test]
async fn another_emulators_token_is_refused() {
    let (emulator, other) = (start().await, start().await);
    let foreign = token(&other, &other.entra().application()).await;
    // From now on, the emulator has a key of its own to compare with.
    token(&emulator, &emulator.entra().application()).await;
    for bad in [foreign.as_str(), "", "a.b.c", "not a token"] {
        let refused = hub(&emulator, bad).await.get("/devices").await;
        assert_eq!(refused.outcome(), "401 IotHubUnauthorizedAccess", "{bad}");
    }
}

#[tokio::test]
async fn a_federated_token_opens_the_hub() {
    let emulator = start().await;
    let (entra, app) = (emulator.entra(), emulator.entra().application());
    let assertion = entra.federated_token(&app, Duration::from_secs(60)).unwrap();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", app.client_id()),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", &assertion),
        ("scope", SCOPE),
    ];
    let (status, answer) = post(&emulator, entra.tenant_id(), &form).await;
    assert_eq!(status, 200, "{answer}");
    let mut client = hub(&emulator, answer["access_token"].as_str().unwrap()).await;
    assert_eq!(client.get("/devices").await.outcome(), "200");

    emulator.clock().advance(Duration::from_secs(61));
    let (status, answer) = post(&emulator, entra.tenant_id(), &form).await;
    assert_eq!((status.as_u16(), &answer["error_codes"]), (401, &json!([700_024])));
}

#[tokio::test]
async fn a_virtual_machine_has_an_identity() {
    let emulator = start().await;
    let entra = emulator.entra();
    let url = format!(
        "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://iothubs.azure.net",
        entra.imds_endpoint()
    );
    let metadata = [("metadata", "true")];
    let (status, answer) = get(&emulator, &url, &metadata).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&answer["client_id"], &answer["expires_in"]),
        (&entra.managed_identity().client_id().into(), &json!("3599"))
    );
    let mut client = hub(&emulator, answer["access_token"].as_str().unwrap()).await;
    assert_eq!(client.get("/devices").await.outcome(), "200");

    let assigned = entra.register("assigned").unwrap();
    let (_, answer) = get(
        &emulator,
        &format!("{url}&client_id={}", assigned.client_id()),
        &metadata,
    )
    .await;
    assert_eq!(answer["client_id"], assigned.client_id());
    let (_, answer) = get(
        &emulator,
        &format!("{url}&object_id={}", assigned.object_id()),
        &metadata,
    )
    .await;
    assert_eq!(answer["client_id"], assigned.client_id());

    for (url, headers) in [
        (url.clone(), &[][..]),
        (url.replace("api-version", "x"), &metadata),
        (url.replace("iothubs", "vault"), &metadata),
        (format!("{url}&client_id=nobody"), &metadata),
        (format!("{url}&msi_res_id=/subscriptions/x"), &metadata),
    ] {
        let (status, answer) = get(&emulator, &url, headers).await;
        assert_eq!(status, 400, "{url}: {answer}");
        assert!(answer["error_description"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn an_app_service_has_an_identity() {
    let emulator = start().await;
    let entra = emulator.entra();
    let url = format!(
        "{}?api-version=2019-08-01&resource=https://iothubs.azure.net",
        entra.identity_endpoint()
    );
    let proof = [("x-identity-header", entra.identity_header())];
    let (status, answer) = get(&emulator, &url, &proof).await;
    assert_eq!(status, 200);
    let [from, to] = ["not_before", "expires_on"].map(|name| answer[name].as_str().unwrap().parse::<i64>().unwrap());
    assert_eq!(to - from, 3600);

    for (url, headers, expected) in [
        (url.clone(), &[][..], 401),
        (url.clone(), &[("x-identity-header", "wrong")], 401),
        (url.replace("2019-08-01", "2017-09-01"), &proof, 400),
        (url.replace("iothubs", "vault"), &proof, 400),
    ] {
        let (status, answer) = get(&emulator, &url, headers).await;
        assert_eq!(status.as_u16(), expected, "{url}: {answer}");
    }
}

#[tokio::test]
async fn a_tenant_lives_on_in_its_data_directory() {
    let directory = std::env::temp_dir().join(format!("iothub-emulator-it-{}", uuid::Uuid::new_v4()));
    let options = EmulatorOptions {
        data_dir: Some(directory.clone()),
        ..Default::default()
    };
    let seen = |emulator: &Emulator| {
        let (entra, app) = (emulator.entra(), emulator.entra().application());
        let pem = std::fs::read_to_string(entra.certificate_file().unwrap()).unwrap();
        assert_eq!(pem, app.certificate_pem().unwrap());
        assert!(entra.pkcs12_file().unwrap().exists());
        assert_eq!(
            std::fs::read_to_string(entra.federated_token_file().unwrap())
                .unwrap()
                .split('.')
                .count(),
            3
        );
        let ids = [
            entra.tenant_id(),
            app.client_id(),
            app.client_secret(),
            entra.managed_identity().object_id(),
        ];
        (ids.map(str::to_owned), pem)
    };
    let first = Emulator::start(options.clone()).await.unwrap();
    let before = seen(&first);
    first.shutdown().await;
    let second = Emulator::start(options.clone()).await.unwrap();
    assert_eq!(seen(&second), before);
    second.shutdown().await;

    std::fs::write(directory.join("entra.json"), "{}").unwrap();
    let error = Emulator::start(options).await.unwrap_err();
    assert!(
        error.to_string().contains("entra.json is not what an emulator wrote"),
        "{error}"
    );
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_lifetime_that_cannot_be_is_refused() {
    let entra = EntraOptions {
        token_lifetime: Duration::from_secs(100_000),
        ..Default::default()
    };
    let error = Emulator::start(EmulatorOptions {
        entra,
        ..Default::default()
    })
    .await
    .unwrap_err();
    assert!(error.to_string().contains("token_lifetime"), "{error}");
}

#[tokio::test]
async fn a_resource_of_a_sovereign_cloud_is_asked_for_by_option() {
    let entra = EntraOptions {
        resources: vec!["https://iothubs.azure.cn".to_owned()],
        ..Default::default()
    };
    let emulator = Emulator::start(EmulatorOptions {
        entra,
        ..Default::default()
    })
    .await
    .unwrap();
    let app = emulator.entra().application();
    let changes = [("scope", "https://iothubs.azure.cn/.default")];
    let (status, answer) = post(&emulator, emulator.entra().tenant_id(), &form(&app, &changes)).await;
    assert_eq!(status, 200, "{answer}");
    let mut client = hub(&emulator, answer["access_token"].as_str().unwrap()).await;
    assert_eq!(client.get("/devices").await.outcome(), "200");
}

#[tokio::test]
async fn a_request_for_a_token_can_be_refused() {
    let emulator = start().await;
    let refuse = Fault::RefuseTokenRequest {
        status: 503,
        retry_after: Some("1".into()),
    };
    emulator.faults().inject(refuse, When::Next(1)).unwrap();
    let app = emulator.entra().application();
    let (status, answer) = post(&emulator, emulator.entra().tenant_id(), &form(&app, &[])).await;
    assert_eq!(
        (status.as_u16(), &answer["error"]),
        (503, &json!("temporarily_unavailable"))
    );
    token(&emulator, &app).await;
}
