//! Carries jobs out when their time has come.

use std::{ops::Range, sync::Arc};

use futures::{StreamExt, stream};
use iothub_core::HubErrorCode;
use time::OffsetDateTime;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::{info, warn};

use super::{
    Job, ScheduledJobs,
    progress::Status,
    request::Work,
    run::{Run, RunState},
};
use crate::hub::{
    Failure, Grant, Hub, Target,
    if_match::IfMatch,
    method_call::MethodCall,
    query::{Condition, Source},
    twin::Write,
    twin_request::TwinRequest,
};

impl Hub {
    /// Carries out every job when it is due, for ever. Jobs under way are dropped with this.
    pub(crate) async fn work_on_jobs(self) {
        let mut under_way = JoinSet::new();
        loop {
            let added = self.scheduled_jobs().added.notified();
            tokio::pin!(added);
            // Registered before the jobs are looked at, so that none can be added in between.
            added.as_mut().enable();
            let (due, next) = self.scheduled_jobs().begin_due(self.clock().now());
            for job in due {
                under_way.spawn(self.clone().carry_out(job));
            }
            tokio::select! {
                () = added => {}
                () = self.clock().clone().until_some(next) => {}
                Some(_) = under_way.join_next() => {}
            }
        }
    }

    async fn carry_out(self, job: Arc<Job>) {
        let now = || self.clock().now();
        let end = now().saturating_add(job.most_time);
        let (hub, of) = (self.clone(), Arc::clone(&job));
        let found = spawn_blocking(move || hub.targets_of(&of)).await;
        let count = match found.unwrap_or_else(|_| Err("the search for devices was given up".to_owned())) {
            Ok(runs) => {
                let count = runs.len();
                job.progress().found(runs);
                count
            }
            Err(why) => {
                warn!(id = &*job.id, why, "the job failed");
                let mut progress = job.progress();
                progress.fail(why, now());
                self.scheduled_jobs().note(&job.id);
                return;
            }
        };
        match &job.work {
            Work::UpdateTwin { .. } => self.update_twins(&job, count, end).await,
            Work::InvokeMethod { call, .. } => self.invoke_methods(&job, call, count, end).await,
        }
        info!(id = &*job.id, count, "the job has ended");
        let mut progress = job.progress();
        // What the service calls a job that ran out of time is not documented; this is a guess.
        if progress.has_failed_with(&too_late()) {
            progress.fail("the job took longer than maxExecutionTimeInSeconds", now());
        } else {
            progress.end(Status::Completed, now());
        }
        self.scheduled_jobs().note(&job.id);
    }

    /// Finds what a job is about, some at a time, so that others can write between.
    ///
    /// Conditions about modules are those of configurations; whether the service takes them in jobs is not documented.
    fn targets_of(&self, job: &Job) -> Result<Vec<Run>, String> {
        let condition = Condition::parse(&job.condition).map_err(|mistake| format!("queryCondition: {mistake}"))?;
        if condition.source() == Source::Jobs {
            return Err("queryCondition: a job is about devices or modules".to_owned());
        }
        let mut runs = Vec::new();
        self.visit_twins(condition.source(), None, |twin| {
            if condition.matches(twin) {
                runs.push(Run::new(twin.device_id.into(), twin.module.map(|(id, _)| id.into())));
            }
            true
        });
        Ok(runs)
    }

    /// In batches: between two of them the job can be seen to run, and others have their turn.
    async fn update_twins(&self, job: &Arc<Job>, count: usize, end: OffsetDateTime) {
        for from in (0..count).step_by(BATCH) {
            let batch = from..count.min(from + BATCH);
            let (hub, job) = (self.clone(), Arc::clone(job));
            // If it is given up, the process is about to end.
            let _ = spawn_blocking(move || hub.update_batch(&job, batch, end)).await;
        }
    }

    fn update_batch(&self, job: &Job, batch: Range<usize>, end: OffsetDateTime) {
        let Work::UpdateTwin { request, condition, .. } = &job.work else {
            return;
        };
        let targets: Vec<_> = {
            let (mut progress, now) = (job.progress(), self.clock().now());
            batch
                .map(|number| {
                    progress.run_begins(number, now);
                    (number, progress.runs()[number].target())
                })
                .collect()
        };
        let outcomes: Vec<_> = targets
            .into_iter()
            .map(|(number, target)| (number, self.update_one(target, condition, request, end)))
            .collect();
        let (mut progress, now) = (job.progress(), self.clock().now());
        for (number, outcome) in outcomes {
            progress.run_ends(number, outcome, now);
        }
    }

    fn update_one(
        &self,
        target: Result<Target, Failure>,
        condition: &IfMatch,
        request: &TwinRequest,
        end: OffsetDateTime,
    ) -> Result<RunState, Failure> {
        if self.clock().now() >= end {
            return Err(too_late());
        }
        self.change_twin(&target?, condition.clone(), request, Write::Merge)?;
        Ok(RunState::Updated)
    }

    async fn invoke_methods(&self, job: &Arc<Job>, call: &MethodCall, count: usize, end: OffsetDateTime) {
        let invoke = |number| {
            let (hub, job, call) = (self.clone(), Arc::clone(job), call.clone());
            async move {
                let target = {
                    let mut progress = job.progress();
                    progress.run_begins(number, hub.clock().now());
                    progress.runs()[number].target()
                };
                let outcome = hub.invoke_for_job(target, call, end).await;
                job.progress().run_ends(number, outcome, hub.clock().now());
            }
        };
        let invocations = stream::iter((0..count).map(invoke));
        invocations.buffer_unordered(AT_ONCE).for_each(async |()| {}).await;
    }

    async fn invoke_for_job(
        &self,
        target: Result<Target, Failure>,
        call: MethodCall,
        end: OffsetDateTime,
    ) -> Result<RunState, Failure> {
        if self.clock().now() >= end {
            return Err(too_late());
        }
        let (grant, target) = (Grant::unlimited(), target?);
        tokio::select! {
            biased;
            answer = self.invoke_method(&grant, &target, call) => answer.map(RunState::from),
            () = self.clock().until(end) => Err(too_late()),
        }
    }
}

impl ScheduledJobs {
    /// Begins the jobs whose time has come, and says when the next one's comes.
    fn begin_due(&self, now: OffsetDateTime) -> (Vec<Arc<Job>>, Option<OffsetDateTime>) {
        let (mut due, mut next) = (Vec::new(), None);
        for job in self.remembered(now).values() {
            let mut progress = job.progress();
            if !progress.status.is_waiting() {
                continue;
            }
            if job.start <= now {
                progress.begin(now);
                self.note(&job.id);
                due.push(Arc::clone(job));
            } else {
                progress.status = Status::Scheduled;
                next = next.into_iter().chain([job.start]).min();
            }
        }
        (due, next)
    }
}

fn too_late() -> Failure {
    let text = "The time that the job may take was over.";
    Failure::new(HubErrorCode::GatewayTimeout, text)
}

/// How many twins are written before others get a turn.
const BATCH: usize = 256;
/// How many devices are waited for at the same time.
const AT_ONCE: usize = 100;
