//! The engine: everything that is decided about a hub is decided here, and nothing in here knows a socket.

pub(crate) mod amqp_event;
pub(crate) mod amqp_faults;
pub(crate) mod authentication;
mod bulk;
pub(crate) mod c2d;
pub(crate) mod certificates;
pub(crate) mod changes;
pub(crate) mod clock;
pub(crate) mod configurations;
pub(crate) mod continuation;
pub(crate) mod d2c;
mod deadlines;
pub(crate) mod desired;
mod device_calls;
pub(crate) mod digital_twins;
pub(crate) mod edge;
pub(crate) mod event_readers;
pub(crate) mod events_options;
mod export;
pub(crate) mod failure;
pub(crate) mod fault;
pub(crate) mod faults;
pub(crate) mod feedback;
pub(crate) mod grant;
pub(crate) mod identities;
mod identity_document;
pub(crate) mod identity_request;
pub(crate) mod if_match;
mod import;
pub(crate) mod injected_faults;
pub(crate) mod journal;
pub(crate) mod json_text;
pub(crate) mod key;
mod key_renewal;
pub(crate) mod known_tokens;
pub(crate) mod lock_queue;
pub(crate) mod method_call;
pub(crate) mod methods;
mod model_id;
mod modules;
pub(crate) mod options;
pub(crate) mod outcome;
pub(crate) mod policy;
pub(crate) mod property_tree;
pub(crate) mod provisioned;
pub(crate) mod queries;
pub(crate) mod query;
pub(crate) mod queue;
pub(crate) mod registry;
mod reset;
pub(crate) mod sas;
pub(crate) mod scheduled_jobs;
pub(crate) mod service_bound;
pub(crate) mod sessions;
pub(crate) mod sku;
mod statistics;
pub(crate) mod still;
pub(crate) mod stored_sessions;
pub(crate) mod target;
pub(crate) mod telemetry;
mod throttle;
pub(crate) mod timestamp;
pub(crate) mod transfer_request;
pub(crate) mod transfers;
pub(crate) mod twin;
mod twin_document;
pub(crate) mod twin_request;
mod twin_view;
mod twins;
pub(crate) mod uploads;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use time::OffsetDateTime;
use tokio::sync::Notify;

pub(crate) use self::{
    amqp_event::AmqpEvent,
    amqp_faults::Break,
    c2d::{Ack, C2dMessage},
    certificates::CertificateChain,
    clock::Clock,
    configurations::{ConfigurationRecord, ConfigurationRequest, Configurations},
    d2c::D2cMessage,
    desired::DesiredChanges,
    events_options::EventsOptions,
    export::ExportPlace,
    failure::Failure,
    fault::{Fault, Victim},
    faults::Faults,
    grant::{DataAction, Grant, Principal, Rights},
    journal::{Door, Event, Journal},
    lock_queue::Locked,
    options::HubOptions,
    outcome::Outcome,
    policy::SharedAccessPolicy,
    sessions::{Session, SessionEnd},
    still::Still,
    target::Target,
};
use self::{
    certificates::DeviceAuthorities,
    changes::Changes,
    deadlines::Deadlines,
    event_readers::EventReaders,
    feedback::Feedback,
    injected_faults::InjectedFaults,
    known_tokens::KnownTokens,
    methods::PendingMethods,
    registry::Registry,
    sas::SasToken,
    scheduled_jobs::ScheduledJobs,
    sessions::Sessions,
    telemetry::Telemetry,
    throttle::Throttle,
    transfers::Transfers,
    uploads::{FileStore, Uploads},
};

/// A hub: its registry, queues, clock and journal. Clones are handles to the same hub.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

struct Inner {
    changes: Changes,
    /// The names a token may be signed for, in lower case; the first is the hub's own.
    names: Vec<String>,
    policies: Vec<SharedAccessPolicy>,
    options: HubOptions,
    throttle: Option<Throttle>,
    created: OffsetDateTime,
    clock: Clock,
    journal: Journal,
    faults: Faults,
    known_tokens: KnownTokens<Grant>,
    bearer: OnceLock<Box<dyn VerifyBearer>>,
    device_authorities: DeviceAuthorities,
    registry: RwLock<Registry>,
    /// Locked before the registry by whoever needs both.
    configurations: RwLock<Configurations>,
    transfers: Transfers,
    scheduled_jobs: ScheduledJobs,
    arrivals: Mutex<HashMap<Target, Arc<Notify>>>,
    deadlines: Deadlines,
    feedback: Feedback,
    injected: InjectedFaults,
    uploads: Uploads,
    files: OnceLock<Box<dyn FileStore>>,
    telemetry: Telemetry,
    event_readers: EventReaders,
    amqps_port: OnceLock<u16>,
    /// Locked after the registry by whoever needs both.
    sessions: Sessions,
    pending_methods: PendingMethods,
}

/// Decides what the bearer of a JWT may do.
pub(crate) trait VerifyBearer: Send + Sync {
    /// `jwt` is the token alone, without the word `Bearer`.
    fn verify(&self, jwt: &str, now: OffsetDateTime) -> Result<Grant, Failure>;
}

impl Hub {
    /// A hub with the defaults.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn new(names: Vec<String>, policies: Vec<SharedAccessPolicy>) -> Self {
        Self::with_options(names, policies, HubOptions::default())
    }

    pub(crate) fn with_options(names: Vec<String>, policies: Vec<SharedAccessPolicy>, options: HubOptions) -> Self {
        let changes = Changes::default();
        let clock = Clock::new(changes.clone());
        Self(Arc::new(Inner {
            names,
            policies,
            throttle: options.throttling.then(|| Throttle::new(options.sku, options.units)),
            journal: Journal::new(clock.clone()),
            created: clock.now(),
            clock,
            faults: Faults::default(),
            known_tokens: KnownTokens::default(),
            bearer: OnceLock::new(),
            device_authorities: DeviceAuthorities::default(),
            registry: RwLock::new(Registry::new(changes.clone())),
            configurations: RwLock::new(Configurations::new(changes.clone())),
            transfers: Transfers::new(changes.clone()),
            scheduled_jobs: ScheduledJobs::new(changes.clone()),
            arrivals: Mutex::default(),
            deadlines: Deadlines::default(),
            injected: InjectedFaults::default(),
            feedback: Feedback::new(&options.feedback, &changes),
            uploads: Uploads::new(&options.file_notifications, &changes),
            files: OnceLock::new(),
            telemetry: Telemetry::new(options.events.partitions, changes.clone()),
            event_readers: EventReaders::new(&options.events),
            amqps_port: OnceLock::new(),
            sessions: Sessions::default(),
            pending_methods: PendingMethods::default(),
            options,
            changes,
        }))
    }

    /// Says who verifies JWTs. Until then, and after the first time, nothing changes.
    pub(crate) fn verify_bearer_with(&self, verifier: Box<dyn VerifyBearer>) {
        // A second verifier would be a second opinion on who may do what; the first one stays.
        let _ = self.0.bearer.set(verifier);
    }

    /// Says where the files of devices go. Until then, devices cannot upload any.
    pub(crate) fn keep_files_in(&self, store: Box<dyn FileStore>) {
        // The first one stays, because there may be files in it.
        let _ = self.0.files.set(store);
    }

    /// Says behind which port the event hub is. Until then it is the usual one.
    pub(crate) fn serve_amqps_at(&self, port: u16) {
        // There is one door, so there is no second answer.
        let _ = self.0.amqps_port.set(port);
    }

    /// Where the event hub is, for those who have to be told.
    pub(crate) fn amqps_port(&self) -> u16 {
        self.0.amqps_port.get().copied().unwrap_or(5671)
    }

    pub(crate) fn created(&self) -> OffsetDateTime {
        self.0.created
    }

    /// The hub's own host name, in lower case and without a port.
    pub(crate) fn name(&self) -> &str {
        self.0.names.first().map_or("", String::as_str)
    }

    /// Whether this is one of the hub's names, with a port or without.
    pub(crate) fn goes_by(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => host,
        };
        self.0.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    pub(crate) fn policies(&self) -> &[SharedAccessPolicy] {
        &self.0.policies
    }

    fn options(&self) -> &HubOptions {
        &self.0.options
    }

    fn injected(&self) -> &InjectedFaults {
        &self.0.injected
    }

    fn throttle(&self) -> Option<&Throttle> {
        self.0.throttle.as_ref()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Who is asking, from an `Authorization` header or the body of a put-token request: `Bearer …` or
    /// `SharedAccessSignature …`.
    pub(crate) fn authorize(&self, credential: &str) -> Result<Grant, Failure> {
        let (scheme, rest) = credential.split_once(' ').unwrap_or((credential, ""));
        match scheme {
            _ if scheme.eq_ignore_ascii_case("bearer") => self.authorize_bearer(rest.trim()),
            _ if scheme.eq_ignore_ascii_case(SasToken::SCHEME) => self.authorize_sas(credential),
            _ => {
                let failure = Failure::unauthorized("expected SharedAccessSignature or Bearer");
                self.journal().record(Event::refused(&failure));
                Err(failure)
            }
        }
    }

    /// Checks a whole `SharedAccessSignature sr=…&sig=…&se=…` text.
    pub(crate) fn authorize_sas(&self, token: &str) -> Result<Grant, Failure> {
        let known = self.0.known_tokens.get(token, self.clock().now());
        self.remember(known.map_or_else(|| self.verify_sas(token), |(grant, _)| Ok(grant)))
    }

    fn verify_sas(&self, token: &str) -> Result<Grant, Failure> {
        let grant = SasToken::parse(token)?.verify(self)?;
        if grant.only_expires() {
            self.0.known_tokens.add(token, grant.clone(), grant.expires());
        }
        Ok(grant)
    }

    /// Checks a JWT of Microsoft Entra ID, or of the emulator's own token endpoint.
    pub(crate) fn authorize_bearer(&self, jwt: &str) -> Result<Grant, Failure> {
        let verdict = match self.0.bearer.get() {
            Some(verifier) => verifier.verify(jwt, self.clock().now()),
            None => Err(Failure::unauthorized("this hub trusts no issuer of bearer tokens")),
        };
        self.remember(verdict)
    }

    fn remember(&self, verdict: Result<Grant, Failure>) -> Result<Grant, Failure> {
        self.journal().record(match &verdict {
            Ok(grant) => Event::Authorized {
                principal: grant.principal().clone(),
            },
            Err(failure) => Event::refused(failure),
        });
        verdict
    }

    pub(crate) fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.0.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn registry_mut(&self) -> RwLockWriteGuard<'_, Registry> {
        self.0.registry.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn transfers(&self) -> &Transfers {
        &self.0.transfers
    }

    pub(crate) fn scheduled_jobs(&self) -> &ScheduledJobs {
        &self.0.scheduled_jobs
    }

    pub(crate) fn feedback(&self) -> &Feedback {
        &self.0.feedback
    }

    pub(crate) fn uploads(&self) -> &Uploads {
        &self.0.uploads
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.0.telemetry
    }

    fn event_readers(&self) -> &EventReaders {
        &self.0.event_readers
    }

    fn stored_files(&self) -> Option<&dyn FileStore> {
        self.0.files.get().map(|store| &**store)
    }

    fn deadlines(&self) -> &Deadlines {
        &self.0.deadlines
    }

    fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    fn pending_methods(&self) -> &PendingMethods {
        &self.0.pending_methods
    }

    fn arrivals(&self) -> MutexGuard<'_, HashMap<Target, Arc<Notify>>> {
        self.0.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
