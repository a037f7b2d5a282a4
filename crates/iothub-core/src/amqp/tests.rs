//! The machine above the seam, over a scripted hub and in paused time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{Error, Result, credentials::Secret, error::ErrorKind};
use time::OffsetDateTime;

use super::*;
use crate::{CallFacts, HubError, testing::ScriptedAmqp};

mod authorization;
mod contention;
mod life_cycle;
mod receiving;
mod recovery_table;
mod sending;

const C2D: &str = "/messages/devicebound";
const FEEDBACK: &str = "/messages/servicebound/feedback";

/// A token source that numbers its tokens, and remembers what it was asked and told.
#[derive(Debug)]
struct Tokens {
    lifetime: Duration,
    state: Mutex<TokenState>,
}

#[derive(Debug, Default)]
struct TokenState {
    current: Option<CbsToken>,
    made: usize,
    refused: Vec<String>,
    failures: VecDeque<ErrorKind>,
    keeps_token: bool,
}

impl Tokens {
    fn living(lifetime: Duration) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { lifetime, state })
    }

    fn made(&self) -> usize {
        self.state.lock().unwrap().made
    }

    fn refusals(&self) -> Vec<String> {
        self.state.lock().unwrap().refused.clone()
    }

    fn fail(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.state.lock().unwrap().failures.extend(kinds);
    }

    /// From now on there is no new token.
    fn keep(&self) {
        self.state.lock().unwrap().keeps_token = true;
    }
}

#[async_trait]
impl CbsTokenSource for Tokens {
    async fn token(&self) -> Result<CbsToken> {
        let mut state = self.state.lock().unwrap();
        if let Some(kind) = state.failures.pop_front() {
            return Err(Error::with_message(kind, "no token to be had"));
        }
        if let (true, Some(token)) = (state.keeps_token, &state.current) {
            return Ok(token.clone());
        }
        state.made += 1;
        let token = CbsToken {
            kind: CbsTokenKind::Sas,
            secret: Secret::new(format!("SharedAccessSignature {}", state.made)),
            expires_on: OffsetDateTime::now_utc() + self.lifetime,
        };
        state.current = Some(token.clone());
        Ok(token)
    }

    fn refused(&self, token: &CbsToken) {
        let mut state = self.state.lock().unwrap();
        state.refused.push(token.secret.secret().to_owned());
        state.keeps_token = false;
    }
}

fn connect(hub: &ScriptedAmqp) -> HubConnection {
    connect_with(hub, Tokens::living(HOUR))
}

fn connect_with(hub: &ScriptedAmqp, tokens: Arc<Tokens>) -> HubConnection {
    let host = "my-hub.azure-devices.net".parse().unwrap();
    HubConnection::new(host, Arc::new(hub.clone()), tokens, HubConnectionOptions::default())
}

fn c2d(connection: &HubConnection) -> HubSender {
    connection.sender(SenderLink {
        address: C2D.to_owned(),
        ..SenderLink::default()
    })
}

fn feedback(connection: &HubConnection) -> HubReceiver {
    connection.receiver(ReceiverLink {
        address: FEEDBACK.to_owned(),
        credit: 10,
        ..ReceiverLink::default()
    })
}

fn message(id: impl ToString) -> AmqpMessage {
    AmqpMessage {
        message_id: Some(AmqpValue::String(id.to_string())),
        ..AmqpMessage::default()
    }
}

async fn send(sender: &HubSender, id: impl ToString) -> Result<Sent> {
    sender.send(message(id), SendOptions::default()).await?.await
}

/// The ids of the messages that the hub took.
fn ids(hub: &ScriptedAmqp) -> Vec<String> {
    let id = |message: &AmqpMessage| message.message_id.as_ref()?.as_str().map(str::to_owned);
    hub.sent().iter().filter_map(id).collect()
}

fn code(error: &Error) -> Option<String> {
    HubError::of(error).map(|hub| hub.code.as_str().to_owned())
}

fn facts(error: &Error) -> CallFacts {
    *CallFacts::of(error).expect("every error of a call has them")
}

fn end_of(scope: AmqpScope) -> AmqpError {
    AmqpError::new(scope)
}

const HOUR: Duration = Duration::from_secs(3600);
