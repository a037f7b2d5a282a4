use std::task::{Context, Poll};

use azure_core::{Error, Result};
use futures::{FutureExt, future::BoxFuture};
use http::{Uri, uri::Scheme};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};

use crate::dial::{DialOptions, Dialer, Stream};

/// Makes connections for the pool.
#[derive(Clone)]
pub(crate) struct Connector {
    dialer: Dialer,
}

impl Connector {
    pub(crate) fn new(options: &DialOptions) -> Result<Self> {
        let dialer = Dialer::offering(options, &[HTTP2, b"http/1.1"])?;
        Ok(Self { dialer })
    }

    async fn connect(self, to: Uri) -> Result<TokioIo<Stream>> {
        let host = to.host().unwrap_or_default();
        let stream = match to.scheme() == Some(&Scheme::HTTPS) {
            true => self.dialer.connect(host, to.port_u16().unwrap_or(443)).await?,
            false => self.dialer.connect_plain(host, to.port_u16().unwrap_or(80)).await?,
        };
        Ok(TokioIo::new(stream))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        self.clone().connect(to).boxed()
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self.protocol() == Some(HTTP2) {
            true => Connected::new().negotiated_h2(),
            false => Connected::new(),
        }
    }
}

const HTTP2: &[u8] = b"h2";
