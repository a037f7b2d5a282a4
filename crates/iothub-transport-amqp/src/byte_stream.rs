use std::fmt::Debug;

use tokio::io::{AsyncRead, AsyncWrite};

/// Whatever carries bytes: a socket, TLS over it, TLS over a tunnel over TLS, a WebSocket.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> ByteStream for S {}
