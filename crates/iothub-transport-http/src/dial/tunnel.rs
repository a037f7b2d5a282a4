use std::io;

use azure_core::{Error, Result, error::ErrorKind};
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Asks a proxy for a tunnel to `authority` (`host:port`), RFC 9110 section 9.3.6. Afterwards `stream` is a connection
/// to that host.
pub(super) async fn connect<S>(stream: &mut S, proxy: &str, authority: &str, auth: Option<&HeaderValue>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broke = |error: io::Error| {
        let message = format!("the proxy {proxy} closed the connection to {authority}: {error}");
        Error::with_error(ErrorKind::Connection, error, message)
    };
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(auth) = auth {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(auth.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await.map_err(broke)?;

    let refused = |kind, why: &str| {
        Err(Error::with_message(
            kind,
            format!("the proxy {proxy} gives no tunnel to {authority}: {why}"),
        ))
    };
    match status(&read_head(stream).await.map_err(broke)?) {
        Some(200..=299) => Ok(()),
        Some(407) => refused(
            ErrorKind::Other,
            "it asks for other credentials (407), put them in its url as user:password@",
        ),
        // It may be the proxy that cannot reach the host just now.
        Some(code @ 500..=599) => refused(ErrorKind::Connection, &format!("it answers {code}")),
        Some(code) => refused(ErrorKind::Other, &format!("it answers {code}")),
        None => refused(ErrorKind::Other, "its answer is not HTTP"),
    }
}

/// Reads up to the empty line, byte by byte at the end: what follows it belongs to the tunnel.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its answer is longer than 8 KiB",
            ));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(line.get(2..5)?).ok()?.parse().ok()
}

const MAX_HEAD_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// What was asked, the outcome, and what is left in the stream for TLS.
    async fn ask(answer: &'static [u8]) -> (String, Result<()>, Vec<u8>) {
        let (mut client, mut proxy) = tokio::io::duplex(64 * 1024);
        proxy.write_all(answer).await.unwrap();
        let auth = HeaderValue::from_static("Basic dTpw");
        let outcome = async {
            let outcome = connect(&mut client, "proxy:3128", "hub.example:443", Some(&auth)).await;
            let mut asked = Vec::new();
            proxy.shutdown().await.unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            drop(client);
            proxy.read_to_end(&mut asked).await.unwrap();
            (String::from_utf8(asked).unwrap(), outcome, rest)
        };
        outcome.await
    }

    #[tokio::test]
    async fn a_tunnel_begins_right_after_the_answer() {
        let (asked, outcome, rest) = ask(b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\nHELLO").await;
        outcome.unwrap();
        assert_eq!(rest, b"HELLO");
        assert_eq!(
            asked,
            "CONNECT hub.example:443 HTTP/1.1\r\nHost: hub.example:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn a_refusal_says_what_the_proxy_said() {
        for (answer, kind, part) in [
            (
                &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
                ErrorKind::Other,
                "credentials (407)",
            ),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n", ErrorKind::Other, "403"),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", ErrorKind::Connection, "502"),
            (b"SSH-2.0-OpenSSH\r\n\r\n", ErrorKind::Other, "not HTTP"),
            (b"HTTP/1.1 2\r\n\r\n", ErrorKind::Other, "not HTTP"),
        ] {
            let error = ask(answer).await.1.unwrap_err();
            assert_eq!(*error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error}");
            assert!(!error.to_string().contains("dTpw"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_given_up() {
        let answer: &'static [u8] = Box::leak(vec![b'x'; 9000].into_boxed_slice());
        let error = ask(answer).await.1.unwrap_err();
        assert!(error.to_string().contains("longer than 8 KiB"), "{error}");
    }
}
