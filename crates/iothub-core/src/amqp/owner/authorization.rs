use std::{sync::Arc, time::Duration};

use super::{Authorizing, Event, Owner, Put, STEADY, State};
use crate::amqp::{
    AmqpScope, CbsToken,
    cbs::{self, Authorization, Cbs, Unauthorized},
    fault::Fault,
    recovery::Next,
};
use crate::schedule::{Schedule, chance};

/// The authorization of the connection, and its renewal in place.
impl Owner {
    pub(super) fn authorize(&mut self, put: Put) {
        let State::Open(open) = &mut self.state else { return };
        open.authorizing = Some(Authorizing { put, is_stale: false });
        open.timers += 1;
        let mut links = open.cbs.take();
        let held = open.token.clone().filter(|_| put == Put::IfNew);
        let connection = Arc::clone(&open.connection);
        let config = Arc::clone(&self.config);
        self.work.push(Box::pin(async move {
            let how = Authorization {
                connection: &*connection,
                tokens: &*config.tokens,
                audience: config.host.name(),
                timeout: config.options.authorize_timeout,
                held: held.as_ref(),
            };
            let result = cbs::authorize(&mut links, how).await;
            Event::Authorized { cbs: links, result }
        }));
    }

    fn authorize_after(&mut self, wait: Duration) {
        let State::Open(open) = &mut self.state else { return };
        open.timers += 1;
        let timer = open.timers;
        self.after(wait, Event::AuthorizationDue { timer });
    }

    pub(super) fn on_authorization_due(&mut self, due: u64) {
        let is_wanted = self.is_wanted();
        let State::Open(open) = &self.state else { return };
        if open.timers != due || open.authorizing.is_some() {
            return;
        }
        match (open.is_authorized, is_wanted) {
            (true, _) => self.authorize(Put::IfNew),
            (false, true) => self.authorize(Put::Always),
            (false, false) => drop(self.disconnect()),
        }
    }

    pub(super) fn on_authorized(&mut self, links: Option<Cbs>, result: Result<CbsToken, Unauthorized>) {
        let State::Open(open) = &mut self.state else { return };
        open.cbs = links;
        let Some(Authorizing { put, is_stale }) = open.authorizing.take() else {
            return;
        };
        let was_suspect = std::mem::take(&mut open.is_suspect);
        match result {
            _ if is_stale => self.authorize(Put::Always),
            Ok(token) => self.on_token_accepted(token, put),
            Err(Unauthorized::NoAnswer) if was_suspect || !open.is_authorized => {
                self.on_connection_lost(&Fault::unauthorized(Unauthorized::NoAnswer));
            }
            Err(why) => {
                let fault = Fault::unauthorized(why);
                tracing::warn!(host = %self.config.host, %fault, "the hub did not take a token");
                self.on_token_failed(&fault);
            }
        }
    }

    fn on_token_accepted(&mut self, token: CbsToken, put: Put) {
        let State::Open(open) = &mut self.state else { return };
        let left = cbs::left(&token);
        let is_old = put == Put::IfNew && open.token.as_ref().is_some_and(|held| cbs::is_same(held, &token));
        let kind = token.kind;
        open.failures = 0;
        open.token = Some(token);
        let is_first = !std::mem::replace(&mut open.is_authorized, true);
        // The source had no new token yet: it knows when there will be one, so ask again soon.
        self.authorize_after(match is_old {
            true => cbs::renewal_retry(left),
            false => cbs::renewal(kind, left),
        });
        self.config.set_trouble(None);
        if is_first {
            for reply in self.warm_ups.drain(..) {
                let _ = reply.send(Ok(()));
            }
            self.after(STEADY, Event::Steady);
            self.serve_all();
        }
    }

    fn on_token_failed(&mut self, fault: &Fault) {
        let State::Open(open) = &mut self.state else { return };
        if open.is_authorized {
            // The old token still counts, so that nobody who sends or receives sees this.
            let left = open.token.as_ref().map_or(Duration::ZERO, cbs::left);
            return self.authorize_after(cbs::renewal_retry(left));
        }
        let failures = open.failures;
        open.failures += 1;
        self.config.set_trouble(Some(fault));
        let wait = match fault.recovery.next {
            Next::Surface | Next::Authorize => {
                let mut fault = fault.clone();
                fault.recovery.next = Next::Surface;
                return self.on_connection_lost(&fault);
            }
            Next::Retry if fault.recovery.rebuild == AmqpScope::Connection => return self.on_connection_lost(fault),
            Next::Retry => Schedule::Normal.delay(failures, chance()),
            Next::Throttle => Schedule::Throttle.delay(failures, chance()),
        };
        self.report(fault);
        self.authorize_after(wait);
    }

    /// Has the connection authorized with a token that the hub has not refused. Links wait until that is done.
    pub(super) fn authorize_anew(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        // Several links may find out at once that a token is not good any more; the first of them changes that.
        if !std::mem::replace(&mut open.is_authorized, false) {
            return;
        }
        if let Some(token) = open.token.take() {
            self.config.tokens.refused(&token);
        }
        match &mut open.authorizing {
            Some(under_way) => under_way.is_stale = true,
            None => self.authorize(Put::Always),
        }
    }
}
