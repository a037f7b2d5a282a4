use std::sync::Arc;

use async_trait::async_trait;
use azure_core::{
    Error, Result,
    error::ErrorKind,
    http::{
        Context, Request, StatusCode,
        headers::{AUTHORIZATION, HeaderName, Headers},
        policies::{Policy, PolicyResult},
    },
    time::{OffsetDateTime, parse_rfc7231},
};
use iothub_core::{
    HubHost,
    amqp::{CbsToken, CbsTokenKind},
};

use crate::credential::Credential;

/// A credential as HTTP requests to one hub see it.
#[derive(Debug)]
pub(crate) struct AuthorizationPolicy {
    credential: Credential,
    host: HubHost,
}

impl AuthorizationPolicy {
    pub(crate) fn new(credential: Credential, host: HubHost) -> Self {
        Self { credential, host }
    }

    fn check_target(&self, request: &Request) -> Result<()> {
        let (url, hub) = (request.url(), self.host.endpoint());
        let of_the_hub = url.scheme() == "https"
            && url.host_str() == hub.host_str()
            && url.port_or_known_default() == hub.port_or_known_default();
        if of_the_hub {
            return Ok(());
        }
        Err(Error::with_message_fn(ErrorKind::Credential, || {
            let target = url.origin().ascii_serialization();
            format!("a credential for https://{} is not sent to {target}", self.host)
        }))
    }

    fn refused(&self, token: &CbsToken, headers: &Headers) -> Result<()> {
        self.credential.refused(&self.host, token);
        match (&self.credential, date(headers)) {
            (Credential::SharedAccessKey(key), Some(hubs_time)) => key.compare_clocks(token, hubs_time),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Policy for AuthorizationPolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        self.check_target(request)?;
        let [policy, rest @ ..] = next else {
            return Err(Error::with_message(
                ErrorKind::Other,
                "no policy and no transport stands behind authorization",
            ));
        };
        let token = self.credential.token(&self.host).await?;
        request.insert_header(AUTHORIZATION, header(&token));
        let response = policy.send(ctx, request, rest).await?;
        if response.status() == StatusCode::Unauthorized {
            self.refused(&token, response.headers())?;
        }
        Ok(response)
    }
}

fn header(token: &CbsToken) -> String {
    let secret = token.secret.secret();
    match token.kind {
        CbsTokenKind::Jwt => format!("Bearer {secret}"),
        CbsTokenKind::Sas => secret.to_owned(),
    }
}

fn date(headers: &Headers) -> Option<OffsetDateTime> {
    parse_rfc7231(headers.get_optional_str(&DATE)?).ok()
}

const DATE: HeaderName = HeaderName::from_static("date");

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use azure_core::{
        credentials::{AccessToken, TokenCredential, TokenRequestOptions},
        http::{AsyncRawResponse, Method},
        time::{Duration, to_rfc7231},
    };
    use mockall::{mock, predicate::eq};

    use super::*;
    use crate::{CredentialError, EntraCredential, SharedAccessKey, SharedAccessSignature, clock::Clock};

    /// Stands behind the policy in place of a transport.
    #[derive(Debug, Default)]
    struct Hub {
        answers: Mutex<Vec<(StatusCode, Option<OffsetDateTime>)>>,
        seen: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Policy for Hub {
        async fn send(&self, _: &Context, request: &mut Request, _: &[Arc<dyn Policy>]) -> PolicyResult {
            let authorization = request.headers().get_str(&AUTHORIZATION)?.to_owned();
            self.seen.lock().unwrap().push(authorization);
            let answer = self.answers.lock().unwrap().pop();
            let (status, date) = answer.unwrap_or((StatusCode::Ok, None));
            let mut headers = Headers::new();
            if let Some(date) = date {
                headers.insert(DATE, to_rfc7231(&date));
            }
            Ok(AsyncRawResponse::from_bytes(status, headers, "{}"))
        }
    }

    mock! {
        #[derive(Debug)]
        Entra {
            fn token(&self, scopes: &str) -> Result<AccessToken>;
        }
    }

    #[async_trait]
    impl TokenCredential for MockEntra {
        async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
            self.token(&scopes.join(" "))
        }
    }

    /// Has to be asked so many times for a token for these scopes, and gives `token 1`, `token 2` and so on.
    fn entra(scopes: &'static str, times: usize) -> Arc<MockEntra> {
        let mut entra = MockEntra::new();
        let mut count = 0;
        entra.expect_token().with(eq(scopes)).times(times).returning(move |_| {
            count += 1;
            let expires = OffsetDateTime::now_utc() + Duration::HOUR;
            Ok(AccessToken::new(format!("token {count}"), expires))
        });
        Arc::new(entra)
    }

    const HUBS: &str = "https://iothubs.azure.net/.default";

    fn host() -> HubHost {
        "hub.net:8443".parse().unwrap()
    }

    async fn call(credential: &Credential, hub: &Arc<Hub>) -> Result<StatusCode> {
        call_to("https://hub.net:8443/devices", credential, hub).await
    }

    async fn call_to(url: &str, credential: &Credential, hub: &Arc<Hub>) -> Result<StatusCode> {
        let mut request = Request::new(url.parse().unwrap(), Method::Get);
        let next: [Arc<dyn Policy>; 1] = [hub.clone()];
        let policy = credential.policy(&host());
        Ok(policy.send(&Context::new(), &mut request, &next).await?.status())
    }

    #[tokio::test]
    async fn http_and_cbs_ask_for_the_same_scopes_and_share_one_token() {
        let entra = entra("https://a/.default b", 1);
        let entra = EntraCredential::new(entra).with_scopes(["https://a/.default", "b"]);
        let credential = Credential::from(entra);
        let hub = Arc::new(Hub::default());
        call(&credential, &hub).await.unwrap();
        let cbs = credential.cbs_tokens(&host()).token().await.unwrap();
        assert_eq!(*hub.seen.lock().unwrap(), ["Bearer token 1"]);
        assert_eq!((cbs.kind, cbs.secret.secret()), (CbsTokenKind::Jwt, "token 1"));
    }

    #[tokio::test]
    async fn a_401_costs_the_token_that_was_sent_and_nothing_is_repeated() {
        let credential = Credential::from(entra(HUBS, 2));
        let hub = Arc::new(Hub::default());
        hub.answers.lock().unwrap().push((StatusCode::Unauthorized, None));
        assert_eq!(call(&credential, &hub).await.unwrap(), StatusCode::Unauthorized);
        call(&credential, &hub).await.unwrap();
        call(&credential, &hub).await.unwrap();
        let expected = [1, 2, 2].map(|n| format!("Bearer token {n}"));
        assert_eq!(*hub.seen.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_403_costs_nothing() {
        let credential = Credential::from(entra(HUBS, 1));
        let hub = Arc::new(Hub::default());
        hub.answers.lock().unwrap().push((StatusCode::Forbidden, None));
        call(&credential, &hub).await.unwrap();
        call(&credential, &hub).await.unwrap();
        let seen = hub.seen.lock().unwrap();
        assert_eq!(seen[0], seen[1]);
    }

    #[tokio::test]
    async fn a_token_goes_to_its_hub_over_tls_and_nowhere_else() {
        // It is not even asked for a token.
        let credential = Credential::from(entra(HUBS, 0));
        let hub = Arc::new(Hub::default());
        for url in [
            "http://hub.net:8443/devices",
            "https://hub.net/devices",
            "https://evil.net:8443/devices",
            "https://hub.net.evil.net:8443/",
        ] {
            let error = call_to(url, &credential, &hub).await.unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("a credential for https://hub.net:8443 is not sent to"),
                "{error}"
            );
        }
        assert!(hub.seen.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_expired_signature_is_an_error_before_anything_is_sent() {
        let signature: SharedAccessSignature = "SharedAccessSignature sr=hub.net&sig=c2ln&se=1700000000"
            .parse()
            .unwrap();
        let credential = Credential::from(signature.clone());
        let hub = Arc::new(Hub::default());
        let error = call(&credential, &hub).await.unwrap_err();
        assert!(matches!(
            CredentialError::of(&error),
            Some(CredentialError::Expired { .. })
        ));
        assert!(matches!(error.kind(), ErrorKind::Credential));
        assert!(credential.cbs_tokens(&host()).token().await.is_err());

        signature.update(
            "SharedAccessSignature sr=hub.net&sig=c2ln&se=4102444800"
                .parse()
                .unwrap(),
        );
        call(&credential, &hub).await.unwrap();
        assert_eq!(
            *hub.seen.lock().unwrap(),
            ["SharedAccessSignature sr=hub.net&sig=c2ln&se=4102444800"]
        );
    }

    #[tokio::test]
    async fn a_401_from_a_hub_with_another_time_makes_the_next_token_good() {
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let key = SharedAccessKey::new("service", "AAECAwQFBgcICQoLDA0ODw==").unwrap();
        let credential = Credential::from(key.with_clock(Clock::showing(move || now)));
        let hub = Arc::new(Hub::default());
        let hubs_time = now + Duration::hours(2);
        hub.answers
            .lock()
            .unwrap()
            .push((StatusCode::Unauthorized, Some(hubs_time)));

        call(&credential, &hub).await.unwrap();
        call(&credential, &hub).await.unwrap();

        let seen = hub.seen.lock().unwrap();
        assert!(seen[0].contains("&se=1700003600&"), "{}", seen[0]);
        assert!(seen[1].contains("&se=1700010800&"), "{}", seen[1]);
    }

    #[tokio::test]
    async fn a_clock_a_day_behind_is_said_so() {
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let key = SharedAccessKey::new("service", "AAECAwQFBgcICQoLDA0ODw==").unwrap();
        let credential = Credential::from(key.with_clock(Clock::showing(move || now)));
        let hub = Arc::new(Hub::default());
        let hubs_time = now + Duration::hours(25);
        hub.answers
            .lock()
            .unwrap()
            .push((StatusCode::Unauthorized, Some(hubs_time)));

        let error = call(&credential, &hub).await.unwrap_err();

        let behind = Duration::hours(25);
        assert_eq!(
            CredentialError::of(&error),
            Some(&CredentialError::ClockSkew { behind })
        );
    }
}
