use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Writes what the socket takes now; when there is nothing to write, sees it off and returns 0. Cancel safe.
pub(crate) async fn write_some<W: AsyncWrite + Unpin>(writer: &mut W, out: &mut BytesMut) -> io::Result<usize> {
    if out.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    match writer.write_buf(out).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}
