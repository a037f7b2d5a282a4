use std::{
    ffi::OsStr,
    io,
    process::{ExitStatus, Output},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use azure_core::{error::ErrorKind, http::StatusCode};
use iothub_auth::{
    ChainedTokenCredential, ClientSecretCredential, ClientSecretCredentialOptions, CredentialError,
    DefaultAzureCredential, DefaultAzureCredentialOptions, Executor, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions,
};
use iothub_core::{
    Result,
    testing::{HttpAnswer, ScriptedHttp},
};

use crate::wire::{TempFile, ask, environment, refusal, text, token};

const APP: [(&str, &str); 2] = [("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "client")];

/// `az` and `azd`, of which `signed_in` gives tokens.
#[derive(Debug, Default)]
struct Tools {
    signed_in: &'static [&'static str],
    ran: Mutex<Vec<&'static str>>,
}

#[async_trait]
impl Executor for Tools {
    async fn run(&self, _: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
        let command = args.last().unwrap().to_string_lossy();
        let tool = if command.contains("azd ") { "azd" } else { "az" };
        self.ran.lock().unwrap().push(tool);
        let (code, stdout) = match (self.signed_in.contains(&tool), tool) {
            (false, _) => (1, ""),
            (true, "az") => (
                0,
                r#"{"accessToken":"from az","expires_on":4102444800,"tokenType":"Bearer"}"#,
            ),
            (true, _) => (0, r#"{"token":"from azd","expiresOn":"2100-01-01T00:00:00Z"}"#),
        };
        Ok(Output {
            status: exit_status(code),
            stdout: stdout.into(),
            stderr: format!("{tool}: please sign in").into(),
        })
    }
}

#[cfg(unix)]
fn exit_status(code: u8) -> ExitStatus {
    std::os::unix::process::ExitStatusExt::from_raw(i32::from(code) << 8)
}

#[cfg(windows)]
fn exit_status(code: u8) -> ExitStatus {
    std::os::windows::process::ExitStatusExt::from_raw(code.into())
}

struct Machine {
    http: ScriptedHttp,
    tools: Arc<Tools>,
}

impl Machine {
    fn new(http: ScriptedHttp, signed_in: &'static [&'static str]) -> Self {
        let ran = Mutex::default();
        let tools = Arc::new(Tools { signed_in, ran });
        Self { http, tools }
    }

    fn credential(&self, variables: &[(&str, &str)]) -> Result<Arc<DefaultAzureCredential>> {
        DefaultAzureCredential::new(Some(DefaultAzureCredentialOptions {
            environment: environment(variables),
            client_options: self.http.client_options(),
            executor: Some(self.tools.clone()),
        }))
    }

    fn ran(&self) -> Vec<&'static str> {
        self.tools.ran.lock().unwrap().clone()
    }
}

fn and(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    APP.iter().chain(more).copied().collect()
}

fn imds_token() -> HttpAnswer {
    HttpAnswer::new(
        StatusCode::Ok,
        r#"{"access_token":"from imds","expires_on":"4102444800"}"#,
    )
}

#[tokio::test(start_paused = true)]
async fn each_environment_picks_its_credential() {
    let file = TempFile::holding("federated");
    let path = file.0.to_str().unwrap();
    let secret = ("AZURE_CLIENT_SECRET", "secret");
    let federated = ("AZURE_FEDERATED_TOKEN_FILE", path);
    let app_service = [("IDENTITY_ENDPOINT", "http://127.0.0.1:1/"), ("IDENTITY_HEADER", "h")];
    let dev = ("AZURE_TOKEN_CREDENTIALS", "dev");
    let nothing = HttpAnswer::Silence;
    let probed = HttpAnswer::new(StatusCode::BadRequest, "{}");

    for (variables, answers, signed_in, expected, winner) in [
        (
            [&APP[..], &[secret, federated]].concat(),
            vec![token("t")],
            &[][..],
            "t",
            "EnvironmentCredential",
        ),
        (
            [&APP[..], &[federated]].concat(),
            vec![token("t")],
            &[],
            "t",
            "WorkloadIdentityCredential",
        ),
        (
            app_service.to_vec(),
            vec![imds_token()],
            &[],
            "from imds",
            "ManagedIdentityCredential",
        ),
        (
            vec![],
            vec![probed, imds_token()],
            &["az"],
            "from imds",
            "ManagedIdentityCredential",
        ),
        (
            vec![],
            vec![nothing.clone()],
            &["az", "azd"],
            "from az",
            "AzureCliCredential",
        ),
        (
            vec![],
            vec![nothing],
            &["azd"],
            "from azd",
            "AzureDeveloperCliCredential",
        ),
        (vec![dev], vec![], &["azd"], "from azd", "AzureDeveloperCliCredential"),
    ] {
        let machine = Machine::new(ScriptedHttp::new(answers), signed_in);
        let credential = machine.credential(&variables).unwrap();
        assert_eq!(text(&*credential).await, expected);
        let explained = credential.explain();
        assert!(explained.contains(&format!("{winner} (chosen)")), "{explained}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_winner_is_asked_alone_from_then_on() {
    let machine = Machine::new(ScriptedHttp::always(HttpAnswer::Refused), &["azd"]);
    let credential = machine.credential(&[]).unwrap();
    text(&*credential).await;
    assert_eq!((machine.ran(), machine.http.seen().len()), (vec!["az", "azd"], 1));
    text(&*credential).await;
    assert_eq!(
        (machine.ran(), machine.http.seen().len()),
        (vec!["az", "azd", "azd"], 1)
    );
}

#[test]
fn the_selector_narrows_the_chain() {
    let machine = Machine::new(ScriptedHttp::default(), &[]);
    let all = "EnvironmentCredential WorkloadIdentityCredential ManagedIdentityCredential AzureCliCredential \
               AzureDeveloperCliCredential";
    for (value, expected) in [
        ("", all),
        (
            "prod",
            "EnvironmentCredential WorkloadIdentityCredential ManagedIdentityCredential",
        ),
        (
            "PROD",
            "EnvironmentCredential WorkloadIdentityCredential ManagedIdentityCredential",
        ),
        ("dev", "AzureCliCredential AzureDeveloperCliCredential"),
        ("EnvironmentCredential", "EnvironmentCredential"),
        ("workloadidentitycredential", "WorkloadIdentityCredential"),
        ("ManagedIdentityCredential", "ManagedIdentityCredential"),
        ("AzureCliCredential", "AzureCliCredential"),
        ("AzureDeveloperCliCredential", "AzureDeveloperCliCredential"),
    ] {
        let credential = machine.credential(&[("AZURE_TOKEN_CREDENTIALS", value)]).unwrap();
        let explained = credential.explain();
        let names: Vec<_> = explained.lines().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(names.join(" "), expected, "{value}");
    }
    for value in ["all", "VisualStudioCredential", "dev,prod"] {
        let error = machine.credential(&[("AZURE_TOKEN_CREDENTIALS", value)]).unwrap_err();
        assert!(matches!(
            CredentialError::of(&error),
            Some(CredentialError::Setting { .. })
        ));
        assert!(
            error
                .to_string()
                .contains("is none of dev, prod, EnvironmentCredential"),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_managed_identity_that_is_named_is_not_probed() {
    let machine = Machine::new(ScriptedHttp::new([imds_token()]), &[]);
    let named = [("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")];
    assert_eq!(text(&*machine.credential(&named).unwrap()).await, "from imds");
    assert_eq!(
        machine.http.requests()[0].headers.get_optional_str(&"metadata".into()),
        Some("true")
    );
}

#[tokio::test(start_paused = true)]
async fn one_error_lists_what_each_link_said() {
    let machine = Machine::new(ScriptedHttp::always(HttpAnswer::Silence), &[]);
    let started = tokio::time::Instant::now();
    let error = ask(&*machine.credential(&[]).unwrap()).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 1, "one probe of a second");
    assert!(matches!(error.kind(), ErrorKind::Credential));
    assert!(matches!(
        CredentialError::of(&error),
        Some(CredentialError::Unavailable { .. })
    ));
    let said = error.to_string();
    for part in [
        "EnvironmentCredential: EnvironmentCredential is not available: AZURE_TENANT_ID, AZURE_CLIENT_ID not set",
        "WorkloadIdentityCredential is not available: AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE not set",
        "nothing answers at IMDS at http://169.254.169.254",
        "az: please sign in",
        "azd: please sign in",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_refused_ends_the_search() {
    let machine = Machine::new(
        ScriptedHttp::always(refusal(7_000_215, "Invalid client secret.")),
        &["az"],
    );
    let credential = machine
        .credential(&and(&[("AZURE_CLIENT_SECRET", "wrong-canary")]))
        .unwrap();
    let error = ask(&*credential).await.unwrap_err();
    assert!(error.to_string().contains("AADSTS7000215"), "{error}");
    assert!(!format!("{error} {error:?}").contains("wrong-canary"));
    assert_eq!((machine.http.seen().len(), machine.ran()), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_broken_ends_the_search_at_its_turn() {
    let machine = Machine::new(ScriptedHttp::default(), &["az"]);
    let credential = machine
        .credential(&and(&[("AZURE_CLIENT_CERTIFICATE_PATH", "/no/such/file.pem")]))
        .unwrap();
    let error = ask(&*credential).await.unwrap_err();
    assert!(
        matches!(CredentialError::of(&error), Some(CredentialError::Certificate { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("/no/such/file.pem"), "{error}");
    assert!(credential.explain().contains("/no/such/file.pem"));
    assert!(machine.ran().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_is_down_ends_the_search() {
    let machine = Machine::new(ScriptedHttp::always(HttpAnswer::Refused), &["az"]);
    let credential = machine.credential(&and(&[("AZURE_CLIENT_SECRET", "s")])).unwrap();
    assert!(ask(&*credential).await.is_err());
    assert!(machine.ran().is_empty());
}

#[tokio::test(start_paused = true)]
async fn something_else_at_the_address_of_imds_is_passed_over() {
    let page = HttpAnswer::new(StatusCode::Ok, "<html>router</html>");
    let machine = Machine::new(ScriptedHttp::always(page), &["az"]);
    assert_eq!(text(&*machine.credential(&[]).unwrap()).await, "from az");
}

#[test]
fn a_bad_authority_is_named() {
    let machine = Machine::new(ScriptedHttp::default(), &[]);
    for bad in [
        "http://login.example",
        "https://",
        "ftp://x",
        "https://user:canary@login.example",
    ] {
        let error = machine.credential(&[("AZURE_AUTHORITY_HOST", bad)]).unwrap_err();
        assert!(
            error.to_string().contains("`AZURE_AUTHORITY_HOST` is not usable"),
            "{error}"
        );
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    machine
        .credential(&[("AZURE_AUTHORITY_HOST", "login.example")])
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_the_callers_own_goes_by_the_same_rules() {
    let http = ScriptedHttp::new([HttpAnswer::new(StatusCode::BadRequest, "{}"), token("t")]);
    let managed = ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
        environment: environment(&[]),
        client_options: http.client_options(),
        ..Default::default()
    }));
    let options = ClientSecretCredentialOptions {
        client_options: http.client_options(),
    };
    let secret = ClientSecretCredential::new("t", "c", "s".into(), Some(options));
    let chain = ChainedTokenCredential::new(vec![managed.unwrap(), secret.unwrap()]);
    assert_eq!(text(&*chain).await, "t");
    assert!(
        format!("{chain:?}").contains("winner: Some(\"ClientSecretCredential\")"),
        "{chain:?}"
    );

    let error = ask(&*ChainedTokenCredential::new(vec![])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "ChainedTokenCredential is not available: ChainedTokenCredential found no token"
    );
}
