//! Faults that devices ask for themselves: SDKs test their recovery by sending a message that names one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use iothub_core::HubErrorCode;
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

use super::{D2cMessage, Event, Failure, Hub, Target, deadlines::Due};

/// What devices have asked for.
#[derive(Default)]
pub(crate) struct InjectedFaults(Mutex<State>);

#[derive(Default)]
struct State {
    /// Not yet due, by number.
    pending: HashMap<u64, (Target, InjectedFault)>,
    count: u64,
    /// Whose messages are refused, how, and from when until when.
    refusals: HashMap<Target, Vec<Refusal>>,
    /// How to break the connection over which a device has sent its last message, if it has no session.
    callers: HashMap<Target, Weak<Notify>>,
}

struct Refusal {
    code: HubErrorCode,
    from: OffsetDateTime,
    until: OffsetDateTime,
}

/// A fault, for the door of the device to carry out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InjectedFault {
    pub(crate) kind: InjectedKind,
    /// What is said about it, where something can be said.
    pub(crate) reason: String,
}

/// What goes, by the names that SDKs have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InjectedKind {
    Tcp,
    AmqpConnection,
    AmqpSession,
    AmqpLink(InjectedLink),
    /// In order, whatever the protocol.
    Shutdown,
}

/// A link, by what goes over it; requests and responses as the device sends or receives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InjectedLink {
    CbsRequests,
    CbsResponses,
    Telemetry,
    Messages,
    TwinRequests,
    TwinResponses,
    MethodRequests,
    MethodResponses,
}

/// What a message asks for.
enum Wish {
    Fault(InjectedKind),
    Refuse(HubErrorCode),
}

impl Wish {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "KillTcp" => Self::Fault(InjectedKind::Tcp),
            "KillAmqpConnection" => Self::Fault(InjectedKind::AmqpConnection),
            "KillAmqpSession" => Self::Fault(InjectedKind::AmqpSession),
            "KillAmqpCBSLinkReq" => Self::Fault(InjectedKind::AmqpLink(InjectedLink::CbsRequests)),
            "KillAmqpCBSLinkResp" => Self::Fault(InjectedKind::AmqpLink(InjectedLink::CbsResponses)),
            "KillAmqpD2CLink" => Self::Fault(InjectedKind::AmqpLink(InjectedLink::Telemetry)),
            "KillAmqpC2DLink" => Self::Fault(InjectedKind::AmqpLink(InjectedLink::Messages)),
            "KillAmqpTwinLinkReq" => Self::Fault(InjectedKind::AmqpLink(InjectedLink::TwinRequests)),
            "KillAmqpTwinLinkResp" => Self::Fault(InjectedKind::AmqpLink(InjectedLink::TwinResponses)),
            "KillAmqpMethodReqLink" => Self::Fault(InjectedKind::AmqpLink(InjectedLink::MethodRequests)),
            "KillAmqpMethodRespLink" => Self::Fault(InjectedKind::AmqpLink(InjectedLink::MethodResponses)),
            "ShutDownAmqp" | "ShutDownMqtt" => Self::Fault(InjectedKind::Shutdown),
            "InvokeThrottling" => Self::Refuse(HubErrorCode::ThrottlingException),
            "InvokeMaxMessageQuota" => Self::Refuse(HubErrorCode::IotHubQuotaExceeded),
            "InvokeAuthError" => Self::Refuse(HubErrorCode::IotHubUnauthorizedAccess),
            _ => return None,
        })
    }
}

impl Hub {
    /// Lets happen what messages ask for, and keeps those that ask for nothing.
    pub(super) fn inject(&self, source: &Target, messages: Vec<D2cMessage>) -> Result<Vec<D2cMessage>, Failure> {
        if !self.options().fault_injection {
            return Ok(messages);
        }
        self.refuse_as_asked(source)?;
        let mut kept = Vec::with_capacity(messages.len());
        for message in messages {
            match property(&message, "FaultOperationType") {
                Some(name) => self.wish(source, name, &message)?,
                None => kept.push(message),
            }
        }
        Ok(kept)
    }

    pub(super) fn remember_caller(&self, device: &Target, breaker: &Arc<Notify>) {
        if self.options().fault_injection {
            let mut state = self.injected().state();
            // Devices come and go, and each leaves no more than this.
            state.callers.retain(|_, caller| caller.strong_count() > 0);
            state.callers.insert(device.clone(), Arc::downgrade(breaker));
        }
    }

    fn wish(&self, source: &Target, name: &str, message: &D2cMessage) -> Result<(), Failure> {
        let wish = Wish::named(name)
            .ok_or_else(|| Failure::argument(format!("{name:?} is not a fault that a hub can be asked for")))?;
        let due = self.clock().now() + seconds(message, "FaultOperationDelayInSecs", Duration::ZERO)?;
        match wish {
            Wish::Refuse(code) => {
                let lasts = seconds(message, "FaultOperationDurationInSecs", LASTS)?;
                let until = due.saturating_add(lasts);
                let refusal = Refusal { code, from: due, until };
                self.injected()
                    .state()
                    .refusals
                    .entry(source.clone())
                    .or_default()
                    .push(refusal);
            }
            Wish::Fault(kind) => {
                let reason = property(message, "FaultOperationCloseReason").unwrap_or_default();
                let fault = InjectedFault {
                    kind,
                    reason: reason.to_owned(),
                };
                let number = {
                    let mut state = self.injected().state();
                    state.count += 1;
                    let number = state.count;
                    state.pending.insert(number, (source.clone(), fault));
                    number
                };
                self.deadlines().add(due, Due::InjectedFault(number));
            }
        }
        Ok(())
    }

    fn refuse_as_asked(&self, source: &Target) -> Result<(), Failure> {
        let now = self.clock().now();
        let mut state = self.injected().state();
        let Some(refusals) = state.refusals.get_mut(source) else {
            return Ok(());
        };
        refusals.retain(|refusal| refusal.until > now);
        match refusals.iter().find(|refusal| refusal.from <= now) {
            Some(refusal) => Err(Failure::new(
                refusal.code.clone(),
                "refused, as a message has asked for",
            )),
            None => Ok(()),
        }
    }

    /// Lets a fault happen that is due.
    pub(super) fn carry_out_injected(&self, number: u64) {
        let Some((target, fault)) = self.injected().state().pending.remove(&number) else {
            return;
        };
        self.journal().record(Event::Fault { name: "injected" });
        if let Err(fault) = self.tell_door(&target, fault) {
            // A door that cannot do it in parts does it as a whole, unless it is about what other protocols have.
            let is_meant = matches!(fault.kind, InjectedKind::Tcp | InjectedKind::Shutdown);
            if is_meant && !self.disconnect(&target) && fault.kind == InjectedKind::Tcp {
                let caller = self.injected().state().callers.remove(&target);
                if let Some(breaker) = caller.and_then(|caller| caller.upgrade()) {
                    breaker.notify_one();
                }
            }
        }
    }
}

impl InjectedFaults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names come over HTTP in lower case.
fn property<'a>(message: &'a D2cMessage, name: &str) -> Option<&'a str> {
    let mut properties = message.properties.iter();
    let is = |known: &str| {
        let rest = known
            .get(PREFIX.len()..)
            .filter(|_| known.is_char_boundary(PREFIX.len()));
        rest.is_some_and(|rest| rest.eq_ignore_ascii_case(name)) && known[..PREFIX.len()].eq_ignore_ascii_case(PREFIX)
    };
    properties.find(|(known, _)| is(known)).map(|(_, value)| &**value)
}

fn seconds(message: &D2cMessage, name: &str, without: Duration) -> Result<Duration, Failure> {
    let Some(text) = property(message, name).filter(|text| !text.is_empty()) else {
        return Ok(without);
    };
    let seconds = text
        .parse::<f64>()
        .ok()
        .filter(|seconds| (0.0..=MOST).contains(seconds));
    let seconds =
        seconds.ok_or_else(|| Failure::argument(format!("{PREFIX}{name} is {text:?}, and has to be seconds")))?;
    Ok(Duration::seconds_f64(seconds))
}

const PREFIX: &str = "AzIoTHub_";

/// How long refusals last if the message does not say it: what the SDKs' own tests ask for.
const LASTS: Duration = Duration::seconds(5);

/// A day, in seconds.
const MOST: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Door, HubOptions, SessionEnd};

    fn hub(fault_injection: bool) -> Hub {
        let options = HubOptions {
            fault_injection,
            ..Default::default()
        };
        let hub = Hub::with_options(vec!["localhost".to_owned()], Vec::new(), options);
        hub.add_device(&"lamp".parse().unwrap()).unwrap();
        hub
    }

    fn lamp() -> Target {
        Target::parse("lamp", None).unwrap()
    }

    fn asking_for(name: &str, more: &[(&str, &str)]) -> D2cMessage {
        let mut message = D2cMessage::from("");
        message
            .properties
            .push(("AzIoTHub_FaultOperationType".into(), name.into()));
        for (name, value) in more {
            message
                .properties
                .push((format!("AzIoTHub_FaultOperation{name}"), (*value).to_owned()));
        }
        message
    }

    fn advance(hub: &Hub, seconds: u64) {
        hub.clock().advance(std::time::Duration::from_secs(seconds));
        hub.catch_up();
    }

    #[test]
    fn a_hub_obeys_only_where_it_is_told_to() {
        let hub = hub(false);
        hub.receive_telemetry(&lamp(), asking_for("KillTcp", &[])).unwrap();
        hub.receive_telemetry(&lamp(), asking_for("Nonsense", &[])).unwrap();
        assert_eq!(hub.telemetry().events().len(), 2);
    }

    #[test]
    fn messages_are_refused_from_the_delay_on_for_the_duration() {
        for (name, code) in [
            ("InvokeThrottling", HubErrorCode::ThrottlingException),
            ("InvokeMaxMessageQuota", HubErrorCode::IotHubQuotaExceeded),
            ("InvokeAuthError", HubErrorCode::IotHubUnauthorizedAccess),
        ] {
            let hub = hub(true);
            let send = || {
                hub.receive_telemetry(&lamp(), D2cMessage::from("on"))
                    .map_err(|failure| failure.code)
            };
            let wish = asking_for(name, &[("DelayInSecs", "2"), ("DurationInSecs", "5")]);
            hub.receive_telemetry(&lamp(), wish).unwrap();
            assert_eq!(send(), Ok(()));
            advance(&hub, 2);
            assert_eq!(send(), Err(code.clone()));
            advance(&hub, 4);
            assert_eq!(send(), Err(code));
            advance(&hub, 1);
            assert_eq!(send(), Ok(()));
            assert_eq!(hub.telemetry().events().len(), 2, "a wish is no telemetry");
        }
    }

    #[test]
    fn a_connection_is_killed_when_its_delay_is_over() {
        let hub = hub(true);
        let session = hub.connect(&lamp(), Door::InProcess).unwrap();
        session
            .send(asking_for("KillTcp", &[("DelayInSecs", "3"), ("CloseReason", "boom")]))
            .unwrap();
        advance(&hub, 2);
        assert_eq!(session.end(), None);
        advance(&hub, 1);
        assert_eq!(session.end(), Some(SessionEnd::Disconnected));
    }

    #[test]
    fn every_name_is_known_and_others_are_refused() {
        let names = "KillTcp KillAmqpConnection KillAmqpSession KillAmqpCBSLinkReq KillAmqpCBSLinkResp KillAmqpD2CLink \
                     KillAmqpC2DLink KillAmqpTwinLinkReq KillAmqpTwinLinkResp KillAmqpMethodReqLink \
                     KillAmqpMethodRespLink InvokeThrottling InvokeMaxMessageQuota InvokeAuthError ShutDownAmqp ShutDownMqtt";
        assert!(names.split_whitespace().all(|name| Wish::named(name).is_some()));
        let hub = hub(true);
        for wish in [
            asking_for("KillEverything", &[]),
            asking_for("KillTcp", &[("DelayInSecs", "soon")]),
        ] {
            let failure = hub.receive_telemetry(&lamp(), wish).unwrap_err();
            assert_eq!(failure.code, HubErrorCode::ArgumentInvalid);
        }
    }
}
