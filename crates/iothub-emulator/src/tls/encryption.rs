use std::sync::Arc;

use iothub_core::Result;
use tokio_rustls::{Accept, TlsAcceptor};
use tracing::warn;

use super::{CertificateAuthority, TlsFlaw};
use crate::socket::Socket;

/// How a door shows who it is, and hides what is said.
#[derive(Clone)]
pub(crate) struct Encryption(Arc<Inner>);

struct Inner {
    authority: Arc<CertificateAuthority>,
    host: String,
    protocols: &'static [&'static [u8]],
    acceptor: TlsAcceptor,
}

impl Encryption {
    pub(crate) fn new(
        authority: &Arc<CertificateAuthority>,
        host: &str,
        protocols: &'static [&'static [u8]],
    ) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            acceptor: authority.server_config(host, protocols, None)?.into(),
            authority: Arc::clone(authority),
            host: host.to_owned(),
            protocols,
        })))
    }

    /// `flaw` is what shall be wrong with it.
    pub(crate) fn accept(&self, socket: Socket, flaw: Option<TlsFlaw>) -> Accept<Socket> {
        let Inner {
            authority,
            host,
            protocols,
            acceptor,
        } = &*self.0;
        match flaw.map(|flaw| authority.server_config(host, protocols, Some(flaw))) {
            None => acceptor.accept(socket),
            Some(Ok(flawed)) => TlsAcceptor::from(flawed).accept(socket),
            Some(Err(error)) => {
                warn!(%error, "TLS with a flaw cannot be set up");
                acceptor.accept(socket)
            }
        }
    }
}
