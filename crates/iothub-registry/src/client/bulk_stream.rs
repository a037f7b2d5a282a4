use std::{
    collections::{HashSet, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use azure_core::{error::ErrorKind, http, http::StatusCode, sleep};
use futures::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{BoxStream, Fuse, FuturesOrdered},
};
use iothub_core::{CallFacts, DeviceId, Error, HubError, HubPipeline, Result};

use super::{
    bulk::{MOST, request},
    parts,
};
use crate::{BulkItemResult, BulkOperation, BulkOptions, BulkOutcome, bulk_item::BulkItem, bulk_result};

/// Cuts a stream of operations into calls and makes one stream of their answers.
pub(super) struct BulkStream<'a> {
    calls: Calls,
    operations: Fuse<BoxStream<'a, BulkOperation>>,
    /// What the next call will hold.
    gathered: Vec<BulkOperation>,
    /// An operation that has to wait until another one on its device has been answered.
    held: Option<BulkOperation>,
    /// The devices of what is gathered and of what is under way.
    busy: HashSet<DeviceId>,
    under_way: FuturesOrdered<BoxFuture<'static, Answered>>,
    /// How many calls may be under way at present.
    window: usize,
    answered: VecDeque<BulkItemResult>,
    next_index: u64,
}

/// How calls are made.
pub(super) struct Calls {
    hub: HubPipeline,
    ctx: Arc<http::Context<'static>>,
    in_flight: usize,
    operations_per_call: usize,
    patience: Duration,
}

/// A call that has come to an end.
struct Answered {
    operations: Vec<BulkOperation>,
    outcomes: Vec<BulkOutcome>,
    /// It took more than one try.
    laboured: bool,
}

/// Why no more operations are gathered at the moment.
enum Halt {
    /// The call is full.
    Full,
    /// The next operation has to wait for the answer to another one.
    Held,
    /// The source has nothing now.
    Starved,
    /// The source has nothing more.
    Ended,
}

impl<'a> BulkStream<'a> {
    pub(super) fn new(operations: impl Stream<Item = BulkOperation> + Send + 'a, calls: Calls) -> Self {
        Self {
            window: calls.in_flight,
            calls,
            operations: operations.boxed().fuse(),
            gathered: Vec::new(),
            held: None,
            busy: HashSet::new(),
            under_way: FuturesOrdered::new(),
            answered: VecDeque::new(),
            next_index: 0,
        }
    }

    fn gather(&mut self, cx: &mut Context<'_>) -> Halt {
        while self.gathered.len() < self.calls.operations_per_call {
            let operation = match self.held.take() {
                Some(held) => held,
                None => match self.operations.poll_next_unpin(cx) {
                    Poll::Ready(Some(operation)) => operation,
                    Poll::Ready(None) => return Halt::Ended,
                    Poll::Pending => return Halt::Starved,
                },
            };
            if !self.busy.insert(operation.device_id().clone()) {
                self.held = Some(operation);
                return Halt::Held;
            }
            self.gathered.push(operation);
        }
        Halt::Full
    }

    /// Sends what is gathered, if there is something to send and room for it. Returns whether it did.
    fn send(&mut self, halt: &Halt) -> bool {
        // A source that is slow is not waited for as long as the hub has nothing to do.
        let complete = !matches!(halt, Halt::Starved) || self.under_way.is_empty();
        let send = complete && !self.gathered.is_empty() && self.under_way.len() < self.window;
        if send {
            let operations = std::mem::take(&mut self.gathered);
            self.under_way.push_back(self.calls.call(operations));
        }
        send
    }

    fn end(&mut self, call: Answered) {
        // As with any traffic: half as much when it stalls, a little more each time that it flows.
        self.window = match call.laboured {
            true => (self.window / 2).max(1),
            false => (self.window + 1).min(self.calls.in_flight),
        };
        for (operation, outcome) in call.operations.into_iter().zip(call.outcomes) {
            self.busy.remove(operation.device_id());
            self.answered.push_back(BulkItemResult {
                index: self.next_index,
                operation,
                outcome,
            });
            self.next_index += 1;
        }
    }
}

impl Stream for BulkStream<'_> {
    type Item = BulkItemResult;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BulkItemResult>> {
        loop {
            if let Some(result) = self.answered.pop_front() {
                return Poll::Ready(Some(result));
            }
            let halt = self.gather(cx);
            if self.send(&halt) {
                continue;
            }
            match self.under_way.poll_next_unpin(cx) {
                Poll::Ready(Some(call)) => self.end(call),
                // With nothing under way, nothing is held, and what was gathered has been sent.
                Poll::Ready(None) if matches!(halt, Halt::Ended) => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Calls {
    pub(super) fn new(hub: HubPipeline, options: BulkOptions<'_>) -> Result<Self> {
        let in_flight = options.calls_in_flight.unwrap_or(IN_FLIGHT);
        let operations_per_call = options.operations_per_call.unwrap_or(MOST);
        if in_flight == 0 {
            return Err(Error::with_message(
                ErrorKind::DataConversion,
                "`calls_in_flight` is 0, and at least 1 is needed",
            ));
        }
        if !(1..=MOST).contains(&operations_per_call) {
            return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                format!("`operations_per_call` is {operations_per_call}, and a call holds 1 to {MOST}")
            }));
        }
        Ok(Self {
            hub,
            ctx: Arc::new(options.method_options.context.into_owned()),
            in_flight,
            operations_per_call,
            patience: options.patience.unwrap_or(PATIENCE),
        })
    }

    fn call(&self, operations: Vec<BulkOperation>) -> BoxFuture<'static, Answered> {
        let (hub, ctx, patience) = (self.hub.clone(), Arc::clone(&self.ctx), self.patience);
        async move {
            let (outcomes, laboured) = outcomes(&hub, &ctx, &operations, patience).await;
            Answered {
                operations,
                outcomes,
                laboured,
            }
        }
        .boxed()
    }
}

/// One outcome for each operation, and whether it took more than one try.
async fn outcomes(
    hub: &HubPipeline,
    ctx: &http::Context<'_>,
    operations: &[BulkOperation],
    mut patience: Duration,
) -> (Vec<BulkOutcome>, bool) {
    let items: Vec<BulkItem<'_>> = operations.iter().map(BulkItem::from).collect();
    let request = match request(hub, &items) {
        Ok(request) => request,
        Err(error) => return (unanswered(error, items.len()), false),
    };
    let mut rounds = 0;
    loop {
        match parts::send(hub, ctx, request.clone()).await {
            Ok((answer, attempts)) => return (bulk_result::outcomes(&items, answer), attempts > 1 || rounds > 0),
            Err(error) => {
                let wait = pause(&error, rounds).filter(|wait| *wait <= patience);
                let Some(wait) = wait else {
                    return (unanswered(error, items.len()), true);
                };
                tracing::debug!(?wait, "the hub throttles; the bulk call is made again");
                patience -= wait;
                rounds += 1;
                sleep(wait.try_into().unwrap_or_default()).await;
            }
        }
    }
}

/// How long to wait before a call that was throttled and not carried out is made again. `None` for every other error.
fn pause(error: &Error, rounds: u32) -> Option<Duration> {
    let facts = CallFacts::of(error)?;
    let throttled = HubError::of(error).is_some_and(|hub| hub.code.is_throttling())
        || error.http_status() == Some(StatusCode::TooManyRequests);
    let by_itself = FIRST_PAUSE
        .saturating_mul(2_u32.saturating_pow(rounds))
        .min(LONGEST_PAUSE);
    (throttled && !facts.maybe_applied).then(|| by_itself.max(facts.retry_after.unwrap_or_default()))
}

fn unanswered(error: Error, count: usize) -> Vec<BulkOutcome> {
    vec![BulkOutcome::Unanswered(Arc::new(error)); count]
}

const IN_FLIGHT: usize = 4;
const PATIENCE: Duration = Duration::from_secs(600);
/// What other clients wait when a hub throttles them.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
