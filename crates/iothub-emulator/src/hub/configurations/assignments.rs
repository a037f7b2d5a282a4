//! Which configurations a twin has, and what they do to it.
//!
//! That is found out when a twin changes and when a configuration changes, never by looking again and again. Content is
//! written when the configurations of a twin change; between that, the twin belongs to whoever writes it.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use iothub_core::HubErrorCode;
use time::OffsetDateTime;

use super::{
    Configuration,
    content::{ConfigurationContent, ContentKind, EDGE_AGENT, write_settings},
};
use crate::hub::{
    DataAction, Event, Failure, Grant, Hub, Target,
    authentication::Authentication,
    journal::Operation,
    modules::MAX_MODULES,
    registry::{Device, Identity, Module, Registry},
    twin_view::TwinView,
};

/// One configuration that is for a twin.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Assignment {
    id: Box<str>,
    generation: u64,
    /// Whether its content is in the twin. The content of another one may have won every place.
    applied: bool,
}

impl Assignment {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn is_applied(&self) -> bool {
        self.applied
    }
}

/// The configurations of a hub, the strongest first.
type Ranked = [Arc<Configuration>];

impl Hub {
    /// Brings a twin that has changed in line with the configurations.
    pub(crate) fn configure(&self, target: &Target) {
        let configurations = self.configurations();
        if configurations.is_empty() {
            return;
        }
        let (ranked, now) = (configurations.ranked(), self.clock().now());
        let mut changed = Vec::new();
        let mut registry = self.registry_mut();
        match target.module() {
            Some(module) => registry.configure_module(target.device(), module, &ranked, now, &mut changed),
            None => registry.configure_device(target.device(), &ranked, now, &mut changed),
        }
        drop(registry);
        self.announce_configured(changed);
    }

    /// Brings all twins in line, some at a time, so that others can read and write between.
    pub(crate) fn configure_all(&self) {
        let mut after: Option<Box<str>> = None;
        loop {
            // Taken anew each time, because somebody else may have changed a configuration meanwhile.
            let configurations = self.configurations();
            let (ranked, now) = (configurations.ranked(), self.clock().now());
            let mut registry = self.registry_mut();
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let devices = registry.devices.range::<str, _>((from, Bound::Unbounded)).take(BREATH);
            let ids: Vec<(Box<str>, Vec<Box<str>>)> = devices
                .map(|(id, device)| (id.clone(), device.modules.keys().cloned().collect()))
                .collect();
            let mut changed = Vec::new();
            for (id, modules) in &ids {
                registry.configure_device(id, &ranked, now, &mut changed);
                for module in modules {
                    registry.configure_module(id, module, &ranked, now, &mut changed);
                }
            }
            drop(registry);
            drop(configurations);
            self.announce_configured(changed);
            match ids.into_iter().last() {
                Some((id, _)) => after = Some(id),
                None => return,
            }
        }
    }

    /// Writes content into the modules of one edge device, at once and once.
    pub(crate) fn apply_configuration(&self, grant: &Grant, id: &str, body: &[u8]) -> Result<(), Failure> {
        self.allow(grant, DataAction::ApplyConfiguration)?;
        let text = std::str::from_utf8(body).map_err(|_| Failure::argument("the body is not UTF-8"))?;
        let mut changed = Vec::new();
        {
            let mut registry = self.registry_mut();
            let is_edge = registry.device(id)?.edge;
            let content = ConfigurationContent::parse(text)?;
            if !is_edge || !matches!(content.kind, ContentKind::Edge(_)) {
                return Err(Failure::argument(format!("modulesContent is for edge devices: {id}")));
            }
            registry.apply_to_edge(id, &content.kind, self.clock().now(), &mut changed)?;
        }
        self.announce_configured(changed);
        Ok(())
    }

    /// Tells everybody whose business it is.
    fn announce_configured(&self, changed: Vec<Target>) {
        for target in changed {
            self.journal().record(Event::Executed {
                operation: Operation::Configure,
                on: target.to_string(),
            });
            self.tell_desired_as_it_is(&target);
        }
    }
}

impl Registry {
    /// Configures a device's own twin, and the modules of an edge device.
    fn configure_device(&mut self, id: &str, ranked: &Ranked, now: OffsetDateTime, changed: &mut Vec<Target>) {
        let Some(device) = self.devices.get_mut(id) else {
            return;
        };
        let view = |device: &Device, wanted: fn(&ContentKind) -> bool| -> Vec<Arc<Configuration>> {
            let twin = TwinView {
                device_id: id,
                device,
                module: None,
            };
            matching(ranked, &twin, wanted)
        };
        let own = view(device, |kind| matches!(kind, ContentKind::Device(_)));
        let assigned = assign(&mut device.identity, &own, winners(&own), now);
        let deployments = device
            .edge
            .then(|| view(device, |kind| matches!(kind, ContentKind::Edge(_))));
        self.take_down(assigned, Target::parse(id, None), changed);
        if let Some(deployments) = deployments {
            self.deploy(id, &deployments, now, changed);
        }
    }

    /// Notes what was assigned to a twin, and adds it to those that changed by that.
    fn take_down(&self, assigned: Option<bool>, target: Result<Target, Failure>, changed: &mut Vec<Target>) {
        if let (Some(twin_changed), Ok(target)) = (assigned, target) {
            self.note(&target);
            changed.extend(twin_changed.then_some(target));
        }
    }

    fn configure_module(
        &mut self,
        id: &str,
        module: &str,
        ranked: &Ranked,
        now: OffsetDateTime,
        changed: &mut Vec<Target>,
    ) {
        // The modules of the edge runtime are for deployments.
        let Some(device) = self.devices.get_mut(id).filter(|_| !module.starts_with('$')) else {
            return;
        };
        let own = match device.modules.get(module) {
            Some(found) => {
                let twin = TwinView {
                    device_id: id,
                    device,
                    module: Some((module, &found.identity)),
                };
                matching(ranked, &twin, |kind| matches!(kind, ContentKind::Module(_)))
            }
            None => return,
        };
        if let Some(found) = device.modules.get_mut(module) {
            let assigned = assign(&mut found.identity, &own, winners(&own), now);
            self.take_down(assigned, Target::parse(id, Some(module)), changed);
        }
    }

    /// Gives an edge device its deployment: the strongest whole one, and the layers that are stronger than that.
    fn deploy(&mut self, id: &str, all: &[Arc<Configuration>], now: OffsetDateTime, changed: &mut Vec<Target>) {
        let base = all.iter().position(|deployment| !deployment.content.is_layered());
        let count = base.map_or(all.len(), |base| base + 1);
        let assignments: Box<[Assignment]> = all
            .iter()
            .enumerate()
            .map(|(at, deployment)| Assignment::new(deployment, at < count))
            .collect();
        let agent = self
            .devices
            .get_mut(id)
            .and_then(|device| device.modules.get_mut(EDGE_AGENT));
        let Some(agent) = agent.filter(|agent| agent.identity.assignments != assignments) else {
            return;
        };
        agent.identity.assignments = assignments;
        self.take_down(Some(false), Target::parse(id, Some(EDGE_AGENT)), changed);
        for deployment in all.iter().take(count).rev() {
            // A section that would grow too large stays as it is; so does the service leave it to the metrics to tell.
            let _ = self.apply_to_edge(id, &deployment.content.kind, now, changed);
        }
    }

    /// Writes content into the twins of an edge device's modules, and makes modules that are not there yet.
    fn apply_to_edge(
        &mut self,
        id: &str,
        content: &ContentKind,
        now: OffsetDateTime,
        changed: &mut Vec<Target>,
    ) -> Result<(), Failure> {
        let ContentKind::Edge(modules) = content else {
            return Ok(());
        };
        let there = &self.device(id)?.modules;
        let count = there.len() + modules.iter().filter(|(name, _)| !there.contains_key(name)).count();
        if count > MAX_MODULES {
            let text = format!("{id} would have {count} modules, and {MAX_MODULES} are the most");
            return Err(Failure::new(HubErrorCode::TooManyModulesOnDevice, text));
        }
        // All is written to copies first, so that nothing changes if something cannot.
        let mut written = Vec::with_capacity(modules.len());
        for (name, settings) in modules {
            let mut desired = there.get(name).map(|module| module.identity.twin.desired.clone());
            let is_new = desired.is_none();
            let section = desired.get_or_insert_default();
            let is_changed = write_settings(section, settings.iter(), now)?;
            written.push((name, desired.filter(|_| is_new || is_changed)));
        }
        for (name, desired) in written {
            let Some(desired) = desired else { continue };
            if !self.device(id)?.modules.contains_key(name) {
                let (generation, etag) = (self.next_generation(now), self.next_etag());
                let module = Module {
                    identity: Identity::new(generation, etag, Authentication::generated()?),
                    managed_by: Some("iotEdge".into()),
                };
                self.modules_mut(id, name)?.insert(name.clone(), module);
            }
            if let Some(module) = self.modules_mut(id, name)?.get_mut(name) {
                let twin = &mut module.identity.twin;
                twin.revision += u64::from(twin.desired.version != desired.version);
                twin.desired = desired;
                changed.extend(Target::parse(id, Some(name)));
            }
        }
        Ok(())
    }
}

impl Assignment {
    fn new(configuration: &Configuration, applied: bool) -> Self {
        Self {
            id: configuration.id.clone(),
            generation: configuration.generation,
            applied,
        }
    }
}

fn matching(ranked: &Ranked, twin: &TwinView<'_>, wanted: fn(&ContentKind) -> bool) -> Vec<Arc<Configuration>> {
    let is_for = |configuration: &&Arc<Configuration>| {
        let condition = configuration.target.condition.as_ref();
        wanted(&configuration.content.kind) && condition.is_some_and(|condition| condition.matches(twin))
    };
    ranked.iter().filter(is_for).cloned().collect()
}

/// Which of them write at least one place that no stronger one writes.
fn winners(ranked: &Ranked) -> Vec<bool> {
    let mut taken: Vec<String> = Vec::new();
    let wins = |configuration: &Arc<Configuration>| {
        let paths = configuration.content.kind.paths();
        let free = |path: &String| !taken.iter().any(|taken| path.starts_with(taken));
        let wins = paths.iter().any(free);
        taken.extend(paths);
        wins
    };
    ranked.iter().map(wins).collect()
}

/// Writes down which configurations a twin has. If that is news, their content is written, the strongest last, and the
/// answer is whether the twin changed.
fn assign(identity: &mut Identity, ranked: &Ranked, wins: Vec<bool>, now: OffsetDateTime) -> Option<bool> {
    let new = |wins: &[bool]| -> Box<[Assignment]> {
        let assignments = ranked.iter().zip(wins);
        assignments
            .map(|(configuration, wins)| Assignment::new(configuration, *wins))
            .collect()
    };
    let assignments = new(&wins);
    if identity.assignments == assignments {
        return None;
    }
    let settings = ranked.iter().zip(&wins).rev().filter(|(_, wins)| **wins);
    let settings = settings.flat_map(|(configuration, _)| match &configuration.content.kind {
        ContentKind::Device(settings) | ContentKind::Module(settings) => settings.as_slice(),
        ContentKind::Edge(_) => &[],
    });
    let written = write_settings(&mut identity.twin.desired, settings, now);
    identity.twin.revision += u64::from(*written.as_ref().unwrap_or(&false));
    // What does not fit into the twin is not applied.
    identity.assignments = if written.is_ok() {
        assignments
    } else {
        new(&vec![false; ranked.len()])
    };
    Some(written.unwrap_or(false))
}

/// What a twin shows of its configurations.
pub(crate) fn shown<'a>(assignments: &'a [Assignment], words: [&'static str; 2]) -> BTreeMap<&'a str, Shown> {
    let [targeted, applied] = words;
    let shown = |assignment: &'a Assignment| {
        let status = if assignment.is_applied() { applied } else { targeted };
        (assignment.id(), Shown { status })
    };
    assignments.iter().map(shown).collect()
}

/// How far a configuration is with a twin.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Shown {
    status: &'static str,
}

/// How many devices are looked at before others get a turn.
const BREATH: usize = 256;
