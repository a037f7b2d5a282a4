use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration as StdDuration,
};

use azure_core::{
    Error, Result,
    credentials::Secret,
    error::ErrorKind,
    time::{Duration, OffsetDateTime},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use iothub_core::{
    HubHost,
    amqp::{CbsToken, CbsTokenKind},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use zeroize::Zeroizing;

use crate::{
    clock::Clock, credential_error::CredentialError, jitter::random_fraction,
    shared_access_signature::SharedAccessSignature,
};

/// A key of one of the hub's shared access policies, which signs short-lived tokens.
///
/// The key itself never goes over the wire. A token is signed for the hub's bare host name, lives an hour unless
/// [`with_lifetime`](Self::with_lifetime) says otherwise, and gives way to a new one when 80 % of its life is over
/// (± 5 %, so that many backends that started together do not renew together). Clones share the tokens.
///
/// If the hub's answer shows that this computer's clock is wrong by a minute to a day, the difference is kept and later
/// tokens are signed with the hub's time; a larger one is [`CredentialError::ClockSkew`] as soon as it matters.
///
/// # Examples
///
/// ```
/// use azure_core::time::OffsetDateTime;
/// use iothub_auth::SharedAccessKey;
///
/// let key = SharedAccessKey::new("service", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=")?;
/// let token = key.sign("hub.example", OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap());
/// assert!(token.secret().secret().starts_with("SharedAccessSignature sr=hub.example&sig=49XQjKlj"));
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SharedAccessKey {
    policy: Option<Arc<str>>,
    key: Arc<Zeroizing<Vec<u8>>>,
    lifetime: Duration,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How far the hub's clock is ahead of ours, once an answer has shown it.
    offset: Duration,
    /// By host: in practice one.
    tokens: HashMap<String, Signed>,
}

struct Signed {
    token: CbsToken,
    renew_on: OffsetDateTime,
}

impl SharedAccessKey {
    /// A policy of the hub, such as `service` or `iothubowner`, and its primary or secondary key in base64.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DataConversion`](azure_core::error::ErrorKind::DataConversion) if the key is not base64 or the
    /// policy's name has other letters than `A-Z a-z 0-9 - _ @ .`. The message never has the key in it.
    pub fn new(policy: &str, key: &str) -> Result<Self> {
        if policy.is_empty()
            || !policy
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_@.".contains(&b))
        {
            // A key pasted in the place of the name has `=`, `+` or `/` in it and would be printed here.
            return Err(refused(
                "the name of a shared access policy is one or more of A-Z a-z 0-9 - _ @ .",
            ));
        }
        Ok(Self {
            policy: Some(policy.into()),
            ..Self::without_policy(key)?
        })
    }

    /// A key that belongs to no policy of the hub, which is the key of a device or module. It signs for
    /// `{host}/devices/{device}`; a hub refuses its tokens for anything else.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DataConversion`](azure_core::error::ErrorKind::DataConversion) if the key is not base64.
    pub fn without_policy(key: &str) -> Result<Self> {
        let key = BASE64
            .decode(key)
            .ok()
            .filter(|bytes| !bytes.is_empty())
            .ok_or_else(|| refused("a shared access key is base64 with its padding, as the hub shows it"))?;
        Ok(Self {
            policy: None,
            key: Arc::new(Zeroizing::new(key)),
            lifetime: DEFAULT_LIFETIME,
            clock: Clock::default(),
            state: Arc::default(),
        })
    }

    /// The same key with tokens that live shorter or longer than an hour.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Setting`] below one minute or above 365 days.
    pub fn with_lifetime(mut self, lifetime: StdDuration) -> Result<Self> {
        self.lifetime = Duration::try_from(lifetime)
            .ok()
            .filter(|lifetime| (MIN_LIFETIME..=MAX_LIFETIME).contains(lifetime))
            .ok_or_else(|| {
                CredentialError::setting(
                    "lifetime",
                    format!("{lifetime:?} is not between one minute and 365 days"),
                )
            })?;
        self.state = Arc::default();
        Ok(self)
    }

    #[cfg(test)]
    pub(crate) fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Signs a token for `resource`, which is `{host}`, `{host}/devices/{device}` or
    /// `{host}/devices/{device}/modules/{module}`, not yet percent-encoded.
    pub fn sign(&self, resource: &str, expires_on: OffsetDateTime) -> SharedAccessSignature {
        let text = self.sign_text(resource, expires_on.unix_timestamp());
        SharedAccessSignature::signed(text, expires_on)
    }

    /// The name of the policy, unless the key is a device's.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// A token for the hub: the last one until it has to be renewed.
    pub(crate) fn token(&self, host: &HubHost) -> CbsToken {
        let now = self.clock.now();
        let mut state = self.state();
        let kept = state.tokens.get(host.name()).filter(|signed| now < signed.renew_on);
        if let Some(signed) = kept {
            return signed.token.clone();
        }
        let by_our_clock = now + self.lifetime;
        let by_the_hubs = by_our_clock + state.offset;
        let token = CbsToken {
            kind: CbsTokenKind::Sas,
            secret: Secret::new(self.sign_text(host.name(), by_the_hubs.unix_timestamp())),
            expires_on: by_our_clock,
        };
        let renew_on = now + self.lifetime * (0.75 + 0.1 * random_fraction());
        let signed = Signed {
            token: token.clone(),
            renew_on,
        };
        state.tokens.insert(host.name().to_owned(), signed);
        token
    }

    /// The hub answered 401 to `token`: the next one is new, unless another caller renewed it already.
    pub(crate) fn refused(&self, host: &HubHost, token: &CbsToken) {
        let mut state = self.state();
        let is_current = |signed: &Signed| signed.token.secret == token.secret;
        if state.tokens.get(host.name()).is_some_and(is_current) {
            state.tokens.remove(host.name());
        }
    }

    /// Compares our clock with the `Date` of an answer 401.
    ///
    /// The hub's wording for an expired token is not documented, so the clocks alone decide: to sign with the hub's time
    /// is right whatever the reason of the 401.
    ///
    /// # Errors
    ///
    /// [`CredentialError::ClockSkew`] if the difference is too large to be believed and `token` has expired by it.
    pub(crate) fn compare_clocks(&self, token: &CbsToken, hubs_time: OffsetDateTime) -> Result<()> {
        let mut state = self.state();
        let ahead = hubs_time - self.clock.now();
        if ahead.abs() > MAX_SKEW {
            if hubs_time >= token.expires_on + state.offset {
                return Err(CredentialError::ClockSkew { behind: ahead }.into());
            }
            return Ok(());
        }
        let offset = if ahead.abs() < MIN_SKEW { Duration::ZERO } else { ahead };
        if (offset - state.offset).abs() < MIN_SKEW {
            return Ok(());
        }
        tracing::warn!(
            seconds = offset.whole_seconds(),
            "this computer's clock differs from the hub's; tokens are signed with the hub's time"
        );
        state.offset = offset;
        state.tokens.clear();
        Ok(())
    }

    fn sign_text(&self, resource: &str, expires: i64) -> String {
        let resource = utf8_percent_encode(resource, &NOT_UNRESERVED);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let signature = BASE64.encode(hmac::sign(&key, format!("{resource}\n{expires}").as_bytes()));
        let signature = utf8_percent_encode(&signature, &NOT_UNRESERVED);
        let token = format!("SharedAccessSignature sr={resource}&sig={signature}&se={expires}");
        match &self.policy {
            Some(policy) => format!("{token}&skn={}", utf8_percent_encode(policy, &NOT_UNRESERVED)),
            None => token,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAccessKey")
            .field("policy", &self.policy)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

fn refused(why: &'static str) -> Error {
    Error::with_message(ErrorKind::DataConversion, why)
}

/// All that RFC 3986 does not call unreserved. Decoders that take `+` for a space and those that don't agree on it.
const NOT_UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const DEFAULT_LIFETIME: Duration = Duration::minutes(60);
const MIN_LIFETIME: Duration = Duration::minutes(1);
const MAX_LIFETIME: Duration = Duration::days(365);
const MIN_SKEW: Duration = Duration::seconds(60);
const MAX_SKEW: Duration = Duration::hours(24);

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        resource: String,
        key: String,
        expires: i64,
        policy: Option<String>,
        token: String,
    }

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    #[test]
    fn a_key_signs_as_python_and_node_do() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../testdata/sas.json")).unwrap();
        for case in cases {
            let key = match &case.policy {
                Some(policy) => SharedAccessKey::new(policy, &case.key),
                None => SharedAccessKey::without_policy(&case.key),
            };
            let token = key.unwrap().sign(&case.resource, at(case.expires));
            assert_eq!(token.secret().secret(), case.token);
            assert_eq!(token.expires_on(), at(case.expires));
        }
    }

    #[test]
    fn a_malformed_key_or_policy_is_refused_without_being_shown() {
        let key = "bm90LWEtcmVhbC1rZXk=";
        for (policy, key, expected) in [
            ("", key, "policy"),
            ("a b", key, "policy"),
            ("service;", key, "policy"),
            ("bm90LWEtcmVhbC1rZXk=", "service", "policy"),
            ("service", "", "base64"),
            ("service", "canary-not-base64", "base64"),
            ("service", "bm90LWEtcmVhbC1rZXk", "base64"),
        ] {
            let error = SharedAccessKey::new(policy, key).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(expected), "{text}");
            assert!(key.is_empty() || !text.contains(key), "{text}");
            assert!(policy.len() < 10 || !text.contains(policy), "{text}");
        }
    }

    struct Time(Arc<Mutex<OffsetDateTime>>);

    impl Time {
        fn new() -> (Self, Clock) {
            let now = Arc::new(Mutex::new(at(1_700_000_000)));
            let shown = now.clone();
            (Self(now), Clock::showing(move || *shown.lock().unwrap()))
        }

        fn pass(&self, time: Duration) {
            *self.0.lock().unwrap() += time;
        }
    }

    fn key(lifetime: u64) -> (SharedAccessKey, Time) {
        let (time, clock) = Time::new();
        let key = SharedAccessKey::new("service", "AAECAwQFBgcICQoLDA0ODw==").unwrap();
        let key = key
            .with_lifetime(StdDuration::from_secs(lifetime))
            .unwrap()
            .with_clock(clock);
        (key, time)
    }

    fn hub() -> HubHost {
        "Hub.azure-devices.net:8443".parse().unwrap()
    }

    fn se(token: &CbsToken) -> i64 {
        let se = token.secret.secret().split("&se=").nth(1).unwrap();
        se.split('&').next().unwrap().parse().unwrap()
    }

    #[test]
    fn the_audience_is_the_bare_host_in_lower_case() {
        let (key, _) = key(3600);
        let token = key.token(&hub());
        assert!(
            token
                .secret
                .secret()
                .starts_with("SharedAccessSignature sr=hub.azure-devices.net&sig=")
        );
        assert_eq!(se(&token), 1_700_003_600);
        assert_eq!(token.expires_on, at(1_700_003_600));
    }

    #[test]
    fn a_token_is_kept_for_75_to_85_percent_of_its_life() {
        for lifetime in [60, 120, 3600] {
            for _ in 0..20 {
                let (key, time) = key(lifetime);
                let first = key.token(&hub());
                time.pass(Duration::seconds(1) * 0.74 * lifetime as f64);
                assert_eq!(key.clone().token(&hub()).secret, first.secret);
                time.pass(Duration::seconds(1) * 0.12 * lifetime as f64);
                assert_ne!(key.token(&hub()).secret, first.secret);
            }
        }
    }

    #[test]
    fn lifetimes_below_a_minute_are_refused() {
        let key = SharedAccessKey::new("service", "AAECAwQFBgcICQoLDA0ODw==").unwrap();
        for lifetime in [0, 59, 366 * 24 * 3600, u64::MAX] {
            let error = key.clone().with_lifetime(StdDuration::from_secs(lifetime)).unwrap_err();
            assert!(
                matches!(CredentialError::of(&error), Some(CredentialError::Setting { .. })),
                "{error}"
            );
        }
    }

    #[test]
    fn only_the_current_token_is_dropped() {
        let (key, time) = key(3600);
        let first = key.token(&hub());
        time.pass(Duration::seconds(1));
        key.refused(&hub(), &first);
        let second = key.token(&hub());
        assert_ne!(second.secret, first.secret);
        time.pass(Duration::seconds(1));
        key.refused(&hub(), &first);
        assert_eq!(key.token(&hub()).secret, second.secret);
    }

    #[test]
    fn a_clock_that_is_off_is_made_good_and_a_repaired_one_forgotten() {
        for (ahead, offset) in [(-30, 0), (59, 0), (-600, -600), (600, 600), (86_000, 86_000)] {
            let (key, time) = key(3600);
            let token = key.token(&hub());
            let now = *time.0.lock().unwrap();
            key.compare_clocks(&token, now + Duration::seconds(ahead)).unwrap();
            let token = key.token(&hub());
            assert_eq!(se(&token), 1_700_003_600 + offset, "{ahead}");
            assert_eq!(token.expires_on, at(1_700_003_600), "by our own clock");

            key.compare_clocks(&token, now).unwrap();
            assert_eq!(se(&key.token(&hub())), 1_700_003_600);
        }
    }

    #[test]
    fn a_clock_a_day_behind_is_an_error_and_one_a_day_ahead_does_no_harm() {
        let (key, time) = key(3600);
        let token = key.token(&hub());
        let now = *time.0.lock().unwrap();
        let error = key.compare_clocks(&token, now + Duration::hours(25)).unwrap_err();
        assert_eq!(
            CredentialError::of(&error),
            Some(&CredentialError::ClockSkew {
                behind: Duration::hours(25)
            })
        );
        key.compare_clocks(&token, now - Duration::hours(25)).unwrap();
        assert_eq!(se(&key.token(&hub())), 1_700_003_600);
    }
}
