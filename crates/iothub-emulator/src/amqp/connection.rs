use std::{
    collections::{HashMap, HashSet},
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use futures::StreamExt;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::{Duration, Instant, sleep_until, timeout},
};
use tracing::debug;

use super::{
    error::{AmqpError, condition},
    frame::{Frame, FrameKind, FrameReader, MAX_FRAME_SIZE, ReadError, write_empty},
    handshake::{self, CHANNEL_MAX, Opened},
    injected,
    link::Link,
    nonsense,
    peer::Peer,
    performative::{Close, End, Performative},
    session::{Session, Violation},
    wire::{Wake, Wire},
};
use crate::{
    hub::{
        AmqpEvent, Break, CertificateChain, Door, Hub, Target,
        injected_faults::{InjectedFault, InjectedKind},
    },
    outgoing::write_some,
    stop::Stop,
};

/// Speaks AMQP with whoever is at the other end of `stream`, until one of both has enough.
///
/// The stream is what comes after TLS: a socket's or a WebSocket's bytes; `certificates` is what the peer presented
/// there. When `stop` is ordered, the connection is closed in order.
pub(crate) async fn serve<S>(stream: S, certificates: CertificateChain, hub: Hub, door: Door, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send,
{
    let (number, breaker, breaks) = hub.faults().amqp().enter();
    let peer = Arc::new(Peer::new(hub, (number, breaker), door, certificates));
    let (read, write) = tokio::io::split(stream);
    let (reader, mut writer) = (FrameReader::new(read), Box::pin(write));
    let mut reader = Box::pin(reader);
    let in_order = match timeout(HANDSHAKE, handshake::open(&mut reader, &mut writer, &peer)).await {
        Ok(Ok(Some(opened))) => {
            peer.record(AmqpEvent::Opened {
                container: opened.container_id.clone(),
            });
            let connection = Connection::new(Arc::clone(&peer), opened);
            connection.run(&mut reader, &mut writer, breaks, stop).await == State::Closed
        }
        Ok(Ok(None)) => true,
        Ok(Err(error)) => {
            debug!(%error, "the connection ended before it was open");
            false
        }
        Err(_) => {
            debug!("opening the connection took too long");
            false
        }
    };
    if in_order {
        // What the peer still sends is read and thrown away, because closing a socket with unread bytes resets it, and
        // the peer might lose our last words.
        let _ = timeout(FAREWELL, async {
            writer.shutdown().await?;
            reader.discard().await
        })
        .await;
    }
    peer.record(AmqpEvent::Gone);
}

struct Connection {
    wire: Wire,
    /// By channel; `None` is a session that we have ended and the peer has not.
    sessions: HashMap<u16, Option<Session>>,
    /// The channels on which the peer has ended its session.
    ended: HashSet<u16>,
    /// How often the peer has to hear from us.
    heartbeat: Option<Duration>,
    /// How long it may be silent.
    patience: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// We have said close, and wait for the peer to say it, for so long.
    Closing(Instant),
    /// Both have, or nothing that the peer says can be understood any more: what is written goes out, and that is all.
    Closed,
    /// Nothing goes out either.
    Broken,
    /// A fault: the connection stays as it is, and nobody is at home.
    Silent,
}

/// When the first of the peer's tokens expires, and what waits for it.
struct Expiry {
    at: Option<OffsetDateTime>,
    wait: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Connection {
    fn new(peer: Arc<Peer>, opened: Opened) -> Self {
        let max_frame_size = usize::try_from(opened.max_frame_size).unwrap_or(usize::MAX);
        let idle = opened.idle_time_out.filter(|idle| *idle > 0);
        Self {
            // Larger frames than those we take ourselves would only delay everything else.
            wire: Wire::new(peer, max_frame_size.min(MAX_FRAME_SIZE as usize)),
            sessions: HashMap::new(),
            ended: HashSet::new(),
            patience: opened.patience,
            heartbeat: idle.map(|idle| Duration::from_millis(idle.into()) / 2),
            state: State::Open,
        }
    }

    /// Speaks until there is nothing more to say, and gives the state in which that was so.
    async fn run<R, W>(
        mut self,
        reader: &mut FrameReader<R>,
        writer: &mut W,
        mut breaks: mpsc::UnboundedReceiver<Break>,
        stop: Stop,
    ) -> State
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut expiry = Expiry::never();
        let (mut heard, mut said) = (Instant::now(), Instant::now());
        let mut unflushed = false;
        loop {
            match self.state {
                State::Open => {}
                State::Closing(until) if until > Instant::now() => {}
                State::Closed => {
                    let farewell = async {
                        writer.write_all(&self.wire.out).await?;
                        writer.flush().await
                    };
                    let _ = timeout(FAREWELL, farewell).await;
                    break;
                }
                State::Silent => {
                    stop.requested().await;
                    break;
                }
                State::Broken | State::Closing(_) => break,
            }
            expiry.follow(&self.wire.peer);
            let is_open = self.state == State::Open;
            let deadline = match self.state {
                State::Closing(until) => until,
                _ => heard + self.patience,
            };
            tokio::select! {
                written = write_some(writer, &mut self.wire.out), if unflushed || !self.wire.out.is_empty() => {
                    match written {
                        Ok(0) => unflushed = false,
                        Ok(_) => {
                            said = Instant::now();
                            unflushed = true;
                            self.go_on();
                        }
                        Err(_) => self.state = State::Broken,
                    }
                }
                frame = reader.next(), if !self.wire.is_full() => {
                    heard = Instant::now();
                    self.read(frame);
                    // What came together is answered together.
                    while self.state == State::Open
                        && !self.wire.is_full()
                        && let Some(frame) = reader.ready()
                    {
                        self.read(frame.map(Some));
                    }
                }
                Some(wake) = self.wire.waiting.next(), if is_open => self.wake(wake),
                Some(what) = breaks.recv() => self.break_down(&what),
                () = &mut expiry.wait, if is_open => self.expire(),
                () = stop.requested(), if is_open => {
                    let text = "the hub is shutting down";
                    self.close(Some(AmqpError::new(condition::CONNECTION_FORCED, text)));
                }
                () = beat(self.heartbeat, said) => {
                    said = Instant::now();
                    write_empty(&mut self.wire.out);
                }
                () = sleep_until(deadline) => if is_open {
                    let text = format!("nothing was heard for {} seconds", self.patience.as_secs_f32());
                    self.close(Some(AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, text)));
                },
            }
        }
        for session in self.sessions.into_values().flatten() {
            session.end(&mut self.wire);
        }
        self.state
    }

    /// Takes what came from the peer, a frame or the end.
    fn read(&mut self, frame: Result<Option<Frame>, ReadError>) {
        match frame {
            Ok(Some(frame)) => {
                if let Err(violation) = self.frame(frame) {
                    self.punish(violation);
                }
            }
            Ok(None) | Err(ReadError::Io(_)) => self.state = State::Broken,
            Err(ReadError::Peer(error)) => {
                self.close(Some(error));
                self.state = State::Closed;
            }
        }
        if self.wire.is_broken {
            self.state = State::Broken;
        }
    }

    fn frame(&mut self, frame: Frame) -> Result<(), (u16, Violation)> {
        let channel = frame.channel;
        if frame.kind != FrameKind::Amqp {
            return Err((channel, framing("a frame of the security layer came after it")));
        }
        if frame.body.is_empty() {
            return Ok(());
        }
        let (performative, payload) =
            Performative::read(frame.body).map_err(|error| (channel, Violation::Connection(error.into())))?;
        match performative {
            Performative::Close(_) => {
                if self.state == State::Open {
                    self.wire.send(0, Performative::Close(Close { error: None }));
                }
                self.state = State::Closed;
                Ok(())
            }
            // After our close everything else comes too late.
            _ if self.state != State::Open => Ok(()),
            Performative::Open(_) => Err((channel, framing("a connection is opened once"))),
            Performative::Begin(begin) => {
                if channel > CHANNEL_MAX || self.sessions.contains_key(&channel) {
                    return Err((channel, framing("the channel is in use, or beyond channel-max")));
                }
                self.ended.remove(&channel);
                let session = Session::begin(channel, &begin, &mut self.wire);
                self.sessions.insert(channel, Some(session));
                Ok(())
            }
            Performative::End(_) => match self.sessions.remove(&channel) {
                None => Err((channel, framing("no session has this channel"))),
                Some(None) => Ok(()),
                Some(Some(session)) => {
                    session.end(&mut self.wire);
                    self.wire.send(channel, Performative::End(End { error: None }));
                    self.ended.insert(channel);
                    Ok(())
                }
            },
            performative => match self.sessions.get_mut(&channel) {
                // Some clients settle what was under way after they have ended the session.
                None if self.ended.contains(&channel) => Ok(()),
                None => Err((channel, framing("no session has this channel"))),
                // The peer does not know yet that the session has ended.
                Some(None) => Ok(()),
                Some(Some(session)) => {
                    hand_over(session, performative, payload, &mut self.wire).map_err(|violation| (channel, violation))
                }
            },
        }
    }

    fn wake(&mut self, wake: Wake) {
        let (Wake::Message { link, .. }
        | Wake::Ended { link, .. }
        | Wake::Settled { link, .. }
        | Wake::Confirmed { link, .. }) = &wake;
        match self.sessions.get_mut(&link.channel) {
            Some(Some(session)) => session.wake(wake, &mut self.wire),
            _ => wake.give_back(),
        }
    }

    /// Sends on where something had to wait for the socket.
    fn go_on(&mut self) {
        if self.wire.is_stalled && !self.wire.is_full() {
            self.wire.is_stalled = false;
            for session in self.sessions.values_mut().flatten() {
                session.pump(&mut self.wire);
            }
        }
    }

    /// A token has expired: the links that lived on it go.
    fn expire(&mut self) {
        self.wire.peer.forget_expired();
        for session in self.sessions.values_mut().flatten() {
            session.detach_unauthorized(&mut self.wire);
        }
    }

    fn break_down(&mut self, what: &Break) {
        let error = |condition: &Option<String>| {
            let text = "a fault that a test asked for";
            condition
                .as_ref()
                .map(|condition| AmqpError::new(condition.clone(), text))
        };
        match what {
            Break::Links { address, condition } => {
                let error = error(condition);
                for session in self.sessions.values_mut().flatten() {
                    let is_meant = |link: &Link| link.address.to_ascii_lowercase().contains(address);
                    session.detach_matching(is_meant, error.as_ref(), &mut self.wire);
                }
            }
            Break::Sessions { condition } => {
                let channels: Vec<u16> = self.sessions.keys().copied().collect();
                for channel in channels {
                    self.end(channel, error(condition));
                }
            }
            Break::Connection { condition } => self.close(error(condition)),
            Break::Tcp => self.state = State::Broken,
            Break::Silence => self.state = State::Silent,
            Break::Frame(kind) => self.wire.out.extend_from_slice(&nonsense::frame(*kind)),
            Break::Injected { device, fault } => self.break_as_asked(device, fault),
        }
    }

    /// Breaks what a device has asked for. Which conditions the hub gives then is not published; these are ones that
    /// devices come back after.
    fn break_as_asked(&mut self, device: &Target, fault: &InjectedFault) {
        let error = |condition| Some(AmqpError::new(condition, fault.reason.clone()));
        match fault.kind {
            InjectedKind::Tcp => self.state = State::Broken,
            InjectedKind::AmqpConnection => self.close(error(condition::CONNECTION_FORCED)),
            InjectedKind::Shutdown => self.close(None),
            InjectedKind::AmqpSession => {
                let sessions = self.sessions.iter();
                let has_links = |session: &Session| session.has_link(|link| injected::is_of(link, device));
                let theirs = sessions.filter(|(_, session)| session.as_ref().is_some_and(has_links));
                let channels: Vec<u16> = theirs.map(|(channel, _)| *channel).collect();
                for channel in channels {
                    self.end(channel, error(condition::INTERNAL_ERROR));
                }
            }
            InjectedKind::AmqpLink(which) => {
                let error = error(condition::DETACH_FORCED);
                for session in self.sessions.values_mut().flatten() {
                    let is_meant = |link: &Link| injected::is_meant(link, device, which);
                    session.detach_matching(is_meant, error.as_ref(), &mut self.wire);
                }
            }
        }
    }

    fn punish(&mut self, (channel, violation): (u16, Violation)) {
        match violation {
            Violation::Session(error) => self.end(channel, Some(error)),
            Violation::Connection(error) => self.close(Some(error)),
        }
    }

    /// Ends a session; its channel stays taken until the peer has answered.
    fn end(&mut self, channel: u16, error: Option<AmqpError>) {
        let Some(session) = self.sessions.get_mut(&channel).and_then(Option::take) else {
            return;
        };
        session.end(&mut self.wire);
        self.wire.peer.record(AmqpEvent::Ended {
            condition: error.as_ref().map(|error| error.condition.clone().into_owned()),
        });
        self.wire.send(channel, Performative::End(End { error }));
    }

    /// Says close, once.
    fn close(&mut self, error: Option<AmqpError>) {
        if self.state != State::Open {
            return;
        }
        self.wire.peer.record(AmqpEvent::Closed {
            condition: error.as_ref().map(|error| error.condition.clone().into_owned()),
        });
        self.wire.send(0, Performative::Close(Close { error }));
        self.state = State::Closing(Instant::now() + FAREWELL);
    }
}

impl Expiry {
    fn never() -> Self {
        Self {
            at: None,
            wait: Box::pin(pending()),
        }
    }

    /// Waits for the next expiry of what the peer holds now.
    fn follow(&mut self, peer: &Peer) {
        let next = peer.next_expiry();
        if self.at == next {
            return;
        }
        self.at = next;
        let clock = peer.hub.clock().clone();
        self.wait = match next {
            Some(at) => Box::pin(async move { clock.until(at).await }),
            None => Box::pin(pending()),
        };
    }
}

fn hand_over(
    session: &mut Session,
    performative: Performative,
    payload: Bytes,
    wire: &mut Wire,
) -> Result<(), Violation> {
    match performative {
        Performative::Attach(attach) => session.attach(*attach, wire),
        Performative::Flow(flow) => session.flow(&flow, wire),
        Performative::Transfer(transfer) => session.transfer(&transfer, payload, wire),
        Performative::Disposition(disposition) => {
            session.disposition(&disposition, wire);
            Ok(())
        }
        Performative::Detach(detach) => {
            session.detached(&detach, wire);
            Ok(())
        }
        Performative::Open(_) | Performative::Begin(_) | Performative::End(_) | Performative::Close(_) => Ok(()),
    }
}

fn framing(text: &str) -> Violation {
    Violation::Connection(AmqpError::new(condition::FRAMING_ERROR, text))
}

/// Returns when the peer has to hear from us again.
async fn beat(every: Option<Duration>, last: Instant) {
    match every {
        Some(every) => sleep_until(last + every).await,
        None => pending().await,
    }
}

/// How long a peer may take to open a connection.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// How long it may take to part.
const FAREWELL: Duration = Duration::from_secs(5);
