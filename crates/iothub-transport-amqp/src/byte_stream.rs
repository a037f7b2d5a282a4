use std::fmt::Debug;

use tokio::io::{AsyncRead, AsyncWrite};

/// Whatever carries bytes: TLS, or a WebSocket over it.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> ByteStream for S {}
