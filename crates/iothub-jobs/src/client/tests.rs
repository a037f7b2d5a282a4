use azure_core::{
    http::{
        StatusCode,
        poller::{PollerOptions, StatusMonitor},
    },
    time,
};
use futures::TryStreamExt;
use iothub_auth::SharedAccessKey;
use iothub_core::{
    CallLimits,
    models::{DeviceJobStatus, JobStatus},
    testing::{HttpAnswer, ScriptedHttp},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn a_method_is_scheduled_with_everything_that_was_said() -> Result<()> {
    let http = ScriptedHttp::new([job("j1", "queued")]);
    let method = DirectMethodRequest::new("blink")
        .with_payload(json!({ "times": 2 }))
        .with_response_timeout(Duration::from_secs(30));
    let options = ScheduleMethodOptions {
        job_id: Some("j1".to_owned()),
        start_time: Some(time::parse_rfc3339("2026-01-02T03:04:05Z")?),
        max_execution_time: Some(Duration::from_millis(90_500)),
        ..ScheduleMethodOptions::default()
    };
    let hall: JobCondition = "tags.hall = 7".parse()?;
    let begun = client(&http)
        .schedule_method(&hall, &method, Some(options))
        .await?
        .into_model()?;

    assert_eq!((begun.job_id.as_str(), &begun.status), ("j1", &JobStatus::Queued));
    assert_eq!(http.seen(), ["PUT /jobs/v2/j1?api-version=2021-04-12"]);
    assert_eq!(
        body(&http, 0),
        json!({
            "jobId": "j1",
            "type": "scheduleDeviceMethod",
            "cloudToDeviceMethod": {
                "methodName": "blink", "payload": { "times": 2 }, "responseTimeoutInSeconds": 30,
            },
            "queryCondition": "tags.hall = 7",
            "startTime": "2026-01-02T03:04:05Z",
            "maxExecutionTimeInSeconds": 91,
        })
    );
    Ok(())
}

#[tokio::test]
async fn a_twin_update_needs_a_condition_and_a_patch_only() -> Result<()> {
    let http = ScriptedHttp::new([job("any", "queued"), job("any", "queued")]);
    let jobs = client(&http);
    for _ in 0..2 {
        jobs.schedule_twin_update(&JobCondition::all(), &patch(), None).await?;
    }
    let made_up = body(&http, 0)["jobId"].as_str().unwrap().to_owned();
    assert_eq!(
        body(&http, 0),
        json!({
            "jobId": made_up,
            "type": "scheduleUpdateTwin",
            "updateTwin": { "etag": "*", "properties": { "desired": { "n": 1 } } },
            "queryCondition": "*",
            "maxExecutionTimeInSeconds": 3600,
        })
    );
    assert_eq!(http.requests()[0].url.path(), format!("/jobs/v2/{made_up}"));
    assert_ne!(body(&http, 1)["jobId"], made_up.as_str());
    Ok(())
}

#[tokio::test]
async fn ids_that_are_none_are_refused_without_a_request() -> Result<()> {
    let http = ScriptedHttp::default();
    let jobs = client(&http);
    for id in ["", "query", "a/b"] {
        let errors = [
            jobs.get_job(id, None).await.unwrap_err(),
            jobs.cancel_job(id, None).await.unwrap_err(),
            jobs.list_device_jobs(id, None).unwrap_err(),
            jobs.wait_for_job(id, None).unwrap_err(),
            jobs.schedule_twin_update(&JobCondition::all(), &patch(), named(id))
                .await
                .unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains("is not the id of a job"), "{error}");
        }
    }
    assert!(http.requests().is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_schedule_is_repeated_because_its_id_makes_it_the_same_job() -> Result<()> {
    let http = ScriptedHttp::new([HttpAnswer::Lost, job("j1", "queued")]);
    client(&http)
        .schedule_twin_update(&JobCondition::all(), &patch(), named("j1"))
        .await?;
    assert_eq!(http.seen(), ["PUT /jobs/v2/j1?api-version=2021-04-12"; 2]);
    assert_eq!(http.requests()[0].body, http.requests()[1].body);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_there_after_a_lost_answer_may_be_the_own_one() -> Result<()> {
    let exists = || refusal(StatusCode::Conflict, "JobAlreadyExists");
    let http = ScriptedHttp::new([HttpAnswer::Lost, exists()]);
    let jobs = client(&http);
    let error = jobs
        .schedule_twin_update(&JobCondition::all(), &patch(), named("j1"))
        .await
        .unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::JobAlreadyExists));
    let facts = CallFacts::of(&error).expect("it was tried");
    assert_eq!((facts.attempts, facts.maybe_applied), (2, true));

    // An id that was made up here can be nobody else's.
    let http = ScriptedHttp::new([HttpAnswer::Lost, exists(), job("made-up", "scheduled")]);
    let mine = client(&http)
        .schedule_twin_update(&JobCondition::all(), &patch(), None)
        .await?;
    assert_eq!(mine.into_model()?.status, JobStatus::Scheduled);
    let id = body(&http, 0)["jobId"].as_str().unwrap().to_owned();
    assert_eq!(
        http.requests()[2].to_string(),
        format!("GET /jobs/v2/{id}?api-version=2021-04-12")
    );
    Ok(())
}

#[tokio::test]
async fn a_job_of_somebody_else_is_an_error() {
    let http = ScriptedHttp::new([refusal(StatusCode::Conflict, "JobAlreadyExists")]);
    let error = client(&http)
        .schedule_twin_update(&JobCondition::all(), &patch(), None)
        .await
        .unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::JobAlreadyExists));
    assert_eq!(CallFacts::of(&error).map(|facts| facts.maybe_applied), Some(false));
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_has_enough_jobs_is_waited_for_if_asked_to() -> Result<()> {
    for (status, word) in [
        (StatusCode::TooManyRequests, "ThrottlingMaxActiveJobCountExceeded"),
        (StatusCode::Forbidden, "JobQuotaExceeded"),
    ] {
        let once = CallLimits {
            tries: Some(1),
            ..CallLimits::default()
        };
        let full = || refusal(status, word);
        let http = ScriptedHttp::new([full(), full(), full(), job("j1", "queued")]);
        let jobs = limited_client(&http, once);
        let error = jobs
            .schedule_twin_update(&JobCondition::all(), &patch(), named("j1"))
            .await
            .unwrap_err();
        assert_eq!(code(&error).map(HubErrorCode::as_str), Some(word));

        let began = Instant::now();
        let patient = ScheduleTwinUpdateOptions {
            queue_for: Some(Duration::from_secs(60)),
            ..named("j1").unwrap_or_default()
        };
        jobs.schedule_twin_update(&JobCondition::all(), &patch(), Some(patient))
            .await?;
        assert_eq!(began.elapsed().as_secs(), 3, "after 1 and 2 seconds");
    }
    Ok(())
}

#[tokio::test]
async fn a_job_that_the_hub_knows_nothing_of_is_not_found() {
    for answer in [
        json!({ "jobId": "j1", "type": "unknown", "status": "unknown" }),
        json!({ "jobType": "Unknown", "status": "Unknown" }),
        json!({ "status": "unknown" }),
    ] {
        let http = ScriptedHttp::new([HttpAnswer::new(StatusCode::Ok, answer.to_string())]);
        let error = client(&http).get_job("j1", None).await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::JobNotFound), "{answer}");
        assert_eq!(error.http_status(), Some(StatusCode::NotFound));
        assert_eq!(CallFacts::of(&error).map(|facts| facts.attempts), Some(1));
        assert!(
            error
                .to_string()
                .starts_with("JobNotFound (404002): the hub knows no scheduled job"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_job_of_a_type_that_nobody_knows_is_one() -> Result<()> {
    let answer = json!({ "jobId": "j1", "type": "unknown", "status": "running" });
    let http = ScriptedHttp::new([HttpAnswer::new(StatusCode::Ok, answer.to_string())]);
    let job = client(&http).get_job("j1", None).await?.into_model()?;
    assert_eq!(job.status, JobStatus::Running);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn cancelling_may_be_done_twice() -> Result<()> {
    let too_late = refusal(StatusCode::MethodNotAllowed, "OperationNotAllowedInCurrentState");
    let http = ScriptedHttp::new([job("j1", "cancelled"), HttpAnswer::Lost, too_late]);
    let jobs = client(&http);
    let job = jobs.cancel_job("j1", None).await?.into_model()?;
    assert_eq!(job.status, JobStatus::Cancelled);
    assert_eq!(http.seen(), ["POST /jobs/v2/j1/cancel?api-version=2021-04-12"]);

    let error = jobs.cancel_job("j1", None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::OperationNotAllowedInCurrentState));
    assert_eq!(CallFacts::of(&error).map(|facts| facts.maybe_applied), Some(true));
    Ok(())
}

#[tokio::test]
async fn jobs_are_listed_by_type_and_status() -> Result<()> {
    let page = |ids: &[&str]| {
        let rows: Vec<Value> = ids.iter().map(|id| state(id, "completed")).collect();
        HttpAnswer::new(StatusCode::Ok, json!(rows).to_string()).with_header("x-ms-item-type", "JobResponse")
    };
    let http = ScriptedHttp::new([page(&["a", "b"]).with_header("x-ms-continuation", "p2"), page(&["c"])]);
    let options = ListJobsOptions {
        job_type: Some(JobType::ScheduleUpdateTwin),
        status: Some(JobStatus::Completed),
        page_size: Some(2),
        ..ListJobsOptions::default()
    };
    let jobs: Vec<ScheduledJob> = client(&http).list_jobs(Some(options))?.try_collect().await?;

    assert_eq!(
        jobs.iter().map(|job| job.job_id.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    let asked = "GET /jobs/v2/query?api-version=2021-04-12&jobType=scheduleUpdateTwin&jobStatus=completed";
    assert_eq!(http.seen(), [asked; 2]);
    for (at, place) in [(0, None), (1, Some("p2"))] {
        assert_eq!(http.requests()[at].header("x-ms-continuation"), place);
        assert_eq!(http.requests()[at].header("x-ms-max-item-count"), Some("2"));
    }
    Ok(())
}

#[tokio::test]
async fn a_list_goes_on_with_the_same_filter_only() -> Result<()> {
    let page = HttpAnswer::new(StatusCode::Ok, json!([state("a", "running")]).to_string());
    let http = ScriptedHttp::new([page.with_header("x-ms-continuation", "p2")]);
    let jobs = client(&http);
    let mut pages = jobs.list_jobs(None)?.into_pages();
    pages.try_next().await?;
    let resumed = ListJobsOptions {
        status: Some(JobStatus::Running),
        method_options: azure_core::http::pager::PagerOptions {
            continuation: pages.into_continuation(),
            ..Default::default()
        },
        ..ListJobsOptions::default()
    };
    let error = jobs.list_jobs(Some(resumed)).unwrap_err();
    assert!(
        error.to_string().contains("belongs to the query `scheduled jobs`"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn devices_of_a_job_are_a_query() -> Result<()> {
    let rows = json!([
        {
            "deviceId": "a", "jobId": "it's", "jobType": "scheduleDeviceMethod", "status": "completed",
            "startTimeUtc": "2026-01-01T00:00:01", "endTimeUtc": "2026-01-01T00:00:02.5Z",
            "outcome": { "deviceMethodResponse": { "status": 200, "payload": { "ok": true } } },
        },
        {
            "deviceId": "b", "jobId": "it's", "status": "failed",
            "error": { "code": "DeviceNotOnline", "description": "gone" },
        },
    ]);
    let http = ScriptedHttp::new([
        HttpAnswer::new(StatusCode::Ok, rows.to_string()).with_header("x-ms-item-type", "DeviceJob"),
        HttpAnswer::new(StatusCode::Ok, "[]"),
    ]);
    let jobs = client(&http);
    let devices: Vec<DeviceJob> = jobs.list_device_jobs("it's", None)?.try_collect().await?;
    let failed = ListDeviceJobsOptions {
        status: Some(DeviceJobStatus::Failed),
        ..ListDeviceJobsOptions::default()
    };
    jobs.list_device_jobs("j1", Some(failed))?
        .try_collect::<Vec<_>>()
        .await?;

    assert_eq!(http.seen(), ["POST /devices/query?api-version=2021-04-12"; 2]);
    for (at, expected) in [
        (0, r"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'it\'s'"),
        (
            1,
            "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j1' AND devices.jobs.status = 'failed'",
        ),
    ] {
        assert_eq!(body(&http, at), json!({ "query": expected }));
    }
    let [a, b] = &devices[..] else { panic!("there are two") };
    let took = a.end_time.unwrap() - a.start_time.unwrap();
    assert_eq!(took.whole_milliseconds(), 1500);
    let answer = a
        .outcome
        .as_ref()
        .and_then(|outcome| outcome.device_method_response.as_ref());
    assert_eq!(answer.map(|answer| answer.status), Some(200));
    let error = b.error.as_ref().and_then(|error| error.code.as_ref());
    assert_eq!(
        (&b.status, error),
        (&DeviceJobStatus::Failed, Some(&HubErrorCode::DeviceNotOnline))
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_wait_shows_progress_and_ends_with_the_job() -> Result<()> {
    let states = ["queued", "scheduled", "running", "thinking", "completed"];
    let http = ScriptedHttp::new(states.map(|status| job("j1", status)));
    let began = Instant::now();
    let mut waiting = client(&http).wait_for_job("j1", every(4))?;
    let mut seen = Vec::new();
    while let Some(state) = waiting.try_next().await? {
        let job = state.into_model()?;
        seen.push((
            job.status.to_string(),
            job.device_job_statistics.map(|devices| devices.device_count),
        ));
    }
    let expected = states.map(|status| (status.to_owned(), Some(3)));
    assert_eq!(seen, expected);
    assert_eq!(began.elapsed().as_secs(), 1 + 2 + 4 + 4);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_is_an_error_that_says_why() -> Result<()> {
    let mut failed = state("j1", "failed");
    failed["failureReason"] = "queryCondition: expected a value".into();
    let http = ScriptedHttp::new([
        job("j1", "running"),
        HttpAnswer::new(StatusCode::Ok, failed.to_string()),
    ]);
    let error = client(&http).wait_for_job("j1", None)?.await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the job `j1` is failed: queryCondition: expected a value"
    );
    let failure = JobFailure::of(&error).expect("it is one");
    assert_eq!(failure.job.status(), azure_core::http::poller::PollerStatus::Failed);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_wait_outlives_an_outage_of_more_than_five_minutes() -> Result<()> {
    let down = [
        HttpAnswer::Refused,
        HttpAnswer::Lost,
        HttpAnswer::new(StatusCode::BadGateway, ""),
    ];
    let outage = std::iter::repeat_n(down, 20).flatten();
    let answers = std::iter::once(job("j1", "running"))
        .chain(outage)
        .chain([job("j1", "completed")]);
    let http = ScriptedHttp::new(answers);
    let began = Instant::now();
    client(&http).wait_for_job("j1", None)?.await?;
    let waited = began.elapsed().as_secs();
    assert!((300..600).contains(&waited), "{waited}");
    Ok(())
}

#[tokio::test]
async fn a_job_that_is_gone_is_not_waited_for() -> Result<()> {
    let gone = json!({ "jobId": "j1", "type": "unknown", "status": "unknown" });
    let http = ScriptedHttp::new([HttpAnswer::new(StatusCode::Ok, gone.to_string())]);
    let error = client(&http).wait_for_job("j1", None)?.await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::JobNotFound));
    Ok(())
}

#[tokio::test]
async fn a_client_speaks_the_version_that_it_was_made_with() -> Result<()> {
    let http = ScriptedHttp::new([job("j1", "running")]);
    let options = JobClientOptions {
        api_version: Some("2030-01-01-preview".to_owned()),
        client_options: http.client_options(),
        ..JobClientOptions::default()
    };
    JobClient::new("hub.example".parse()?, key(), Some(options))?
        .get_job("j1", None)
        .await?;
    assert_eq!(http.seen(), ["GET /jobs/v2/j1?api-version=2030-01-01-preview"]);
    Ok(())
}

#[test]
fn what_belongs_to_the_application_does_not_print() {
    let method = DirectMethodRequest::new("m").with_payload(json!("hush"));
    let kind = ScheduledJobKind::from(method);
    assert!(!format!("{kind:?}").contains("hush"), "{kind:?}");
    let failure: ScheduledJob = serde_json::from_value(json!({
        "jobId": "j1", "type": "scheduleUpdateTwin", "updateTwin": { "tags": { "a": "hush" } }, "status": "failed",
    }))
    .unwrap();
    let failure = JobFailure { job: failure };
    assert!(!format!("{failure:?} {failure}").contains("hush"), "{failure:?}");
}

fn client(http: &ScriptedHttp) -> JobClient {
    limited_client(http, CallLimits::default())
}

fn limited_client(http: &ScriptedHttp, limits: CallLimits) -> JobClient {
    let options = JobClientOptions {
        limits,
        client_options: http.client_options(),
        ..JobClientOptions::default()
    };
    JobClient::new("hub.example".parse().unwrap(), key(), Some(options)).unwrap()
}

fn key() -> SharedAccessKey {
    SharedAccessKey::new("service", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=").unwrap()
}

fn patch() -> TwinPatch {
    TwinPatch::new().set_desired("n", 1)
}

fn named(id: &str) -> Option<ScheduleTwinUpdateOptions<'static>> {
    Some(ScheduleTwinUpdateOptions {
        job_id: Some(id.to_owned()),
        ..ScheduleTwinUpdateOptions::default()
    })
}

fn every(seconds: i64) -> Option<WaitForJobOptions<'static>> {
    Some(WaitForJobOptions {
        method_options: PollerOptions {
            frequency: time::Duration::seconds(seconds),
            ..PollerOptions::default()
        },
        ..WaitForJobOptions::default()
    })
}

fn state(id: &str, status: &str) -> Value {
    json!({
        "jobId": id, "type": "scheduleUpdateTwin", "status": status,
        "deviceJobStatistics": { "deviceCount": 3, "succeededCount": 1, "failedCount": 0, "runningCount": 2, "pendingCount": 0 },
    })
}

fn job(id: &str, status: &str) -> HttpAnswer {
    HttpAnswer::new(StatusCode::Ok, state(id, status).to_string())
}

fn refusal(status: StatusCode, code: &'static str) -> HttpAnswer {
    HttpAnswer::new(status, "").with_header("iothub-errorcode", code)
}

fn code(error: &Error) -> Option<&HubErrorCode> {
    HubError::of(error).map(|hub| &hub.code)
}

fn body(http: &ScriptedHttp, at: usize) -> Value {
    serde_json::from_slice(&http.requests()[at].body).unwrap()
}
