//! A broker with one queue and one target, out of the engine's frames and nothing of its links.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use fe2o3_amqp::{
    frames::amqp::{Frame, FrameBody},
    transport::Transport,
};
use fe2o3_amqp_types::{
    definitions::{Error, Handle, Role},
    messaging::{Accepted, DeliveryState, Target, TargetArchetype},
    performatives::{Attach, Begin, Close, Detach, Disposition, End, Flow, Open, Transfer},
};
use futures::{SinkExt, StreamExt};
use iothub_core::amqp::Settlement;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
};

use super::encoding;

/// What all connections have in common.
#[derive(Default)]
pub(super) struct Broker {
    /// What waits for the receiver.
    pub(super) queue: VecDeque<Vec<u8>>,
    /// What senders sent.
    pub(super) taken: Vec<Vec<u8>>,
    /// How deliveries were settled.
    pub(super) settled: VecDeque<Settlement>,
    pub(super) refusals: Vec<(String, Error)>,
    /// For the next messages; those after them are accepted.
    pub(super) answers: VecDeque<Answer>,
    /// All that was ended so far; a connection knows up to where it has heard.
    pub(super) endings: Vec<Ending>,
    /// The newest receiver, to which alone messages go.
    receiver: u64,
}

pub(super) enum Answer {
    Settle(DeliveryState),
    Hold,
}

#[derive(Clone)]
pub(super) enum Ending {
    Links(Option<Error>),
    Connections(Error),
}

pub(super) const TARGET: &str = "target";
pub(super) const SOURCE: &str = "source";

/// Serves one connection to its end.
pub(super) async fn serve<S>(mut stream: S, broker: Arc<watch::Sender<Broker>>)
where
    S: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static,
{
    let mut header = [0; 8];
    if stream.read_exact(&mut header).await.is_err() {
        return;
    }
    stream.write_all(&header).await.unwrap();
    stream.flush().await.unwrap();
    let mut changes = broker.subscribe();
    let heard = changes.borrow_and_update().endings.len();
    let mut serving = Serving {
        transport: Transport::bind(stream, 65_536, None),
        broker,
        sessions: HashMap::new(),
        links: BTreeMap::new(),
        heard,
        is_closed: false,
    };
    loop {
        serving.deliver().await;
        tokio::select! {
            frame = serving.transport.next() => match frame {
                Some(Ok(frame)) => {
                    if !serving.on_frame(frame).await {
                        break;
                    }
                }
                _ => break,
            },
            _ = changes.changed() => serving.on_endings().await,
        }
    }
    for link in serving.links.values() {
        serving.give_back(link);
    }
}

struct Serving<S> {
    transport: Transport<S, Frame>,
    broker: Arc<watch::Sender<Broker>>,
    /// By channel.
    sessions: HashMap<u16, Session>,
    /// By channel and handle.
    links: BTreeMap<(u16, u32), Link>,
    heard: usize,
    is_closed: bool,
}

#[derive(Default)]
struct Session {
    received: u32,
    sent: u32,
    deliveries: u32,
    next_delivery_in: u32,
}

struct Link {
    /// Among those of the broker, if messages are sent over it.
    number: Option<u64>,
    /// Messages that went over it in either direction.
    count: u32,
    /// Up to where `count` may go, if messages are sent over it.
    limit: u32,
    partial: Vec<u8>,
    unsettled: BTreeMap<u32, Vec<u8>>,
    is_detached: bool,
}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Serving<S> {
    async fn on_frame(&mut self, frame: Frame) -> bool {
        let channel = frame.channel;
        match frame.body {
            FrameBody::Open(_) => self.say(0, FrameBody::Open(open())).await,
            FrameBody::Begin(_) => {
                self.sessions.insert(channel, Session::default());
                self.say(channel, FrameBody::Begin(begin(channel))).await;
            }
            FrameBody::Attach(attach) => self.on_attach(channel, attach).await,
            FrameBody::Flow(flow) => {
                if let Some(link) = flow.handle.and_then(|handle| self.links.get_mut(&(channel, handle.0))) {
                    link.limit = flow.delivery_count.unwrap_or(0) + flow.link_credit.unwrap_or(0);
                }
            }
            FrameBody::Transfer { performative, payload } => self.on_transfer(channel, performative, payload).await,
            FrameBody::Disposition(disposition) => self.on_disposition(channel, disposition),
            FrameBody::Detach(detach) => {
                let link = self.links.remove(&(channel, detach.handle.0)).unwrap();
                self.give_back(&link);
                if !link.is_detached {
                    self.detach(channel, detach.handle.0, None).await;
                }
            }
            FrameBody::End(_) => self.say(channel, FrameBody::End(End { error: None })).await,
            FrameBody::Close(_) => {
                if !self.is_closed {
                    self.say(0, FrameBody::Close(Close { error: None })).await;
                }
                return false;
            }
            FrameBody::Empty => {}
        }
        true
    }

    async fn on_attach(&mut self, channel: u16, attach: Attach) {
        let sends = attach.role == Role::Receiver;
        let address = match sends {
            true => attach.source.as_ref().and_then(|source| source.address.clone()),
            false => match attach.target.as_deref() {
                Some(TargetArchetype::Target(Target { address, .. })) => address.clone(),
                _ => None,
            },
        };
        let refusal = self.change(|broker| {
            let place = broker.refusals.iter().position(|(of, _)| Some(of) == address.as_ref());
            place.map(|place| broker.refusals.remove(place).1)
        });
        let handle = attach.handle.0;
        let mut answer = Attach {
            role: if sends { Role::Sender } else { Role::Receiver },
            initial_delivery_count: sends.then_some(0),
            unsettled: None,
            ..attach
        };
        if let Some(error) = refusal {
            match sends {
                true => answer.source = None,
                false => answer.target = None,
            }
            self.say(channel, FrameBody::Attach(answer)).await;
            self.detach(channel, handle, Some(error)).await;
            self.insert(channel, handle, None, true);
            return;
        }
        self.say(channel, FrameBody::Attach(answer)).await;
        let number = sends.then(|| RECEIVERS.fetch_add(1, Ordering::Relaxed));
        self.insert(channel, handle, number, false);
        match number {
            Some(number) => self.change(|broker| broker.receiver = number),
            None => self.grant(channel, handle).await,
        }
    }

    fn insert(&mut self, channel: u16, handle: u32, number: Option<u64>, is_detached: bool) {
        let link = Link {
            number,
            count: 0,
            limit: 0,
            partial: Vec::new(),
            unsettled: BTreeMap::new(),
            is_detached,
        };
        self.links.insert((channel, handle), link);
    }

    async fn on_transfer(&mut self, channel: u16, transfer: Transfer, payload: Bytes) {
        let handle = transfer.handle.0;
        let session = self.sessions.get_mut(&channel).unwrap();
        let link = self.links.get_mut(&(channel, handle)).unwrap();
        session.received += 1;
        // Of a message in several frames only the first has to have the number.
        session.next_delivery_in = transfer.delivery_id.unwrap_or(session.next_delivery_in);
        link.partial.extend_from_slice(&payload);
        if transfer.more {
            return;
        }
        let id = session.next_delivery_in;
        let message = std::mem::take(&mut link.partial);
        link.count += 1;
        let is_detached = link.is_detached;
        let answer = self.change(|broker| {
            broker.taken.push(message);
            broker.answers.pop_front()
        });
        let state = match answer {
            Some(Answer::Hold) => return,
            _ if is_detached => return,
            Some(Answer::Settle(state)) => state,
            None => DeliveryState::Accepted(Accepted {}),
        };
        let disposition = Disposition {
            role: Role::Receiver,
            first: id,
            last: None,
            settled: true,
            state: Some(state),
            batchable: false,
        };
        self.say(channel, FrameBody::Disposition(disposition)).await;
        self.grant(channel, handle).await;
    }

    fn on_disposition(&mut self, channel: u16, disposition: Disposition) {
        assert!(
            disposition.settled && disposition.role == Role::Receiver,
            "a delivery is settled by its receiver"
        );
        let settlement = encoding::settlement(disposition.state);
        for id in disposition.first..=disposition.last.unwrap_or(disposition.first) {
            let mut links = self.links.range_mut((channel, 0)..=(channel, u32::MAX));
            let message = links.find_map(|(_, link)| link.unsettled.remove(&id));
            let message = message.expect("only what was delivered is settled, and once");
            self.change(|broker| {
                broker.settled.push_back(settlement.clone());
                if settlement == Settlement::Released {
                    broker.queue.push_front(message);
                }
            });
        }
    }

    /// Sends what waits and may go.
    async fn deliver(&mut self) {
        loop {
            let is_open = |link: &Link| !link.is_detached && link.count < link.limit;
            let newest = self.broker.borrow().receiver;
            let mut links = self.links.iter_mut();
            let Some((&(channel, handle), link)) = links.find(|(_, link)| link.number == Some(newest) && is_open(link))
            else {
                return;
            };
            // Looked at first: a change that changes nothing would wake this loop again, and for ever.
            if self.broker.borrow().queue.is_empty() {
                return;
            }
            let mut message = None;
            self.broker.send_modify(|broker| message = broker.queue.pop_front());
            let Some(message) = message else { return };
            let session = self.sessions.get_mut(&channel).unwrap();
            let id = session.deliveries;
            session.deliveries += 1;
            link.count += 1;
            link.unsettled.insert(id, message.clone());
            let pieces: Vec<_> = message.chunks(30_000).map(Bytes::copy_from_slice).collect();
            session.sent += u32::try_from(pieces.len()).unwrap();
            let last = pieces.len() - 1;
            for (index, payload) in pieces.into_iter().enumerate() {
                let is_first = index == 0;
                let performative = Transfer {
                    handle: Handle(handle),
                    delivery_id: is_first.then_some(id),
                    delivery_tag: is_first.then(|| TAGS.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec().into()),
                    message_format: is_first.then_some(0),
                    settled: Some(false),
                    more: index < last,
                    rcv_settle_mode: None,
                    state: None,
                    resume: false,
                    aborted: false,
                    batchable: false,
                };
                self.say(channel, FrameBody::Transfer { performative, payload }).await;
            }
        }
    }

    async fn on_endings(&mut self) {
        let endings: Vec<_> = self.broker.borrow().endings[self.heard..].to_vec();
        self.heard += endings.len();
        for ending in endings {
            match ending {
                Ending::Connections(error) => {
                    self.is_closed = true;
                    self.say(0, FrameBody::Close(Close { error: Some(error) })).await;
                }
                Ending::Links(error) => {
                    let attached = self.links.iter_mut().filter(|(_, link)| !link.is_detached);
                    let mut places = Vec::new();
                    for (&place, link) in attached {
                        link.is_detached = true;
                        places.push(place);
                    }
                    for place in places {
                        self.detach(place.0, place.1, error.clone()).await;
                    }
                }
            }
        }
    }

    /// What was not settled goes to the front of the queue, in its order.
    fn give_back(&self, link: &Link) {
        if link.unsettled.is_empty() {
            return;
        }
        self.change(|broker| {
            for message in link.unsettled.values().rev() {
                broker.queue.push_front(message.clone());
            }
        });
    }

    async fn grant(&mut self, channel: u16, handle: u32) {
        let (session, link) = (&self.sessions[&channel], &self.links[&(channel, handle)]);
        let flow = Flow {
            next_incoming_id: Some(session.received),
            incoming_window: 5000,
            next_outgoing_id: session.sent,
            outgoing_window: 5000,
            handle: Some(Handle(handle)),
            delivery_count: Some(link.count),
            link_credit: Some(100),
            available: None,
            drain: false,
            echo: false,
            properties: None,
        };
        self.say(channel, FrameBody::Flow(flow)).await;
    }

    async fn detach(&mut self, channel: u16, handle: u32, error: Option<Error>) {
        let detach = Detach {
            handle: Handle(handle),
            closed: true,
            error,
        };
        self.say(channel, FrameBody::Detach(detach)).await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut Broker) -> T) -> T {
        let mut result = None;
        self.broker.send_modify(|broker| result = Some(change(broker)));
        result.unwrap()
    }

    /// A client that has gone is seen by the next read.
    async fn say(&mut self, channel: u16, body: FrameBody) {
        drop(self.transport.send(Frame { channel, body }).await);
    }
}

fn open() -> Open {
    Open {
        container_id: "broker".to_owned(),
        hostname: None,
        max_frame_size: 65_536.into(),
        channel_max: 8191.into(),
        idle_time_out: Some(240_000),
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

fn begin(channel: u16) -> Begin {
    Begin {
        remote_channel: Some(channel),
        next_outgoing_id: 0,
        incoming_window: 5000,
        outgoing_window: 5000,
        handle_max: Handle(262_143),
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

static RECEIVERS: AtomicU64 = AtomicU64::new(1);
static TAGS: AtomicU64 = AtomicU64::new(1);
