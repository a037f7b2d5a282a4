use std::fmt;

use azure_core::{Error, Result, error::ErrorKind, http::Url};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::plain_http::is_loopback;

/// How connections over TLS get through a proxy. It is asked to `CONNECT`, so it sees the host and nothing else.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Proxy {
    /// The proxy of `HTTPS_PROXY` or `ALL_PROXY`, except for the hosts of `NO_PROXY` and for loopback. Upper case
    /// wins over lower case.
    #[default]
    Environment,
    /// No proxy.
    Direct,
    /// This proxy, loopback included.
    Via {
        /// `http://host:port`, or `https://host:port` to speak TLS with the proxy too. A user name and password in
        /// it are sent as basic authentication.
        url: Url,
        /// Hosts that are reached without it, in the form of `NO_PROXY`: names (with their subdomains), addresses,
        /// networks such as `10.0.0.0/8`, or `*`.
        except: Vec<String>,
    },
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Direct => f.write_str("Direct"),
            Self::Via { url, except } => f
                .debug_struct("Via")
                .field("host", &url.host_str())
                .field("port", &url.port_or_known_default())
                .field("except", except)
                .finish_non_exhaustive(),
        }
    }
}

/// [`Proxy`] with its addresses parsed.
#[derive(Debug)]
pub(super) struct ProxyRules {
    matcher: Option<Matcher>,
    loopback_too: bool,
}

impl ProxyRules {
    pub(super) fn new(proxy: &Proxy) -> Result<Self> {
        match proxy {
            Proxy::Environment => Self::from_environment(|name| std::env::var(name).ok()),
            Proxy::Direct => Ok(Self {
                matcher: None,
                loopback_too: false,
            }),
            Proxy::Via { url, except } => Ok(Self {
                matcher: Some(matcher("the proxy's url", url.as_str(), &except.join(","))?),
                loopback_too: true,
            }),
        }
    }

    fn from_environment(read: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let first = |names: [&'static str; 4]| {
            let set = |name: &'static str| Some((name, read(name).filter(|value| !value.is_empty())?));
            names.into_iter().find_map(set)
        };
        let except = first(["NO_PROXY", "no_proxy", "", ""]).map_or_else(String::new, |(_, value)| value);
        let matcher = first(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
            .map(|(name, value)| matcher(name, &value, &except))
            .transpose()?;
        Ok(Self {
            matcher,
            loopback_too: false,
        })
    }

    /// The proxy through which the `https` address `to` is reached, if there is one.
    pub(super) fn intercept(&self, to: &http::Uri) -> Option<Intercept> {
        let matcher = self.matcher.as_ref()?;
        if !self.loopback_too && is_loopback(to.host()?) {
            return None;
        }
        matcher.intercept(to)
    }
}

fn matcher(name: &str, value: &str, except: &str) -> Result<Matcher> {
    // The builder passes over an address it cannot use, and a request would then go out without the proxy.
    let any = http::Uri::from_static("https://proxied.invalid/");
    let usable = Matcher::builder()
        .https(value)
        .build()
        .intercept(&any)
        .is_some_and(|to| matches!(to.uri().scheme_str(), Some("http" | "https")));
    if !usable {
        return Err(Error::with_message_fn(ErrorKind::Other, || {
            format!(
                "{name} is not the address of a proxy: http://host:port or https://host:port, with user:password@ before the host if it asks for one"
            )
        }));
    }
    Ok(Matcher::builder().https(value).no(except).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_for(to: &str, environment: &[(&str, &str)]) -> Option<String> {
        let read = |name: &str| Some(environment.iter().find(|(n, _)| *n == name)?.1.to_owned());
        let rules = ProxyRules::from_environment(read).unwrap();
        Some(rules.intercept(&to.parse().unwrap())?.uri().to_string())
    }

    #[test]
    fn the_environment_names_a_proxy_and_its_exceptions() {
        let both = [
            ("HTTPS_PROXY", "http://user:p%40ss@proxy:3128"),
            ("NO_PROXY", "hub.example,10.0.0.0/8"),
        ];
        assert_eq!(
            proxy_for("https://other.example/", &both).as_deref(),
            Some("http://proxy:3128/")
        );
        assert_eq!(proxy_for("https://hub.example/", &both), None);
        assert_eq!(proxy_for("https://eu.hub.example/", &both), None);
        assert_eq!(proxy_for("https://10.1.2.3/", &both), None);
        assert_eq!(proxy_for("https://localhost:8443/", &both), None);
        assert_eq!(proxy_for("http://169.254.169.254/", &both), None);
        assert_eq!(proxy_for("https://hub.example/", &[]), None);
        assert_eq!(proxy_for("https://hub.example/", &[("HTTPS_PROXY", "")]), None);
        let all = [("all_proxy", "proxy:8080")];
        assert_eq!(
            proxy_for("https://hub.example/", &all).as_deref(),
            Some("http://proxy:8080/")
        );
    }

    #[test]
    fn an_address_that_is_no_proxy_is_refused_and_not_shown() {
        for bad in [
            "socks5://user:secret@proxy:1080",
            "http://user:secret@",
            "::secret::",
            "ftp://secret",
        ] {
            let error =
                ProxyRules::from_environment(|name| (name == "HTTPS_PROXY").then(|| bad.to_owned())).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("HTTPS_PROXY is not the address of a proxy"),
                "{error}"
            );
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let url = "http://user:secret@proxy:3128".parse().unwrap();
        let proxy = Proxy::Via {
            url,
            except: vec!["hub.example".to_owned()],
        };
        let shown = format!("{proxy:?} {:?}", ProxyRules::new(&proxy).unwrap());
        assert!(shown.contains("proxy") && !shown.contains("secret"), "{shown}");
    }
}
