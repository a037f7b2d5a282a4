use std::{collections::HashSet, net::IpAddr};

use azure_core::{Error, Result, error::ErrorKind, http::Url};

/// Who may be spoken to without TLS: this machine, and the addresses at which Azure hands managed identities their
/// tokens. Those are links inside a machine; everything else would show credentials to a network.
#[derive(Debug)]
pub(crate) struct PlainHttp {
    hosts: HashSet<String>,
}

impl PlainHttp {
    pub(crate) fn new(hosts: Option<&[String]>) -> Self {
        let hosts = match hosts {
            Some(hosts) => hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            None => ["IDENTITY_ENDPOINT", "MSI_ENDPOINT"]
                .into_iter()
                .filter_map(|name| std::env::var(name).ok()?.parse::<Url>().ok())
                .filter_map(|url| Some(with_port(url.host_str()?, url.port())))
                .collect(),
        };
        Self { hosts }
    }

    /// Whether a request to `url` may be sent at all.
    pub(crate) fn check(&self, url: &Url) -> Result<()> {
        let host = url.host_str().unwrap_or_default();
        let refused = |why: String| Err(Error::with_message(ErrorKind::Other, why));
        if !url.username().is_empty() || url.password().is_some() {
            return refused(format!(
                "a URL to {host} has a user name or password in it: leave them out"
            ));
        }
        match url.scheme() {
            "https" => Ok(()),
            "http" if is_loopback(host) || host == IMDS => Ok(()),
            "http" if self.hosts.contains(host) || self.hosts.contains(&with_port(host, url.port())) => Ok(()),
            "http" => refused(format!(
                "plain http to {host} is refused: use https; only loopback and managed-identity endpoints may do without"
            )),
            other => refused(format!("{other} to {host} is not a way to send a request: use https")),
        }
    }
}

/// Whether `host` is this machine, whatever a resolver says: the name `localhost` (RFC 6761) or a loopback address.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn with_port(host: &str, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The instance metadata service of Azure's virtual machines, a link-local address that leaves no machine.
const IMDS: &str = "169.254.169.254";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_this_machine_and_to_managed_identity_only() {
        let rules = PlainHttp::new(Some(&["172.16.0.9:8081".to_owned(), "Sidecar".to_owned()]));
        for (url, allowed) in [
            ("http://localhost:8080/x", true),
            ("http://127.0.0.7/", true),
            ("http://[::1]:1/", true),
            ("http://169.254.169.254/metadata/identity/oauth2/token", true),
            ("http://172.16.0.9:8081/msi/token", true),
            ("http://sidecar:1/", true),
            ("https://hub.example/", true),
            ("http://172.16.0.9:8082/msi/token", false),
            ("http://169.254.169.253/", false),
            ("http://localhost.example/", false),
            ("http://hub.example/", false),
            ("ftp://hub.example/", false),
            ("https://user@hub.example/", false),
            ("https://user:secret@hub.example/", false),
        ] {
            let checked = rules.check(&url.parse().unwrap());
            assert_eq!(checked.is_ok(), allowed, "{url}: {checked:?}");
            assert!(!format!("{checked:?}").contains("secret"));
        }
    }
}
