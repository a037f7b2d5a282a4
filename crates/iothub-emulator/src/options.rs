use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use azure_core::error::ErrorKind;
use iothub_core::{Error, HubHost, Result};
use serde::Deserialize;

use crate::{EntraOptions, FileUploadOptions, HubOptions};

/// Options for [`Emulator::start`](crate::Emulator::start).
///
/// # Examples
///
/// ```
/// use iothub_emulator::EmulatorOptions;
///
/// let options = EmulatorOptions {
///     host: "my-hub.localhost".into(),
///     ..Default::default()
/// };
/// assert_eq!(options.https_port, 0);
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmulatorOptions {
    /// The name that the hub goes by: in certificates, connection strings and signatures. Without it, `localhost`.
    ///
    /// Clients have to resolve it to where the emulator listens. Some of Microsoft's want a dot in it.
    pub host: String,
    /// The address to listen on. Without it, `127.0.0.1`.
    pub bind: IpAddr,
    /// Allows `bind` to be an address that other machines reach.
    ///
    /// An emulator is no fortress: leave this off unless the network around it may do anything to it.
    pub allow_remote: bool,
    /// The port of HTTPS and of WebSockets; 0, the default, takes a free one. Most of Microsoft's clients know 443 only.
    pub https_port: u16,
    /// The port of AMQP over TLS; 0, the default, takes a free one. Most of Microsoft's clients know 5671 only.
    pub amqps_port: u16,
    /// The port of MQTT over TLS; 0, the default, takes a free one. Most of Microsoft's clients know 8883 only.
    pub mqtts_port: u16,
    /// Certificates, in PEM, of the authorities whose certificates devices may have. Without one, only devices with
    /// thumbprints can come with a certificate.
    ///
    /// A device that the registry has as `certificateAuthority` shows a chain to one of them; the common name in its own
    /// certificate is its id, or `device/module`.
    pub device_authorities: Vec<String>,
    /// The port of the [management API](crate#management), on loopback whatever `bind` says; 0 takes a free one. Without
    /// it, there is none.
    pub management_port: Option<u16>,
    /// What the hub is like.
    pub hub: HubOptions,
    /// The tenant and its token endpoint.
    pub entra: EntraOptions,
    /// Where devices upload their files to. Without it, into the emulator's own storage account.
    pub file_uploads: Option<FileUploadOptions>,
    /// Where the hub lives on for the next start: its state, root certificate and keys. Without it, all is new each time.
    ///
    /// A call or message is answered when what it did is on the disk, so that nothing is lost that a client was told of,
    /// whenever the process ends.
    pub data_dir: Option<PathBuf>,
    /// Keeps the state of the hub in memory even if there is a `data_dir`, where only certificate and keys live then.
    pub ephemeral: bool,
    /// An export that a new hub starts from, or a file that somebody wrote in its form. A `data_dir` with a hub in it keeps
    /// that hub.
    pub seed: Option<PathBuf>,
}

impl Default for EmulatorOptions {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            allow_remote: false,
            https_port: 0,
            amqps_port: 0,
            mqtts_port: 0,
            device_authorities: Vec::new(),
            management_port: None,
            hub: HubOptions::default(),
            entra: EntraOptions::default(),
            file_uploads: None,
            data_dir: None,
            ephemeral: false,
            seed: None,
        }
    }
}

impl EmulatorOptions {
    /// Reads options from a text in TOML: a key for each field that is not to have its default, a table for each struct.
    ///
    /// # Errors
    ///
    /// The text is not TOML, a key is unknown, or a value has the wrong type. The error names key and line.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use iothub_emulator::EmulatorOptions;
    ///
    /// let options = EmulatorOptions::from_toml(
    ///     r#"
    ///     host = "my-hub.localhost"
    ///
    ///     [hub.cloud_to_device]
    ///     default_ttl = "90s"
    ///
    ///     [[hub.devices]]
    ///     id = "lamp"
    ///     "#,
    /// )?;
    /// assert_eq!(options.hub.cloud_to_device.default_ttl, Duration::from_secs(90));
    ///
    /// let mistake = EmulatorOptions::from_toml("host = \"hub\"\nhttp_port = 1").unwrap_err().to_string();
    /// assert!(mistake.contains("line 2") && mistake.contains("http_port"), "{mistake}");
    /// # Ok::<(), iothub_core::Error>(())
    /// ```
    pub fn from_toml(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| argument(mistake(text, &error)))
    }

    /// Refuses what could not work, before anything is opened.
    pub(crate) fn check(&self) -> Result<()> {
        let host: HubHost = self.host.parse()?;
        if self.host.contains(':') {
            return Err(argument(format!(
                "the host {:?} has a port in it: the name alone belongs here, ports have options of their own",
                self.host
            )));
        }
        self.entra.check()?;
        self.hub.check()?;
        if let Some(files) = &self.file_uploads {
            files.check()?;
        }
        if !self.bind.is_loopback() && !self.allow_remote {
            return Err(argument(format!(
                "{} would let other machines reach {host}: listen on 127.0.0.1, or allow it with allow_remote",
                self.bind
            )));
        }
        Ok(())
    }
}

/// What is wrong where. The display of the error would show the whole line, and with it perhaps a key.
fn mistake(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = before.matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim();
    format!("line {}, {key}: {}", number + 1, error.message().trim_end())
}

fn argument(message: String) -> Error {
    Error::with_message(ErrorKind::Other, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &EmulatorOptions) -> String {
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn other_machines_get_in_only_when_asked() {
        let options = EmulatorOptions {
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ..Default::default()
        };
        assert!(refused(&options).contains("allow_remote"));
        let asked = EmulatorOptions {
            allow_remote: true,
            ..options
        };
        assert!(asked.check().is_ok());
    }

    #[test]
    fn the_host_is_a_name_and_nothing_else() {
        for host in ["", "a b", "https://hub.example", "hub.example:443"] {
            let options = EmulatorOptions {
                host: host.into(),
                ..Default::default()
            };
            assert!(refused(&options).contains("host"), "{host}");
        }
    }
}
