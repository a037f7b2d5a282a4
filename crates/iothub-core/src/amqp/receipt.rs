use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use azure_core::Result;
use futures::{FutureExt, future::BoxFuture};

use super::{Outcome, Receipt, slot::AttachedSender, transmission::Transmission};
use crate::deadline::Deadline;

/// The settlement of a message, in the future.
///
/// It resolves at the latest when the time of the call is over. Dropping it does not take the message back.
///
/// # Errors
///
/// A [`HubError`](crate::HubError) with the hub's reason, if the hub refused the message.
/// [`CallFacts::maybe_applied`](crate::CallFacts::maybe_applied) tells whether it may have been stored all the same.
pub struct HubReceipt {
    state: State,
}

/// What is known of a message that the hub accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// How often it was tried.
    pub attempts: u32,
}

enum State {
    /// The first try, which mostly is the only one.
    UnderWay(Box<FirstTry>),
    Again(BoxFuture<'static, Result<Sent>>),
    Done,
}

struct FirstTry {
    transmission: Transmission,
    link: Arc<AttachedSender>,
    receipt: Receipt,
    deadline: Deadline,
}

impl HubReceipt {
    pub(super) fn new(
        transmission: Transmission,
        link: Arc<AttachedSender>,
        receipt: Receipt,
        deadline: Deadline,
    ) -> Self {
        let first = FirstTry {
            transmission,
            link,
            receipt,
            deadline,
        };
        Self {
            state: State::UnderWay(Box::new(first)),
        }
    }
}

impl Future for HubReceipt {
    type Output = Result<Sent>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.state {
            State::Done => return Poll::Pending,
            State::Again(future) => futures::ready!(future.poll_unpin(cx)),
            State::UnderWay(first) => match first.receipt.poll_unpin(cx) {
                Poll::Ready(Ok(Outcome::Accepted)) => Ok(first.transmission.accepted(&first.link)),
                Poll::Ready(settled) => {
                    self.state = std::mem::replace(&mut self.state, State::Done).again(settled);
                    return self.poll(cx);
                }
                Poll::Pending => {
                    futures::ready!(first.deadline.poll_unpin(cx));
                    Err(first.transmission.unsettled(&first.link))
                }
            },
        };
        self.state = State::Done;
        Poll::Ready(result)
    }
}

impl State {
    /// Goes on after the first try came to nothing, until the deadline that it had.
    fn again(self, settled: Result<Outcome>) -> Self {
        let Self::UnderWay(first) = self else { return self };
        let FirstTry {
            mut transmission,
            link,
            mut deadline,
            ..
        } = *first;
        Self::Again(Box::pin(async move {
            match deadline.bound(transmission.follow(link, settled)).await {
                Some(result) => result,
                None => Err(transmission.late()),
            }
        }))
    }
}

impl fmt::Debug for HubReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubReceipt")
    }
}
