use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use iothub_core::{HubErrorCode, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    Event, Hub, Journal,
    amqp_faults::AmqpFaults,
    fault::{Fault, Victim},
    options::wrong,
};

/// What shall go wrong, asked for by name. Clones are handles to the same list.
///
/// Faults happen in the order in which they were asked for, one a request, whatever the request is. To connections they
/// happen one a connection, of any protocol, when it is accepted.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> iothub_core::Result<()> {
/// use iothub_emulator::{Emulator, EmulatorOptions, Fault, When};
///
/// let emulator = Emulator::start(EmulatorOptions::default()).await?;
/// let faults = emulator.faults();
/// faults.throttle_next(2);
/// faults.inject(Fault::CutAnswer { after: 10 }, When::Next(1))?;
/// faults.inject(Fault::SplitConnection, When::Chance { probability: 0.1, seed: 7 })?;
/// assert_eq!(faults.scheduled().len(), 3);
/// faults.clear();
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Faults {
    scheduled: Arc<Mutex<Vec<Scheduled>>>,
    drops: Arc<watch::Sender<()>>,
    transfers_are_held: Arc<watch::Sender<bool>>,
    amqp: AmqpFaults,
}

/// When a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// The next so many times that it can, after what was asked for before.
    Next(usize),
    /// Each time that it can with this probability, until faults are [cleared](Faults::clear).
    ///
    /// The same seed makes the same choices.
    Chance {
        /// From 0 to 1.
        probability: f64,
        /// Any number.
        seed: u64,
    },
}

struct Scheduled {
    fault: Fault,
    when: When,
    random: fastrand::Rng,
}

impl Faults {
    /// Lets a fault happen.
    ///
    /// # Errors
    ///
    /// A parameter of the fault, or the probability, is not one that can be.
    pub fn inject(&self, fault: Fault, when: When) -> Result<()> {
        fault.check()?;
        let seed = match when {
            When::Chance { probability, .. } if !(0.0..=1.0).contains(&probability) => {
                return Err(wrong(format!("a probability is from 0 to 1, and not {probability}")));
            }
            When::Chance { seed, .. } => seed,
            When::Next(_) => 0,
        };
        let random = fastrand::Rng::with_seed(seed);
        self.lock().push(Scheduled { fault, when, random });
        Ok(())
    }

    /// What can still happen, in the order in which it was asked for.
    pub fn scheduled(&self) -> Vec<(Fault, When)> {
        let scheduled = self.lock();
        scheduled.iter().map(|one| (one.fault.clone(), one.when)).collect()
    }

    /// Drops every connection of every protocol that is open now, without a word.
    pub fn drop_connections(&self) {
        self.drops.send_replace(());
        self.amqp.drop_connections();
    }

    /// Answers the next `count` requests with `ThrottlingException`, and does nothing for them.
    pub fn throttle_next(&self, count: usize) {
        self.refuse_next(HubErrorCode::ThrottlingException, count);
    }

    /// Answers the next `count` requests with `code`, and does nothing for them.
    pub fn refuse_next(&self, code: HubErrorCode, count: usize) {
        let retry_after = None;
        self.add(Fault::Refuse { code, retry_after }, count);
    }

    /// Carries out the next `count` requests and ends the connection instead of answering.
    pub fn lose_next_answers(&self, count: usize) {
        self.add(Fault::LoseAnswer, count);
    }

    /// Ends the connection at the next `count` requests, and does nothing for them.
    pub fn lose_next_requests(&self, count: usize) {
        self.add(Fault::LoseRequest, count);
    }

    /// Lets import and export jobs stay enqueued until [`release_transfers`](Self::release_transfers).
    pub fn hold_transfers(&self) {
        self.transfers_are_held.send_replace(true);
    }

    /// Lets import and export jobs run again.
    pub fn release_transfers(&self) {
        self.transfers_are_held.send_replace(false);
    }

    /// What shall go wrong on AMQP connections alone.
    pub fn amqp(&self) -> &AmqpFaults {
        &self.amqp
    }

    /// Forgets what has not happened yet.
    pub fn clear(&self) {
        self.lock().clear();
        self.release_transfers();
        self.amqp.clear();
    }

    /// Returns when no import or export job is to be held.
    pub(crate) async fn transfers_released(&self) {
        let mut held = self.transfers_are_held.subscribe();
        // The sender lives as long as `self` does, so that this cannot fail.
        let _ = held.wait_for(|held| !held).await;
    }

    /// What happens to a victim that is there now.
    pub(crate) fn take(&self, victim: Victim<'_>) -> Option<Fault> {
        let mut scheduled = self.lock();
        // Nearly always.
        if scheduled.is_empty() {
            return None;
        }
        let happens = |one: &mut Scheduled| one.fault.happens_to(victim) && one.happens();
        let at = scheduled.iter_mut().position(happens)?;
        let one = scheduled.get_mut(at)?;
        let fault = one.fault.clone();
        if one.when == When::Next(0) {
            scheduled.remove(at);
        }
        Some(fault)
    }

    /// The same, written down.
    pub(crate) fn take_for(&self, victim: Victim<'_>, journal: &Journal) -> Option<Fault> {
        let fault = self.take(victim)?;
        journal.record(Event::Fault { name: fault.name() });
        Some(fault)
    }

    /// Hears when connections are to be dropped.
    pub(crate) fn drops(&self) -> watch::Receiver<()> {
        self.drops.subscribe()
    }

    fn add(&self, fault: Fault, count: usize) {
        if count > 0 {
            self.lock().push(Scheduled {
                fault,
                when: When::Next(count),
                random: fastrand::Rng::with_seed(0),
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Scheduled>> {
        self.scheduled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// The fault that happens to something of this kind now, written down.
    pub(crate) fn fault_for(&self, victim: Victim<'_>) -> Option<Fault> {
        self.faults().take_for(victim, self.journal())
    }
}

impl Scheduled {
    fn happens(&mut self) -> bool {
        match &mut self.when {
            When::Next(left) => {
                *left = left.saturating_sub(1);
                true
            }
            When::Chance { probability, .. } => self.random.f64() < *probability,
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.scheduled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(faults: &Faults, victim: Victim<'_>, count: usize) -> Vec<Option<&'static str>> {
        (0..count)
            .map(|_| faults.take(victim).map(|fault| fault.name()))
            .collect()
    }

    #[test]
    fn faults_happen_in_order_to_what_they_can_happen_to() {
        let faults = Faults::default();
        faults.inject(Fault::CutAnswer { after: 1 }, When::Next(1)).unwrap();
        faults.lose_next_answers(2);
        faults.inject(Fault::RefuseConnection, When::Next(1)).unwrap();
        assert_eq!(names(&faults, Victim::Message, 1), [Some("lose-answer")]);
        assert_eq!(names(&faults, Victim::Connection, 2), [Some("refuse-connection"), None]);
        assert_eq!(
            names(&faults, Victim::Request { continues: false }, 3),
            [Some("cut-answer"), Some("lose-answer"), None]
        );
        assert!(faults.scheduled().is_empty());
    }

    #[test]
    fn links_and_pages_are_picked_by_what_they_are() {
        let faults = Faults::default();
        let devicebound = "DeviceBound".to_owned();
        for fault in [
            Fault::LimitCredit {
                address: devicebound,
                credit: 0,
            },
            Fault::EmptyPage,
        ] {
            faults.inject(fault, When::Next(1)).unwrap();
        }
        let link = |address, takes| Victim::Link { address, takes };
        assert_eq!(names(&faults, link("$cbs", true), 1), [None]);
        assert_eq!(names(&faults, link("/messages/devicebound", false), 1), [None]);
        assert_eq!(
            names(&faults, link("/messages/devicebound", true), 2),
            [Some("limit-credit"), None]
        );
        assert_eq!(names(&faults, Victim::Request { continues: false }, 1), [None]);
        assert_eq!(
            names(&faults, Victim::Request { continues: true }, 1),
            [Some("empty-page")]
        );
    }

    #[test]
    fn a_seed_makes_the_same_choices() {
        let choices = |seed| {
            let faults = Faults::default();
            let when = When::Chance {
                probability: 0.25,
                seed,
            };
            faults.inject(Fault::LoseRequest, when).unwrap();
            names(&faults, Victim::Request { continues: false }, 1000)
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
        let happened = choices(7).iter().flatten().count();
        assert!((180..320).contains(&happened), "{happened}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let faults = Faults::default();
        for (fault, when, part) in [
            (
                Fault::SlowAnswer { bytes_per_second: 0 },
                When::Next(1),
                "bytesPerSecond",
            ),
            (
                Fault::LoseAnswer,
                When::Chance {
                    probability: 1.5,
                    seed: 0,
                },
                "from 0 to 1",
            ),
            (
                Fault::Redirect {
                    location: "/".into(),
                    status: 200,
                },
                When::Next(1),
                "from 300 to 399",
            ),
            (Fault::RefuseSasl { outcome: 0 }, When::Next(1), "from 1 to 4"),
            (Fault::RefuseUpgrade { status: 101 }, When::Next(1), "from 400 to 599"),
        ] {
            let error = faults.inject(fault, when).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn names_are_those_of_json() {
        for (json, name) in [
            (r#"{"name":"refuse","code":"ServerError","retryAfter":"-5"}"#, "refuse"),
            (r#"{"name":"delay-answer","by":"2s"}"#, "delay-answer"),
            (r#"{"name":"garble-answer","kind":"byte-order-mark"}"#, "garble-answer"),
            (r#"{"name":"cut-connection","afterRead":5}"#, "cut-connection"),
            (r#"{"name":"certificate","flaw":"not-yet-valid"}"#, "certificate"),
            (
                r#"{"name":"return-message","outcome":"undeliverable"}"#,
                "return-message",
            ),
            (r#"{"name":"idle-time-out"}"#, "idle-time-out"),
            (
                r#"{"name":"redirect-link","address":"devicebound","host":"elsewhere"}"#,
                "redirect-link",
            ),
            (
                r#"{"name":"garble-settlement","kind":"unsettled-first"}"#,
                "garble-settlement",
            ),
            (
                r#"{"name":"garble-web-socket","kind":"going-away"}"#,
                "garble-web-socket",
            ),
        ] {
            let fault: Fault = serde_json::from_str(json).unwrap();
            assert_eq!(fault.name(), name);
            let again = serde_json::to_value(&fault).unwrap();
            assert_eq!(again["name"], name);
        }
        for json in [
            r#"{"name":"explode"}"#,
            r#"{"name":"cut-answer"}"#,
            r#"{"name":"cut-answer","after":1,"x":1}"#,
        ] {
            assert!(serde_json::from_str::<Fault>(json).is_err(), "{json}");
        }
    }
}
