//! A peer that does what a test says: the engine's frames and nothing of its links.

use std::{collections::HashMap, fmt::Debug};

use bytes::Bytes;
use fe2o3_amqp::{
    frames::amqp::{Frame, FrameBody},
    transport::Transport,
};
use fe2o3_amqp_types::{
    definitions::{Error, Handle, Role},
    messaging::{Accepted, DeliveryState},
    performatives::{Attach, Begin, Close, Detach, Disposition, End, Flow, Open, Transfer},
};
use futures::{FutureExt, SinkExt, StreamExt};
use iothub_core::{HubHost, amqp::AmqpConnection, amqp::AmqpTransport};
use iothub_transport_amqp::{AmqpOptions, Fe2o3Transport, Proxy};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::certificates::Authority;

/// How the peer answers by itself.
#[derive(Clone)]
pub(crate) struct Script {
    /// Credit for each sender.
    pub(crate) credit: u32,
    /// Accept every message as it comes.
    pub(crate) accept: bool,
    pub(crate) refuse: Option<Refusal>,
    pub(crate) max_message_size: Option<u64>,
    /// The largest frame that is sent and taken.
    pub(crate) max_frame: u32,
}

/// The two ways to refuse a link.
#[derive(Clone)]
pub(crate) enum Refusal {
    /// Attach without a terminus, as AMQP 1.0 part 2.6.3 has it, then detach.
    NullTerminus(Error),
    /// Attach as if all were well, then detach.
    AttachAndDetach(Error),
}

/// What a test tells the peer to do.
#[derive(Debug)]
pub(crate) enum Order {
    Detach(Option<Error>, bool),
    End(Option<Error>),
    Close(Option<Error>),
    /// Close the socket.
    Drop,
    /// Keep the socket, but neither read nor write any more.
    FallSilent,
    Credit(u32),
    /// Settle the messages with these numbers.
    Settle(u32, u32, DeliveryState),
    /// Send a message with this tag to the receiver, in frames of this many bytes.
    Deliver(Vec<u8>, Vec<u8>, usize),
}

/// What a test sees the peer see.
#[derive(Debug)]
pub(crate) enum Event {
    Open(Box<Open>),
    Attach(Box<Attach>),
    Flow(Box<Flow>),
    Message(Bytes),
    Disposition(Box<Disposition>),
    Detach(Box<Detach>),
    Close,
    Gone,
}

pub(crate) struct Peer {
    pub(crate) host: HubHost,
    pub(crate) root: Bytes,
    orders: mpsc::UnboundedSender<Order>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            credit: 100,
            accept: true,
            refuse: None,
            max_message_size: None,
            max_frame: 65_536,
        }
    }
}

impl Peer {
    /// Listens with TLS on a free port.
    pub(crate) async fn start(script: Script) -> Self {
        let authority = Authority::new();
        let acceptor = authority.acceptor("localhost");
        let carrier = move |tcp| acceptor.accept(tcp).map(Result::ok);
        Self::start_on(authority.root(), script, carrier).await
    }

    /// Listens on a free port; `carrier` makes the stream of AMQP from a socket. A socket without one is let go.
    pub(crate) async fn start_on<S, F>(
        root: Bytes,
        script: Script,
        carrier: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static,
        F: Future<Output = Option<S>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (orders, asked) = mpsc::unbounded_channel();
        let (events_in, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut asked = asked;
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).unwrap();
                if let Some(stream) = carrier(tcp).await {
                    let mut serving = Serving::new(stream, script.clone(), events_in.clone());
                    serving.run(&mut asked).await;
                    drop(events_in.send(Event::Gone));
                }
            }
        });
        let host: HubHost = format!("localhost:{port}").parse().unwrap();
        Self {
            host: host.with_amqps_port(port),
            root,
            orders,
            events,
        }
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }

    /// Options that trust this peer and nobody else, and ask no proxy.
    pub(crate) fn options(&self) -> AmqpOptions {
        AmqpOptions {
            extra_roots: vec![self.root.clone()],
            platform_roots: false,
            proxy: Proxy::Direct,
            ..Default::default()
        }
    }

    pub(crate) async fn connect(&self) -> Box<dyn AmqpConnection> {
        self.connect_with(self.options()).await.unwrap()
    }

    pub(crate) async fn connect_with(&self, options: AmqpOptions) -> azure_core::Result<Box<dyn AmqpConnection>> {
        Fe2o3Transport::new(options)?.connect(&self.host).await
    }

    /// The next event that `pick` takes; those before it are passed over.
    pub(crate) async fn until<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            let event = self.events.recv().await.expect("the peer has stopped");
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    }

    pub(crate) async fn message(&mut self) -> Bytes {
        self.until(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        })
        .await
    }

    pub(crate) async fn gone(&mut self) {
        self.until(|event| matches!(event, Event::Gone).then_some(())).await;
    }
}

struct Serving<S> {
    transport: Option<Transport<S, Frame>>,
    stream: Option<S>,
    script: Script,
    events: mpsc::UnboundedSender<Event>,
    partial: HashMap<(u16, u32), Vec<u8>>,
    /// Channel and handle of the newest link, and whether this side sends on it.
    link: Option<(u16, Handle, bool)>,
    /// The session that this side has ended and the other has not.
    ended: Option<u16>,
    next_delivery: u32,
}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Serving<S> {
    fn new(stream: S, script: Script, events: mpsc::UnboundedSender<Event>) -> Self {
        Self {
            transport: None,
            stream: Some(stream),
            script,
            events,
            partial: HashMap::new(),
            link: None,
            ended: None,
            next_delivery: 0,
        }
    }

    async fn run(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) {
        let mut stream = self.stream.take().unwrap();
        let mut header = [0; 8];
        if stream.read_exact(&mut header).await.is_err() {
            return;
        }
        assert_eq!(&header, b"AMQP\x00\x01\x00\x00");
        stream.write_all(&header).await.unwrap();
        stream.flush().await.unwrap();
        self.transport = Some(Transport::bind(stream, self.script.max_frame as usize, None));
        loop {
            let transport = self.transport.as_mut().unwrap();
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Drop) | None => return,
                    Some(Order::FallSilent) => {
                        // Until the test is over.
                        while orders.recv().await.is_some() {}
                        return;
                    }
                    Some(order) => self.on_order(order).await,
                },
                frame = transport.next() => match frame {
                    Some(Ok(frame)) => {
                        if !self.on_frame(frame).await {
                            return;
                        }
                    }
                    _ => return,
                },
            }
        }
    }

    async fn on_frame(&mut self, frame: Frame) -> bool {
        let channel = frame.channel;
        match frame.body {
            FrameBody::Open(open) => {
                drop(self.events.send(Event::Open(Box::new(open))));
                let answer = Open {
                    container_id: "peer".to_owned(),
                    hostname: None,
                    max_frame_size: self.script.max_frame.into(),
                    channel_max: 8191.into(),
                    idle_time_out: Some(240_000),
                    outgoing_locales: None,
                    incoming_locales: None,
                    offered_capabilities: None,
                    desired_capabilities: None,
                    properties: None,
                };
                self.say(0, FrameBody::Open(answer)).await;
            }
            FrameBody::Begin(_) => {
                let answer = Begin {
                    remote_channel: Some(channel),
                    next_outgoing_id: 0,
                    incoming_window: 5000,
                    outgoing_window: 5000,
                    handle_max: Handle(262_143),
                    offered_capabilities: None,
                    desired_capabilities: None,
                    properties: None,
                };
                self.say(channel, FrameBody::Begin(answer)).await;
            }
            FrameBody::Attach(attach) => self.on_attach(channel, attach).await,
            FrameBody::Flow(flow) => drop(self.events.send(Event::Flow(Box::new(flow)))),
            FrameBody::Transfer { performative, payload } => self.on_transfer(channel, performative, payload).await,
            FrameBody::Disposition(disposition) => drop(self.events.send(Event::Disposition(Box::new(disposition)))),
            FrameBody::Detach(detach) => {
                let is_answer = self.link.is_none();
                self.link = None;
                if !is_answer {
                    let answer = Detach {
                        handle: detach.handle.clone(),
                        closed: detach.closed,
                        error: None,
                    };
                    self.say(channel, FrameBody::Detach(answer)).await;
                }
                drop(self.events.send(Event::Detach(Box::new(detach))));
            }
            FrameBody::End(_) if self.ended == Some(channel) => self.ended = None,
            FrameBody::End(_) => self.say(channel, FrameBody::End(End { error: None })).await,
            FrameBody::Close(_) => {
                self.say(0, FrameBody::Close(Close { error: None })).await;
                drop(self.events.send(Event::Close));
                return false;
            }
            FrameBody::Empty => {}
        }
        true
    }

    async fn on_attach(&mut self, channel: u16, attach: Attach) {
        let is_sender_here = attach.role == Role::Receiver;
        let mut answer = Attach {
            role: if is_sender_here { Role::Sender } else { Role::Receiver },
            initial_delivery_count: is_sender_here.then_some(0),
            max_message_size: self.script.max_message_size,
            unsettled: None,
            ..attach.clone()
        };
        let handle = attach.handle.clone();
        drop(self.events.send(Event::Attach(Box::new(attach))));
        let refusal = self.script.refuse.clone();
        if let Some(Refusal::NullTerminus(_)) = &refusal {
            match is_sender_here {
                true => answer.source = None,
                false => answer.target = None,
            }
        }
        self.say(channel, FrameBody::Attach(answer)).await;
        if let Some(Refusal::NullTerminus(error) | Refusal::AttachAndDetach(error)) = refusal {
            self.say(
                channel,
                FrameBody::Detach(Detach {
                    handle,
                    closed: true,
                    error: Some(error),
                }),
            )
            .await;
            return;
        }
        self.link = Some((channel, handle, is_sender_here));
        if !is_sender_here && self.script.credit > 0 {
            self.credit(self.script.credit).await;
        }
    }

    async fn on_transfer(&mut self, channel: u16, transfer: Transfer, payload: Bytes) {
        let place = (channel, transfer.handle.0);
        let whole = self.partial.entry(place).or_default();
        whole.extend_from_slice(&payload);
        if transfer.more {
            return;
        }
        let message = self.partial.remove(&place).unwrap_or_default();
        drop(self.events.send(Event::Message(message.into())));
        if self.script.accept {
            // Of a message in several frames only the first has the number, but they are counted from 0 on.
            let number = transfer.delivery_id.unwrap_or(self.next_delivery);
            self.settle(channel, number, number, DeliveryState::Accepted(Accepted {}))
                .await;
        }
        self.next_delivery += 1;
    }

    async fn on_order(&mut self, order: Order) {
        match order {
            Order::Detach(error, closed) => {
                let (channel, handle, _) = self.link.take().expect("a link");
                self.say(channel, FrameBody::Detach(Detach { handle, closed, error }))
                    .await;
            }
            Order::End(error) => {
                let (channel, ..) = self.link.take().expect("a link");
                self.ended = Some(channel);
                self.say(channel, FrameBody::End(End { error })).await;
            }
            Order::Close(error) => self.say(0, FrameBody::Close(Close { error })).await,
            Order::Credit(credit) => self.credit(credit).await,
            Order::Settle(first, last, state) => {
                let (channel, ..) = *self.link.as_ref().expect("a link");
                self.settle(channel, first, last, state).await;
            }
            Order::Deliver(tag, message, cut) => {
                let (channel, handle, _) = self.link.clone().expect("a link");
                let pieces: Vec<_> = message.chunks(cut).map(Bytes::copy_from_slice).collect();
                for (index, piece) in pieces.iter().enumerate() {
                    let is_first = index == 0;
                    let performative = Transfer {
                        handle: handle.clone(),
                        delivery_id: is_first.then_some(self.next_delivery),
                        delivery_tag: is_first.then(|| tag.clone().into()),
                        message_format: is_first.then_some(0),
                        settled: Some(false),
                        more: index + 1 < pieces.len(),
                        rcv_settle_mode: None,
                        state: None,
                        resume: false,
                        aborted: false,
                        batchable: false,
                    };
                    self.say(
                        channel,
                        FrameBody::Transfer {
                            performative,
                            payload: piece.clone(),
                        },
                    )
                    .await;
                }
                self.next_delivery += 1;
            }
            Order::Drop | Order::FallSilent => unreachable!(),
        }
    }

    async fn credit(&mut self, credit: u32) {
        let (channel, handle, _) = self.link.clone().expect("a link");
        let flow = Flow {
            next_incoming_id: Some(0),
            incoming_window: u32::MAX / 2,
            next_outgoing_id: 0,
            outgoing_window: 5000,
            handle: Some(handle),
            delivery_count: Some(0),
            link_credit: Some(credit),
            available: None,
            drain: false,
            echo: false,
            properties: None,
        };
        self.say(channel, FrameBody::Flow(flow)).await;
    }

    async fn settle(&mut self, channel: u16, first: u32, last: u32, state: DeliveryState) {
        let disposition = Disposition {
            role: Role::Receiver,
            first,
            last: Some(last),
            settled: true,
            state: Some(state),
            batchable: false,
        };
        self.say(channel, FrameBody::Disposition(disposition)).await;
    }

    /// A peer that has gone is seen by the next read.
    async fn say(&mut self, channel: u16, body: FrameBody) {
        drop(self.transport.as_mut().unwrap().send(Frame { channel, body }).await);
    }
}
