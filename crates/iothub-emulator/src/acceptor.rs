//! Takes connections at a door, with what shall go wrong with them.

use std::{future::Future, io, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{Accept, server::TlsStream};
use tracing::{Instrument, debug, info_span, warn};

use crate::{
    hub::{CertificateChain, Fault, Faults, Hub, Victim},
    socket::{Socket, reset},
    stop::Stop,
    tls::{Encryption, TlsFlaw},
};

/// Takes connections until the emulator stops, then waits for those it has.
///
/// Dropping this future drops the connections with it. `hub` says what shall go wrong; at a door without, nothing does.
pub(crate) async fn accept<H, HF, T, S, F>(listener: TcpListener, handshake: H, hub: Option<Hub>, stop: Stop, serve: S)
where
    H: Fn(Socket, Option<TlsFlaw>) -> HF,
    HF: Future<Output = io::Result<T>> + Send + 'static,
    T: Send + 'static,
    S: Fn(T, Stop) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut drops = hub
        .as_ref()
        .map_or_else(|| Faults::default().drops(), |hub| hub.faults().drops());
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    // Out of file descriptors, mostly: taking a breath is all that helps.
                    warn!(%error, "accepting a connection");
                    sleep(BREATH).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            Ok(()) = drops.changed() => {
                connections.abort_all();
                continue;
            }
            () = stop.requested() => break,
        };
        let fault = hub.as_ref().and_then(|hub| hub.fault_for(Victim::Connection));
        if fault == Some(Fault::RefuseConnection) {
            reset(stream);
            continue;
        }
        let span = info_span!("connection", %peer);
        let handshake = timeout(HANDSHAKE, shake(stream, fault.as_ref(), &handshake));
        let (serve, stop) = (serve.clone(), stop.clone());
        let connection = async move {
            match handshake.await {
                Ok(Ok(stream)) => serve(stream, stop).await,
                Ok(Err(error)) => debug!(%error, "the TLS handshake failed"),
                Err(_) => debug!("the TLS handshake took too long"),
            }
        };
        connections.spawn(connection.instrument(span));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn shake<H, HF>(stream: TcpStream, fault: Option<&Fault>, handshake: &H) -> HF
where
    H: Fn(Socket, Option<TlsFlaw>) -> HF,
{
    let _ = stream.set_nodelay(true);
    let flaw = match fault {
        Some(Fault::Certificate { flaw }) => Some(TlsFlaw::Certificate(*flaw)),
        Some(Fault::OldTls) => Some(TlsFlaw::Old),
        _ => None,
    };
    handshake(Socket::new(stream, fault), flaw)
}

/// The handshake of a door with TLS.
pub(crate) fn encrypted(tls: &Encryption) -> impl Fn(Socket, Option<TlsFlaw>) -> Accept<Socket> + Send + 'static {
    let tls = tls.clone();
    move |socket, flaw| tls.accept(socket, flaw)
}

/// The handshake of a door without.
pub(crate) fn plain(socket: Socket, _: Option<TlsFlaw>) -> impl Future<Output = io::Result<Socket>> {
    std::future::ready(Ok(socket))
}

/// What a client presented in the handshake.
pub(crate) fn presented(stream: &TlsStream<Socket>) -> CertificateChain {
    let (_, session) = stream.get_ref();
    CertificateChain::new(session.peer_certificates().unwrap_or_default())
}

const HANDSHAKE: Duration = Duration::from_secs(10);
const BREATH: Duration = Duration::from_millis(50);
