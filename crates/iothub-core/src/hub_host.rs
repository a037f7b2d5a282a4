use std::{fmt, net::Ipv4Addr, str::FromStr};

use azure_core::{Error, Result, error::ErrorKind, http::Url};

/// Where a hub listens: a host name such as `my-hub.azure-devices.net`.
///
/// HTTPS and AMQP over WebSocket go to port 443, AMQP over TLS to port 5671. Other ports are for a local emulator:
/// `localhost:8443` moves HTTPS and WebSocket, [`with_amqps_port`](Self::with_amqps_port) moves AMQP.
///
/// # Examples
///
/// ```
/// use iothub_core::HubHost;
///
/// let hub: HubHost = "my-hub.azure-devices.net".parse()?;
/// assert_eq!(hub.name(), "my-hub.azure-devices.net");
/// assert_eq!((hub.https_port(), hub.amqps_port()), (443, 5671));
///
/// let local: HubHost = "localhost:8443".parse()?;
/// assert_eq!(local.with_amqps_port(8671).to_string(), "localhost:8443");
///
/// assert!("https://my-hub.azure-devices.net".parse::<HubHost>().is_err());
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HubHost {
    endpoint: Url,
    amqps_port: u16,
}

impl HubHost {
    /// The same hub with AMQP over TLS on another port than 5671.
    #[must_use]
    pub fn with_amqps_port(mut self, port: u16) -> Self {
        self.amqps_port = port;
        self
    }

    /// The host name without a port, in lower case: what tokens are signed for and certificates are checked against.
    pub fn name(&self) -> &str {
        self.endpoint.host_str().unwrap_or_default()
    }

    /// The base of every HTTPS request, `https://{host}/`.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The port of HTTPS and of AMQP over WebSocket, 443 unless the text named another.
    pub fn https_port(&self) -> u16 {
        self.endpoint.port().unwrap_or(443)
    }

    /// The port of AMQP over TLS, 5671 unless set.
    pub fn amqps_port(&self) -> u16 {
        self.amqps_port
    }
}

impl FromStr for HubHost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |why: &str| {
            let shown: String = text.chars().take(160).collect();
            Error::with_message_fn(ErrorKind::DataConversion, || {
                format!("{shown:?} is not the host of a hub: {why}, as in my-hub.azure-devices.net")
            })
        };
        let (name, port) = match text.split_once(':') {
            Some((_, port)) if port.starts_with("//") => return Err(refused("a name without a scheme or path")),
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        };
        if name.parse::<Ipv4Addr>().is_err() && !is_dns_name(name) {
            return Err(refused("labels of letters, digits and hyphens, joined by dots"));
        }
        let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && matches!(port.parse::<u16>(), Ok(1..));
        if !port.is_none_or(is_port) {
            return Err(refused("after the colon stands a port from 1 to 65535"));
        }
        let endpoint = Url::parse(&format!("https://{text}/")).map_err(|error| refused(&error.to_string()))?;
        Ok(Self {
            endpoint,
            amqps_port: AMQPS_PORT,
        })
    }
}

impl fmt::Display for HubHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.endpoint.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for HubHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubHost({self})")
    }
}

/// RFC 1123, and the underscore that Microsoft's own clients let through.
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

const AMQPS_PORT: u16 = 5671;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_hub_is_a_name_and_perhaps_a_port() {
        for (text, name, port) in [
            ("My-Hub.azure-devices.net", "my-hub.azure-devices.net", 443),
            ("localhost:8443", "localhost", 8443),
            ("127.0.0.1:8443", "127.0.0.1", 8443),
            ("hub.azure-devices.net:443", "hub.azure-devices.net", 443),
        ] {
            let host: HubHost = text.parse().unwrap();
            assert_eq!((host.name(), host.https_port()), (name, port));
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_would_have_been_right() {
        for bad in [
            "",
            " ",
            "https://hub.azure-devices.net",
            "hub/path",
            "hub..net",
            "-hub.net",
            "hub.net:0",
            "hub.net:65536",
            "hub.net:+1",
            "hub.net:",
            "user@hub.net",
            "hub.net?x=1",
            "hub.net#x",
            "hüb.net",
            "[::1]",
            &"a".repeat(64),
        ] {
            let error = bad.parse::<HubHost>().unwrap_err().to_string();
            assert!(error.contains("is not the host of a hub"), "{bad}: {error}");
        }
    }
}
