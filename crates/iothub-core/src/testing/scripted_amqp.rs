use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use async_trait::async_trait;
use azure_core::{Error, Result, error::ErrorKind};
use bytes::Bytes;

use crate::{
    HubHost,
    amqp::{
        AmqpConnection, AmqpDelivery, AmqpError, AmqpMessage, AmqpScope, AmqpTransport, DeliveryTag, Outcome,
        Settlement,
    },
};

mod cbs;
mod connection;
mod links;

use connection::ScriptedConnection;

/// An AMQP transport that is told what happens and remembers what it saw.
///
/// Without a word it plays a hub that is well: connections open, `$cbs` takes every token, messages are accepted. What
/// should be otherwise is queued before it happens ([`refuse_connects`](Self::refuse_connects),
/// [`answer_tokens`](Self::answer_tokens), [`refuse_attaches`](Self::refuse_attaches), [`answer_sends`](Self::answer_sends))
/// or done on the spot ([`end_links`](Self::end_links), [`end_connections`](Self::end_connections),
/// [`fall_silent`](Self::fall_silent)). Clones share script and memory.
///
/// # Examples
///
/// ```
/// use iothub_core::{amqp::*, testing::ScriptedAmqp};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> iothub_core::Result<()> {
/// let hub = ScriptedAmqp::new();
/// let connection = hub.connect(&"my-hub.azure-devices.net".parse()?).await?;
/// let sender = connection.sender(SenderLink { address: "/messages/devicebound".into(), ..Default::default() }).await?;
///
/// let message = AmqpMessage { to: Some("/devices/lamp/messages/devicebound".into()), ..Default::default() };
/// assert!(matches!(sender.send(message.clone()).await?.await?, Outcome::Accepted));
/// assert_eq!(hub.sent(), [message]);
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct ScriptedAmqp {
    script: Arc<Mutex<Script>>,
}

/// What becomes of one message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SendAnswer {
    /// It is taken and settled.
    Settle(Outcome),
    /// It is taken and not settled until [`ScriptedAmqp::settle_held`], or the end of its link.
    Hold,
    /// It is taken, and then this happens to the link or connection that it came over.
    End(AmqpError),
    /// It is not taken: this happened before. With the scope of a message, the message was refused on this side.
    Refuse(AmqpError),
}

/// What becomes of one token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TokenAnswer {
    /// A status and a description.
    Status(i32, String),
    /// Nothing.
    Silence,
    /// The answer comes together with that to the next token.
    Late,
    /// The links to `$cbs` end.
    End(AmqpError),
}

/// The script and the memory.
#[derive(Default)]
struct Script {
    connects: VecDeque<Error>,
    tokens: VecDeque<TokenAnswer>,
    attaches: Vec<(String, VecDeque<AmqpError>)>,
    sends: VecDeque<SendAnswer>,
    /// How many messages may still be taken; `None` is any number.
    credit: Option<u32>,

    connect_tries: usize,
    connections: Vec<Connection>,
    links: Vec<Link>,
    attached: Vec<String>,
    sent: Vec<AmqpMessage>,
    puts: Vec<AmqpMessage>,
    late: Vec<AmqpMessage>,
    held: usize,
    settlements: Vec<(DeliveryTag, Settlement)>,
    inbox: Vec<(String, AmqpDelivery)>,
    tags: u64,
    wakers: Vec<Waker>,
}

struct Connection {
    end: Option<AmqpError>,
    is_silent: bool,
    is_dropped: bool,
}

struct Link {
    address: String,
    connection: usize,
    end: Option<AmqpError>,
    is_dropped: bool,
    /// What was received and not settled.
    unsettled: Vec<AmqpDelivery>,
    /// How many held messages are settled, and how.
    held: VecDeque<usize>,
    outcomes: Vec<(usize, Outcome)>,
}

impl ScriptedAmqp {
    /// A hub that is well.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next `times` connects fail, as if nothing listened.
    pub fn refuse_connects(&self, times: usize) {
        self.fail_connects((0..times).map(|_| Error::with_message(ErrorKind::Connection, "connection refused")));
    }

    /// The next connects fail with these errors.
    pub fn fail_connects(&self, errors: impl IntoIterator<Item = Error>) {
        self.lock().connects.extend(errors);
    }

    /// `$cbs` answers the next tokens so, and then goes on to take every token.
    pub fn answer_tokens(&self, answers: impl IntoIterator<Item = TokenAnswer>) {
        self.lock().tokens.extend(answers);
    }

    /// The next attaches to `address` are refused with these errors.
    pub fn refuse_attaches(&self, address: &str, errors: impl IntoIterator<Item = AmqpError>) {
        let mut script = self.lock();
        match script.attaches.iter_mut().find(|(of, _)| of == address) {
            Some((_, queue)) => queue.extend(errors),
            None => script.attaches.push((address.to_owned(), errors.into_iter().collect())),
        }
    }

    /// The next messages fare so, and those after them are accepted.
    pub fn answer_sends(&self, answers: impl IntoIterator<Item = SendAnswer>) {
        self.lock().sends.extend(answers);
    }

    /// Takes `credit` messages more and then makes senders wait; `None` takes any number.
    pub fn set_credit(&self, credit: Option<u32>) {
        self.change(|script| script.credit = credit);
    }

    /// Settles the messages that are held on open links, in the order in which they came.
    pub fn settle_held(&self, outcome: &Outcome) {
        self.change(|script| {
            for link in &mut script.links {
                while let Some(held) = link.held.pop_front() {
                    link.outcomes.push((held, outcome.clone()));
                }
            }
        });
    }

    /// Puts a message into the queue of a source address. Whoever is attached there with credit receives it, and it comes
    /// back into the queue if it is released or the link ends before it is settled.
    pub fn deliver(&self, address: &str, message: AmqpMessage) -> DeliveryTag {
        self.change(|script| {
            script.tags += 1;
            let tag = DeliveryTag(Bytes::copy_from_slice(&script.tags.to_be_bytes()));
            let delivery = AmqpDelivery {
                tag: tag.clone(),
                message,
            };
            script.inbox.push((address.to_owned(), delivery));
            tag
        })
    }

    /// Ends every link to `address` that is attached now.
    pub fn end_links(&self, address: &str, error: &AmqpError) {
        self.change(|script| {
            for link in script.links_to(address) {
                script.end_link(link, error.clone());
            }
        });
    }

    /// Ends every connection that is open now.
    pub fn end_connections(&self, error: &AmqpError) {
        self.change(|script| {
            for connection in 0..script.connections.len() {
                script.end_connection(connection, error.clone());
            }
        });
    }

    /// Has the connections that are open now take everything and answer nothing, as when the network between is cut.
    pub fn fall_silent(&self) {
        self.change(|script| {
            for connection in &mut script.connections {
                connection.is_silent = true;
            }
        });
    }

    /// How often somebody tried to connect.
    pub fn connects(&self) -> usize {
        self.lock().connect_tries
    }

    /// How many connections are open: neither ended nor dropped.
    pub fn open_connections(&self) -> usize {
        let script = self.lock();
        let is_open = |connection: &&Connection| connection.end.is_none() && !connection.is_dropped;
        script.connections.iter().filter(is_open).count()
    }

    /// How often a link to `address` was attached.
    pub fn attaches(&self, address: &str) -> usize {
        self.lock().attached.iter().filter(|of| *of == address).count()
    }

    /// How many links to `address` are attached now.
    pub fn open_links(&self, address: &str) -> usize {
        self.lock().links_to(address).len()
    }

    /// The messages that were taken, `$cbs` apart.
    pub fn sent(&self) -> Vec<AmqpMessage> {
        self.lock().sent.clone()
    }

    /// The requests to `$cbs`, whose bodies hold tokens.
    pub fn tokens(&self) -> Vec<AmqpMessage> {
        self.lock().puts.clone()
    }

    /// What was settled, and how, `$cbs` apart.
    pub fn settlements(&self) -> Vec<(DeliveryTag, Settlement)> {
        self.lock().settlements.clone()
    }

    /// Resolves when `is_so` is true of this hub. It is looked at again whenever something happens.
    pub async fn until(&self, mut is_so: impl FnMut(&Self) -> bool) {
        poll_fn(|cx| {
            // Before the look, so that nothing happens unnoticed after it.
            self.lock().wakers.push(cx.waker().clone());
            match is_so(self) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the script and has everybody look again.
    fn change<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        let (result, wakers) = {
            let mut script = self.lock();
            (change(&mut script), std::mem::take(&mut script.wakers))
        };
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// What `look` finds, as soon as it finds something.
    async fn find<T>(&self, mut look: impl FnMut(&mut Script) -> Option<T> + Send) -> T {
        poll_fn(|cx| {
            let mut script = self.lock();
            match look(&mut script) {
                Some(found) => {
                    let wakers = std::mem::take(&mut script.wakers);
                    drop(script);
                    wakers.into_iter().for_each(Waker::wake);
                    Poll::Ready(found)
                }
                None => {
                    script.wakers.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

#[async_trait]
impl AmqpTransport for ScriptedAmqp {
    async fn connect(&self, _host: &HubHost) -> Result<Box<dyn AmqpConnection>> {
        let number = self.change(|script| {
            script.connect_tries += 1;
            if let Some(error) = script.connects.pop_front() {
                return Err(error);
            }
            script.connections.push(Connection {
                end: None,
                is_silent: false,
                is_dropped: false,
            });
            Ok(script.connections.len() - 1)
        })?;
        Ok(Box::new(ScriptedConnection::new(self.clone(), number)))
    }
}

impl Script {
    fn is_open(&self, link: &Link) -> bool {
        link.end.is_none() && !link.is_dropped && self.connections[link.connection].end.is_none()
    }

    fn links_to(&self, address: &str) -> Vec<usize> {
        let is_wanted = |(_, link): &(usize, &Link)| link.address == address && self.is_open(link);
        let links = self.links.iter().enumerate().filter(is_wanted);
        links.map(|(number, _)| number).collect()
    }

    fn attach(&mut self, connection: usize, address: &str) -> Result<usize> {
        if let Some(error) = &self.connections[connection].end {
            return Err(error.clone().into());
        }
        let refusals = self.attaches.iter_mut().find(|(of, _)| of == address);
        if let Some(error) = refusals.and_then(|(_, queue)| queue.pop_front()) {
            return Err(error.into());
        }
        self.attached.push(address.to_owned());
        self.links.push(Link {
            address: address.to_owned(),
            connection,
            end: None,
            is_dropped: false,
            unsettled: Vec::new(),
            held: VecDeque::new(),
            outcomes: Vec::new(),
        });
        Ok(self.links.len() - 1)
    }

    fn end_of(&self, link: usize) -> Option<AmqpError> {
        let link = &self.links[link];
        self.connections[link.connection]
            .end
            .clone()
            .or_else(|| link.end.clone())
    }

    fn is_silent(&self, link: usize) -> bool {
        self.connections[self.links[link].connection].is_silent
    }

    fn end_link(&mut self, link: usize, error: AmqpError) {
        self.links[link].end.get_or_insert(error);
        self.give_back(link);
    }

    fn end_connection(&mut self, connection: usize, error: AmqpError) {
        self.connections[connection].end.get_or_insert(error);
        for link in 0..self.links.len() {
            if self.links[link].connection == connection {
                self.give_back(link);
            }
        }
    }

    /// Makes what a link has left unsettled ready for the next.
    fn give_back(&mut self, link: usize) {
        let address = self.links[link].address.clone();
        let unsettled = std::mem::take(&mut self.links[link].unsettled);
        let unsettled = unsettled.into_iter().map(|delivery| (address.clone(), delivery));
        self.inbox.splice(0..0, unsettled);
    }

    /// An error reaches as far as its scope says.
    fn end(&mut self, link: usize, error: AmqpError) {
        match error.scope {
            AmqpScope::Message => {}
            AmqpScope::Link | AmqpScope::Session => self.end_link(link, error),
            AmqpScope::Connection => self.end_connection(self.links[link].connection, error),
        }
    }
}

impl fmt::Debug for ScriptedAmqp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedAmqp")
    }
}

impl TokenAnswer {
    /// The token is taken, with the status that hubs answer.
    pub fn ok() -> Self {
        Self::Status(200, "OK".to_owned())
    }

    /// The token is refused.
    pub fn refused(status: i32) -> Self {
        Self::Status(status, format!("refused with {status}"))
    }
}

impl SendAnswer {
    /// The message is rejected with a condition.
    pub fn rejected(condition: &'static str) -> Self {
        Self::Settle(Outcome::Rejected {
            condition: Some(condition.into()),
            description: Some(format!("rejected with {condition}")),
            info: Vec::new(),
        })
    }
}
