use std::{fmt, path::Path};

use iothub_emulator::Device;

use super::ready::Ready;

/// What a person wants to know when the hub is ready. It holds keys.
pub(crate) struct Banner<'a> {
    pub(crate) ready: &'a Ready<'a>,
    pub(crate) device: Option<&'a Device>,
    /// Whether the root certificate is the same at the next start.
    pub(crate) root_is_kept: bool,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The hub is ready, and runs until Ctrl-C.\n")?;
        if let Some(text) = &self.ready.connection_string {
            writeln!(f, "  service   {text}")?;
        }
        if let (Some(device), Some(text)) = (self.device, &self.ready.device_connection_string) {
            writeln!(f, "  {:<9} {text}", device.target().to_string())?;
        }
        match &self.ready.ca_file {
            Some(root) => self.trust(f, root),
            None => Ok(()),
        }
    }
}

impl Banner<'_> {
    fn trust(&self, f: &mut fmt::Formatter<'_>, root: &Path) -> fmt::Result {
        let root = root.display();
        writeln!(f, "  root      {root}\n\nFor clients to trust that root certificate:")?;
        for (who, how) in [
            ("Node", format!("NODE_EXTRA_CA_CERTS={root}")),
            ("Python", format!("REQUESTS_CA_BUNDLE={root}")),
            (
                "",
                format!("cat {root} >> \"$(python -m certifi)\"      for azure-iot-hub over AMQP"),
            ),
            (
                "Java",
                format!(
                    "keytool -importcert -cacerts -noprompt -storepass changeit -alias iothub-emulator -file {root}"
                ),
            ),
            (
                ".NET",
                format!("SSL_CERT_FILE={root}      where it uses OpenSSL: Linux"),
            ),
            ("", format!("certutil -user -addstore Root {root}      Windows")),
            ("", format!("security add-trusted-cert {root}      macOS")),
        ] {
            writeln!(f, "  {who:<9} {how}")?;
        }
        if self.root_is_kept {
            return Ok(());
        }
        writeln!(f, "\nEach start makes another one. With --data-dir it stays the same.")
    }
}
