use std::sync::Arc;

use azure_core::{error::ErrorKind, http::StatusCode};
use iothub_auth::{CredentialError, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use iothub_core::{
    Result,
    testing::{HttpAnswer, ScriptedHttp},
};

use crate::wire::{ask, environment, only_request};

const APP_SERVICE: &[(&str, &str)] = &[
    ("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"),
    ("IDENTITY_HEADER", "inside"),
];

fn credential(
    http: &ScriptedHttp,
    variables: &[(&str, &str)],
    user_assigned_id: Option<UserAssignedId>,
) -> Result<Arc<ManagedIdentityCredential>> {
    ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
        user_assigned_id,
        environment: environment(variables),
        client_options: http.client_options(),
    }))
}

fn token(expiry: &str) -> HttpAnswer {
    let body = format!(r#"{{"access_token":"t",{expiry},"resource":"r","token_type":"Bearer"}}"#);
    HttpAnswer::new(StatusCode::Ok, body)
}

#[tokio::test]
async fn app_service_is_asked_with_its_header() {
    let http = ScriptedHttp::new([token(r#""expires_on":"4102444800""#)]);
    let answer = ask(&*credential(&http, APP_SERVICE, None).unwrap()).await.unwrap();
    assert_eq!(answer.token.secret(), "t");
    assert_eq!(answer.expires_on.unix_timestamp(), 4_102_444_800);
    let request = only_request(&http);
    assert_eq!(
        request.url.as_str(),
        "http://127.0.0.1:41741/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fiothubs.azure.net"
    );
    assert_eq!(
        request.headers.get_optional_str(&"x-identity-header".into()),
        Some("inside")
    );
}

#[tokio::test]
async fn imds_is_asked_at_its_address_or_at_another() {
    for (variables, start) in [
        (
            &[][..],
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&",
        ),
        (
            &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1234")],
            "http://127.0.0.1:1234/metadata/identity/oauth2/token?api-version=2018-02-01&",
        ),
    ] {
        let http = ScriptedHttp::new([token(r#""expires_in":"3600","expires_on":"4102444800""#)]);
        ask(&*credential(&http, variables, None).unwrap()).await.unwrap();
        let request = only_request(&http);
        assert!(request.url.as_str().starts_with(start), "{}", request.url);
        assert_eq!(request.headers.get_optional_str(&"metadata".into()), Some("true"));
    }
}

#[tokio::test]
async fn an_identity_is_named_in_the_query() {
    for (variables, id, expected) in [
        (&[][..], UserAssignedId::ClientId("a b".to_owned()), "&client_id=a+b"),
        (&[], UserAssignedId::ObjectId("o".to_owned()), "&object_id=o"),
        (&[], UserAssignedId::ResourceId("/r".to_owned()), "&msi_res_id=%2Fr"),
        (
            APP_SERVICE,
            UserAssignedId::ResourceId("/r".to_owned()),
            "&mi_res_id=%2Fr",
        ),
    ] {
        let http = ScriptedHttp::new([token(r#""expires_on":4102444800"#)]);
        ask(&*credential(&http, variables, Some(id)).unwrap()).await.unwrap();
        assert!(only_request(&http).url.as_str().ends_with(expected));
    }
}

#[tokio::test]
async fn a_machine_without_the_identity_says_so_and_is_asked_once() {
    let body = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
    let http = ScriptedHttp::always(HttpAnswer::new(StatusCode::BadRequest, body));
    let error = ask(&*credential(&http, &[], None).unwrap()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Credential));
    assert!(matches!(
        CredentialError::of(&error),
        Some(CredentialError::Unavailable { .. })
    ));
    assert!(error.to_string().contains("Identity not found"), "{error}");
    assert_eq!(http.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_identity_being_updated_is_waited_for() {
    let gone = HttpAnswer::new(StatusCode::Gone, "{}");
    let http = ScriptedHttp::new([gone.clone(), gone, token(r#""expires_on":"4102444800""#)]);
    ask(&*credential(&http, &[], None).unwrap()).await.unwrap();
    assert_eq!(http.seen().len(), 3);
}

#[tokio::test]
async fn what_is_not_a_token_is_not_taken_for_one() {
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"access_token":"t"}"#,
        r#"{"access_token":"t","expires_on":"soon"}"#,
        r#"{"access_token":"","expires_on":"4102444800"}"#,
        r#"{"access_token":"t","expires_in":9223372036854775807}"#,
    ] {
        let http = ScriptedHttp::answering(StatusCode::Ok, body);
        let error = ask(&*credential(&http, &[], None).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("not with a token"), "{body}: {error}");
    }
}

#[tokio::test]
async fn an_arc_agent_that_names_a_file_elsewhere_gets_nothing() {
    let challenge =
        HttpAnswer::new(StatusCode::Unauthorized, "{}").with_header("www-authenticate", "Basic realm=/etc/passwd");
    let http = ScriptedHttp::new([challenge]);
    let arc = [
        (
            "IDENTITY_ENDPOINT",
            "http://localhost:40342/metadata/identity/oauth2/token",
        ),
        ("IMDS_ENDPOINT", "http://localhost:40342"),
    ];
    let error = ask(&*credential(&http, &arc, None).unwrap()).await.unwrap_err();
    assert!(
        error.to_string().contains("`/etc/passwd`, which is not a .key file"),
        "{error}"
    );
    assert!(only_request(&http).url.as_str().contains("api-version=2019-11-01"));
}

#[test]
fn places_without_support_and_bad_endpoints_are_named() {
    let id = || Some(UserAssignedId::ClientId("c".to_owned()));
    for (variables, id, expected) in [
        (&[("MSI_ENDPOINT", "http://x")][..], None, "Cloud Shell"),
        (
            &[("MSI_ENDPOINT", "http://x"), ("MSI_SECRET", "s")],
            None,
            "Machine Learning",
        ),
        (
            &[
                ("IDENTITY_ENDPOINT", "http://x"),
                ("IDENTITY_HEADER", "h"),
                ("IDENTITY_SERVER_THUMBPRINT", "t"),
            ],
            None,
            "Service Fabric",
        ),
        (&[("IDENTITY_ENDPOINT", "x")], None, "`IDENTITY_ENDPOINT` is not usable"),
        (&[("IDENTITY_ENDPOINT", "http://x")], None, "IDENTITY_HEADER"),
        (
            &[("IDENTITY_ENDPOINT", "http://x"), ("IMDS_ENDPOINT", "http://x")],
            id(),
            "user_assigned_id",
        ),
    ] {
        let error = credential(&ScriptedHttp::default(), variables, id).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
