use std::time::Duration;

use azure_core::{Error, Result, error::ErrorKind};
use futures::{
    FutureExt,
    future::{Either, FusedFuture, select},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    AmqpBody, AmqpConnection, AmqpError, AmqpMessage, AmqpReceiver, AmqpScope, AmqpSender, AmqpValue, CbsToken,
    CbsTokenKind, CbsTokenSource, Outcome, ReceiverLink, SenderLink, Settlement,
};
use crate::{deadline::within, schedule::chance};

/// The pair of links to `$cbs`, over which a connection is authorized.
///
/// A put-token borrows the pair mutably, so that there is one at a time.
#[derive(Debug)]
pub(super) struct Cbs {
    sender: Box<dyn AmqpSender>,
    receiver: Box<dyn AmqpReceiver>,
}

/// What `$cbs` answered.
#[derive(Debug)]
pub(super) enum Answer {
    Ok,
    Refused { status: i64, description: String },
}

/// Why a connection is not authorized.
#[derive(Debug)]
pub(super) enum Unauthorized {
    /// There is no token to be had.
    Token(Error),
    /// `$cbs` refused the token.
    Refused { status: i64, description: String },
    /// The links to `$cbs` could not be made or broke.
    Link(Error),
    /// `$cbs` did not answer in time.
    NoAnswer,
}

/// How to authorize a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authorization<'a> {
    pub(super) connection: &'a dyn AmqpConnection,
    pub(super) tokens: &'a dyn CbsTokenSource,
    pub(super) audience: &'a str,
    pub(super) timeout: Duration,
    /// The token that the hub holds already and that need not be sent again.
    pub(super) held: Option<&'a CbsToken>,
}

impl Cbs {
    async fn open(connection: &dyn AmqpConnection) -> Result<Self> {
        // The receiver first: an answer always finds a link.
        let receiver = connection
            .receiver(ReceiverLink {
                address: ADDRESS.to_owned(),
                credit: CREDIT,
                ..ReceiverLink::default()
            })
            .await?;
        let sender = connection
            .sender(SenderLink {
                address: ADDRESS.to_owned(),
                ..SenderLink::default()
            })
            .await?;
        Ok(Self { sender, receiver })
    }

    async fn put_token(&mut self, audience: &str, token: &CbsToken) -> Result<Answer> {
        let id = AmqpValue::String(Uuid::new_v4().to_string());
        let mut receipt = self.sender.send(put_token(audience, token, id.clone())).await?.fuse();
        loop {
            let receiving = self.receiver.recv();
            let delivery = if receipt.is_terminated() {
                receiving.await?
            } else {
                match select(receiving, &mut receipt).await {
                    Either::Left((delivery, _)) => delivery?,
                    Either::Right((outcome, _)) => match outcome? {
                        Outcome::Accepted => continue,
                        outcome => return not_taken(outcome),
                    },
                }
            };
            // A reply that cannot be settled has said all the same what it came to say.
            let settled = self
                .receiver
                .settler()
                .settle(&delivery.tag, Settlement::Accepted)
                .await;
            if let Err(error) = settled {
                tracing::debug!(%error, "the answer of $cbs could not be settled");
            }
            // An answer to a request that was given up may still come in.
            if delivery.message.correlation_id.as_ref() == Some(&id) {
                return answer(&delivery.message);
            }
        }
    }
}

/// Authorizes a connection, over `cbs` if that pair of links still works. The pair in use afterwards stays in `cbs`.
///
/// A token that is refused with 401 is reported to its source, whose next token gets one try.
pub(super) async fn authorize(
    cbs: &mut Option<Cbs>,
    how: Authorization<'_>,
) -> std::result::Result<CbsToken, Unauthorized> {
    let mut refused_before = false;
    loop {
        let token = how.tokens.token().await.map_err(Unauthorized::Token)?;
        if how.held.is_some_and(|held| is_same(held, &token)) && !refused_before {
            return Ok(token);
        }
        match put(cbs, how, &token).await? {
            Answer::Ok => return Ok(token),
            Answer::Refused { status: 401, .. } if !refused_before => {
                refused_before = true;
                how.tokens.refused(&token);
            }
            Answer::Refused { status, description } => return Err(Unauthorized::Refused { status, description }),
        }
    }
}

async fn put(
    cbs: &mut Option<Cbs>,
    how: Authorization<'_>,
    token: &CbsToken,
) -> std::result::Result<Answer, Unauthorized> {
    loop {
        let is_fresh = cbs.is_none();
        let put = async {
            let links = match cbs.take() {
                Some(links) => links,
                None => Cbs::open(how.connection).await?,
            };
            let links = cbs.insert(links);
            links.put_token(how.audience, token).await
        };
        match within(how.timeout, put).await {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(error)) => {
                *cbs = None;
                // Links that worked before may have been closed since for being idle, which new links mend.
                if is_fresh {
                    return Err(Unauthorized::Link(error));
                }
            }
            None => {
                *cbs = None;
                return Err(Unauthorized::NoAnswer);
            }
        }
    }
}

/// When to renew a token with `left` to live: at 80 % of that, 5 % more or less, and a JWT of a usual lifetime not in its
/// last five minutes, in which its source may be busy to get the next.
pub(super) fn renewal(kind: CbsTokenKind, left: Duration) -> Duration {
    let due = left.mul_f64(0.75 + 0.1 * chance());
    let latest = match kind {
        CbsTokenKind::Jwt if left > Duration::from_secs(600) => left - Duration::from_secs(300),
        _ => left,
    };
    due.min(latest)
}

/// When to try again to renew a token with `left` to live: 30 seconds, or sooner in the end.
pub(super) fn renewal_retry(left: Duration) -> Duration {
    if left.is_zero() {
        return Duration::from_secs(30);
    }
    (left / 10).clamp(Duration::from_secs(1), Duration::from_secs(30))
}

/// How long a token lives from now.
pub(super) fn left(token: &CbsToken) -> Duration {
    (token.expires_on - OffsetDateTime::now_utc())
        .try_into()
        .unwrap_or_default()
}

pub(super) fn is_same(held: &CbsToken, token: &CbsToken) -> bool {
    held.expires_on == token.expires_on && held.secret.secret() == token.secret.secret()
}

fn put_token(audience: &str, token: &CbsToken, id: AmqpValue) -> AmqpMessage {
    let (kind, body) = match token.kind {
        CbsTokenKind::Sas => ("servicebus.windows.net:sastoken", token.secret.secret().to_owned()),
        CbsTokenKind::Jwt => ("Bearer", format!("Bearer {}", token.secret.secret())),
    };
    let property = |name: &str, value: AmqpValue| (name.to_owned(), value);
    AmqpMessage {
        message_id: Some(id),
        to: Some(ADDRESS.to_owned()),
        reply_to: Some("cbs".to_owned()),
        application_properties: vec![
            property("operation", "put-token".into()),
            property("type", kind.into()),
            property("name", audience.into()),
            property("expiration", AmqpValue::Timestamp(token.expires_on)),
        ],
        body: AmqpBody::Value(body.into()),
        ..AmqpMessage::default()
    }
}

fn answer(message: &AmqpMessage) -> Result<Answer> {
    let Some(status) = message.application_property("status-code").and_then(AmqpValue::as_i64) else {
        return Err(Error::with_message(
            ErrorKind::DataConversion,
            "the answer of $cbs has no integer `status-code`",
        ));
    };
    let description = message.application_property("status-description");
    Ok(match status {
        200 | 202 => Answer::Ok,
        status => Answer::Refused {
            status,
            description: description.and_then(AmqpValue::as_str).unwrap_or_default().to_owned(),
        },
    })
}

/// What it means that `$cbs` did not accept the request itself.
fn not_taken(outcome: Outcome) -> Result<Answer> {
    let error = AmqpError::new(AmqpScope::Link);
    Err(match outcome {
        Outcome::Rejected {
            condition: Some(condition),
            description,
            ..
        } if condition.as_str() == "amqp:unauthorized-access" => {
            return Ok(Answer::Refused {
                status: 401,
                description: description.unwrap_or_default(),
            });
        }
        Outcome::Rejected {
            condition: Some(condition),
            description,
            ..
        } => error.with_condition(condition, description.unwrap_or_default()),
        _ => error.with_description("$cbs did not take the token"),
    }
    .into())
}

const ADDRESS: &str = "$cbs";

/// One answer at a time, and room for late ones.
const CREDIT: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_at_four_fifths_of_its_life() {
        for minutes in [1, 2, 5, 60] {
            let left = Duration::from_secs(60 * minutes);
            for _ in 0..100 {
                let due = renewal(CbsTokenKind::Sas, left);
                assert!(
                    due >= left.mul_f64(0.75) && due <= left.mul_f64(0.85),
                    "{left:?}: {due:?}"
                );
            }
        }
        assert_eq!(
            renewal(CbsTokenKind::Jwt, Duration::from_secs(720)),
            Duration::from_secs(420)
        );
        assert!(renewal(CbsTokenKind::Jwt, Duration::from_secs(120)) >= Duration::from_secs(90));
    }

    #[test]
    fn a_failed_renewal_waits_ever_shorter_but_never_spins() {
        for (left, wait) in [(3600, 30), (300, 30), (100, 10), (5, 1), (0, 30)] {
            assert_eq!(
                renewal_retry(Duration::from_secs(left)),
                Duration::from_secs(wait),
                "{left}"
            );
        }
    }
}
