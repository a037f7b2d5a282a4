use std::time::Duration;

use iothub_core::{
    CallFacts, HubErrorCode, Result,
    models::{DirectMethodRequest, TwinPatch},
};
use iothub_emulator::{Event, Operation};
use iothub_jobs::{JobCondition, JobFailure, ScheduleTwinUpdateOptions};

use crate::hub::{HOUR, Hub, code, method_named};

#[tokio::test]
async fn a_condition_that_the_hub_does_not_understand_makes_the_job_fail() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    hub.schedule_interval("j1", "tags.hall == 7", None).await?;
    let error = hub.jobs.wait_for_job("j1", None)?.await.unwrap_err();
    let failure = JobFailure::of(&error).expect("it did not come to its end");
    assert!(
        failure.job.failure_reason.as_ref().unwrap().contains("queryCondition"),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .starts_with("the job `j1` is failed: queryCondition: "),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn an_id_is_taken_once() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    hub.schedule_interval("j1", "*", None).await?;
    hub.jobs.wait_for_job("j1", None)?.await?;
    let error = hub.schedule_interval("j1", "*", None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::JobAlreadyExists));
    assert_eq!(CallFacts::of(&error).map(|facts| facts.maybe_applied), Some(false));
    Ok(())
}

#[tokio::test]
async fn a_job_whose_answer_is_lost_runs_once() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    hub.emulator.faults().lose_next_answers(1);
    let patch = TwinPatch::new().set_desired("interval", 60);
    let job = hub
        .jobs
        .schedule_twin_update(&JobCondition::all(), &patch, None)
        .await?
        .into_model()?;
    hub.jobs.wait_for_job(&job.job_id, None)?.await?;
    assert_eq!(hub.executed(Operation::ScheduleJob, &job.job_id), 1);
    assert_eq!(hub.executed(Operation::UpdateTwin, "lamp"), 1);

    hub.emulator.faults().lose_next_answers(1);
    let error = hub.schedule_interval("j1", "*", None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::JobAlreadyExists));
    assert_eq!(CallFacts::of(&error).map(|facts| facts.maybe_applied), Some(true));
    Ok(())
}

#[tokio::test]
async fn a_wait_survives_what_the_network_does() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    hub.schedule_interval("j1", "*", None).await?;
    hub.emulator.faults().lose_next_requests(2);
    hub.emulator.faults().refuse_next(HubErrorCode::ServerError, 2);
    hub.jobs.wait_for_job("j1", None)?.await?;
    assert_eq!(hub.interval("lamp").await?, Some(60));
    Ok(())
}

#[tokio::test]
async fn jobs_that_are_too_many_are_refused_or_wait_for_their_turn() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    for n in 0..10 {
        hub.schedule_interval(&format!("j{n}"), "*", hub.in_ten_minutes())
            .await?;
    }
    let jobs = hub.impatient_jobs();
    let blink = DirectMethodRequest::new("blink");
    let refused = jobs
        .schedule_method(&JobCondition::all(), &blink, method_named("more", None))
        .await
        .unwrap_err();
    assert_eq!(code(&refused), Some(&HubErrorCode::ThrottlingMaxActiveJobCountExceeded));

    let patient = ScheduleTwinUpdateOptions {
        job_id: Some("more".to_owned()),
        queue_for: Some(HOUR),
        ..ScheduleTwinUpdateOptions::default()
    };
    let patch = TwinPatch::new().set_desired("interval", 60);
    let (all, journal) = (JobCondition::all(), hub.emulator.journal());
    let queued = jobs.schedule_twin_update(&all, &patch, Some(patient));
    let make_room = async {
        let refused = |event: &Event| matches!(event, Event::Request { operation, status: 429, .. } if operation == "PUT /jobs/v2/more");
        journal.wait_for(refused).await;
        hub.jobs.cancel_job("j3", None).await
    };
    let (queued, cancelled) = futures::join!(queued, make_room);
    cancelled?;
    assert_eq!(queued?.into_model()?.job_id, "more");
    Ok(())
}

#[tokio::test]
async fn a_job_that_does_not_exist_is_not_found() -> Result<()> {
    let hub = Hub::with_devices([]).await;
    let got = hub.jobs.get_job("none", None).await.unwrap_err();
    let cancelled = hub.jobs.cancel_job("none", None).await.unwrap_err();
    let waited = hub.jobs.wait_for_job("none", None)?.await.unwrap_err();
    for error in [got, cancelled, waited] {
        assert_eq!(code(&error), Some(&HubErrorCode::JobNotFound), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_start_that_is_too_far_ahead_is_refused() -> Result<()> {
    let hub = Hub::with_devices([]).await;
    let start = hub.emulator.clock().now() + Duration::from_secs(169 * 3600);
    let error = hub.schedule_interval("j1", "*", Some(start)).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::ArgumentInvalid));
    assert!(error.to_string().contains("168 hours"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_key_of_the_registry_does_not_open_jobs() -> Result<()> {
    let hub = Hub::with_devices([]).await;
    let jobs = hub.jobs_of("registryReadWrite");
    let error = jobs.get_job("j1", None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    Ok(())
}
