use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::{Error, Result};
use tokio::net::TcpListener;

/// Listens at a port that `option` names; 0 is any free one.
pub(crate) async fn listen(bind: IpAddr, port: u16, option: &str) -> Result<TcpListener> {
    let address = SocketAddr::new(bind, port);
    TcpListener::bind(address)
        .await
        .map_err(|error| refused(address, option, error))
}

/// The port that a listener has got.
pub(crate) fn port(listener: &TcpListener) -> Result<u16> {
    let address = listener
        .local_addr()
        .with_context(ErrorKind::Io, "asking for the address of a listener")?;
    Ok(address.port())
}

fn refused(address: SocketAddr, option: &str, error: io::Error) -> Error {
    let flag = option.replace(['_', '.'], "-");
    let mut help = format!("{option} (--{flag}) names another port, 0 any free one");
    if error.kind() == io::ErrorKind::PermissionDenied {
        let program = std::env::current_exe().unwrap_or_else(|_| "iothub-emulator".into());
        help = format!(
            "{help}; to be allowed this one: run `sudo setcap cap_net_bind_service=+ep {}`, or `sudo sysctl \
             net.ipv4.ip_unprivileged_port_start=443`, or run as root",
            program.display()
        );
    }
    Error::with_error(ErrorKind::Io, error, format!("listening on {address}: {help}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_not_listen_is_told_what_would_allow_it() {
        let address = SocketAddr::from(([127, 0, 0, 1], 443));
        let text = refused(address, "https_port", io::ErrorKind::PermissionDenied.into()).to_string();
        for part in [
            "127.0.0.1:443",
            "--https-port",
            "cap_net_bind_service",
            "ip_unprivileged_port_start",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let text = refused(address, "entra.port", io::ErrorKind::AddrInUse.into()).to_string();
        assert!(text.contains("--entra-port") && !text.contains("setcap"), "{text}");
    }
}
