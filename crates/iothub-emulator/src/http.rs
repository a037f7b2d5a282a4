//! The HTTPS door: translates requests for the hub and its answers back. It decides nothing.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{hub::Hub, stop::Stop};

/// Answers what comes over one connection until it ends, or until the emulator stops.
pub(crate) async fn serve<S>(stream: S, hub: Hub, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    drop((stream, hub, stop));
}
