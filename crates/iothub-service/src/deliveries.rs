use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{Stream, StreamExt};
use iothub_core::Result;

use crate::{
    Delivery, ReceiverStatus, ReceiverWatch,
    intake::{Intake, Membership},
};

/// A stream of what the hub has to tell the backend, which mends itself.
///
/// It yields deliveries, and errors that somebody has to know of: the hub refuses the link or the credential, or sent
/// something that cannot be read. It goes on after each of them. A connection that is lost is no error: it is made anew,
/// and [`watch`](Self::watch) shows it. The stream ends when the client is closed.
///
/// Nothing is opened before it is polled. What cannot be read stays with the hub, which delivers it again until it gives
/// up on it.
///
/// All streams of a client and its clones for the same thing share one link, and each delivery goes to one of them.
/// Backends compete in the same way: what another process has received does not come here.
///
/// When a stream is dropped, what it has received and not yielded goes to another, or back to the hub.
#[doc(alias = "FeedbackReceiver")]
#[doc(alias = "FileNotificationReceiver")]
#[must_use = "streams do nothing unless polled"]
pub struct Deliveries<T> {
    intake: Arc<Intake<T>>,
    credit: u32,
    /// Makes the stream a consumer of its link.
    join: Join<T>,
    state: State<T>,
}

pub(crate) type Join<T> = fn(&Arc<Intake<T>>, u32) -> Result<Membership<T>>;

enum State<T> {
    Unopened,
    Open(Membership<T>),
    Ended,
}

impl<T> Deliveries<T> {
    pub(crate) fn new(intake: Arc<Intake<T>>, credit: u32, join: Join<T>) -> Self {
        Self {
            intake,
            credit,
            join,
            state: State::Unopened,
        }
    }

    /// How the link is now.
    pub fn status(&self) -> ReceiverStatus {
        self.watch().status()
    }

    /// What tells how the link is, while this stream is read elsewhere.
    pub fn watch(&self) -> ReceiverWatch {
        self.intake.watch()
    }
}

impl<T> Stream for Deliveries<T> {
    type Item = Result<Delivery<T>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Unopened => match (self.join)(&self.intake, self.credit) {
                    Ok(membership) => self.state = State::Open(membership),
                    Err(error) => {
                        self.state = State::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                State::Open(membership) => {
                    match ready!(membership.items.poll_next_unpin(cx)) {
                        // Its link has ended while it waited here, so it comes again: yielded it would be there twice.
                        Some(Ok(delivery)) if !delivery.is_ours() => continue,
                        Some(item) => return Poll::Ready(Some(item)),
                        None => {}
                    }
                    // Either the client was closed, or the runtime of the receiving task has ended and ours has not.
                    self.state = match self.intake.is_closed() {
                        true => State::Ended,
                        false => State::Unopened,
                    };
                }
            }
        }
    }
}

impl<T> fmt::Debug for Deliveries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
