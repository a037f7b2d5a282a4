use futures::TryStreamExt;
use iothub_core::{
    HubErrorCode, Result,
    models::{DeviceJob, DeviceJobStatus, DirectMethodRequest, JobStatus, JobType, JsonText, ScheduledJobKind},
};
use iothub_emulator::{Event, Operation};
use iothub_jobs::{JobCondition, JobFailure, ListDeviceJobsOptions, WaitForJobOptions};
use serde_json::{Value, json};

use crate::hub::{HOUR, Hub, MINUTE, code, method_named};

#[tokio::test]
async fn a_twin_update_reaches_the_devices_of_its_condition() -> Result<()> {
    let hub = Hub::with_devices(["candle", "lamp", "torch"]).await;
    for id in ["candle", "lamp"] {
        hub.tag(id, "hall", "7").await?;
    }
    let job = hub.schedule_interval("j1", "tags.hall = '7'", None).await?;
    assert_eq!((job.job_id.as_str(), &job.status), ("j1", &JobStatus::Queued));
    assert!(matches!(job.kind, ScheduledJobKind::UpdateTwin(_)));

    let done = hub.jobs.wait_for_job("j1", None)?.await?.into_model()?;

    assert_eq!(done.status, JobStatus::Completed);
    let devices = done.device_job_statistics.expect("it has run");
    assert_eq!(
        (devices.device_count, devices.succeeded_count, devices.failed_count),
        (2, 2, 0)
    );
    assert!(done.created_time <= done.end_time && done.end_time.is_some());
    let intervals = (
        hub.interval("candle").await?,
        hub.interval("lamp").await?,
        hub.interval("torch").await?,
    );
    assert_eq!(intervals, (Some(60), Some(60), None));
    assert_eq!(hub.executed(Operation::ScheduleJob, "j1"), 1);
    Ok(())
}

#[tokio::test]
async fn a_job_about_devices_by_id_passes_over_those_that_do_not_exist() -> Result<()> {
    let hub = Hub::with_devices(["it's", "lamp", "other"]).await;
    let ids = ["it's".parse()?, "lamp".parse()?, "gone".parse()?];
    let condition = JobCondition::devices(&ids)?;
    hub.schedule_interval("j1", condition.as_str(), None).await?;
    hub.jobs.wait_for_job("j1", None)?.await?;
    let devices: Vec<DeviceJob> = hub.jobs.list_device_jobs("j1", None)?.try_collect().await?;
    let ids: Vec<&str> = devices.iter().map(|device| device.device_id.as_str()).collect();
    assert_eq!(ids, ["it's", "lamp"]);
    Ok(())
}

#[tokio::test]
async fn a_method_tells_of_each_device_what_it_answered() -> Result<()> {
    let hub = Hub::with_devices(["candle", "lamp", "torch"]).await;
    let lamp = hub.emulator.device("lamp")?;
    lamp.on_method(|_, payload| (202, format!(r#"{{"at":1.50,"asked":{payload}}}"#)))?;
    let candle = hub.emulator.device("candle")?;
    candle.on_method(|_, _| (404, String::new()))?;

    let blink = DirectMethodRequest::new("blink").with_payload(json!({ "times": 2 }));
    let options = method_named("j1", None);
    hub.jobs.schedule_method(&JobCondition::all(), &blink, options).await?;
    let done = hub.jobs.wait_for_job("j1", None)?.await?.into_model()?;

    // What a device answers with any status is a success of the hub.
    let devices = done.device_job_statistics.expect("it has run");
    assert_eq!(
        (devices.device_count, devices.succeeded_count, devices.failed_count),
        (3, 2, 1)
    );
    let devices: Vec<DeviceJob> = hub.jobs.list_device_jobs("j1", None)?.try_collect().await?;
    let [candle, lamp, torch] = &devices[..] else {
        panic!("there are three: {devices:?}")
    };
    let answer = |device: &DeviceJob| {
        let outcome = device.outcome.as_ref()?.device_method_response.as_ref()?;
        Some((
            outcome.status,
            outcome.payload.as_ref().map_or("null", JsonText::as_str).to_owned(),
        ))
    };
    assert_eq!(answer(candle), Some((404, "null".to_owned())));
    assert_eq!(
        answer(lamp),
        Some((202, r#"{"at":1.50,"asked":{"times":2}}"#.to_owned()))
    );
    assert_eq!((answer(torch), &torch.status), (None, &DeviceJobStatus::Failed));
    let error = torch.error.as_ref().expect("it was not there");
    assert_eq!(error.code, Some(HubErrorCode::DeviceNotOnline));
    for device in [lamp, torch] {
        assert_eq!(device.job_type, JobType::ScheduleDeviceMethod);
        assert!(device.created_time <= device.start_time && device.start_time <= device.end_time);
        assert_eq!(device.last_updated_time, device.end_time);
    }
    Ok(())
}

#[tokio::test]
async fn progress_is_shown_while_devices_work() -> Result<()> {
    let hub = Hub::with_devices(["candle", "lamp"]).await;
    let devices = [hub.emulator.device("candle")?, hub.emulator.device("lamp")?];
    let mut methods = [devices[0].methods()?, devices[1].methods()?];
    let blink = DirectMethodRequest::new("blink");
    hub.jobs
        .schedule_method(&JobCondition::all(), &blink, method_named("j1", None))
        .await?;
    let [first, second] = &mut methods;
    let (first, second) = futures::join!(first.recv(), second.recv());
    first.expect("it is asked").answer(200, "")?;
    hub.emulator
        .journal()
        .wait_for(|event| matches!(event, Event::MethodAnswered { .. }))
        .await;

    let mut states = hub.jobs.wait_for_job("j1", None)?;
    let state = states.try_next().await?.expect("it runs").into_model()?;
    let devices = state.device_job_statistics.as_ref().expect("it runs");
    assert_eq!((&state.status, devices.device_count), (&JobStatus::Running, 2));
    assert_eq!(devices.running_count + devices.succeeded_count, 2);

    second.expect("it is asked").answer(200, "")?;
    let mut last = state;
    while let Some(state) = states.try_next().await? {
        last = state.into_model()?;
    }
    assert_eq!(last.status, JobStatus::Completed);
    assert_eq!(
        last.device_job_statistics.map(|devices| devices.succeeded_count),
        Some(2)
    );
    Ok(())
}

#[tokio::test]
async fn what_is_scheduled_can_be_cancelled_whatever_it_is() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    hub.schedule_interval("twins", "*", hub.in_ten_minutes()).await?;
    let blink = DirectMethodRequest::new("blink");
    let options = method_named("methods", hub.in_ten_minutes());
    hub.jobs.schedule_method(&JobCondition::all(), &blink, options).await?;

    for id in ["twins", "methods"] {
        let job = hub.jobs.cancel_job(id, None).await?.into_model()?;
        assert_eq!(job.status, JobStatus::Cancelled);
        assert_eq!(hub.executed(Operation::CancelJob, id), 1);
        let error = hub.jobs.wait_for_job(id, None)?.await.unwrap_err();
        let failure = JobFailure::of(&error).expect("it did not come to its end");
        assert_eq!(failure.job.status, JobStatus::Cancelled);
    }
    hub.emulator.clock().advance(MINUTE * 20);
    assert_eq!(hub.interval("lamp").await?, None);
    let late = hub.jobs.cancel_job("twins", None).await.unwrap_err();
    assert_eq!(code(&late), Some(&HubErrorCode::OperationNotAllowedInCurrentState));
    Ok(())
}

#[tokio::test]
async fn many_jobs_of_both_kinds_start_when_their_time_comes() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp = hub.emulator.device("lamp")?;
    lamp.on_method(|_, _| (200, String::new()))?;
    let blink = DirectMethodRequest::new("blink");
    for n in 0..10_u32 {
        let start = Some(hub.emulator.clock().now() + MINUTE * (n + 1));
        match n % 2 {
            0 => drop(hub.schedule_interval(&format!("j{n}"), "*", start).await?),
            _ => {
                let options = method_named(&format!("j{n}"), start);
                hub.jobs.schedule_method(&JobCondition::all(), &blink, options).await?;
            }
        }
    }
    // The first five are due, the others are not.
    hub.emulator.clock().advance(MINUTE * 5 + MINUTE / 2);
    for n in 0..10 {
        let id = format!("j{n}");
        if n < 5 {
            let done = hub.jobs.wait_for_job(&id, soon())?.await?.into_model()?;
            assert_eq!(
                done.device_job_statistics.map(|devices| devices.succeeded_count),
                Some(1),
                "{id}"
            );
        } else {
            let job = hub.jobs.get_job(&id, None).await?.into_model()?;
            assert_eq!(job.status, JobStatus::Scheduled, "{id}");
        }
    }
    hub.emulator.clock().advance(MINUTE * 10);
    for n in 5..10 {
        hub.jobs.wait_for_job(&format!("j{n}"), soon())?.await?;
    }
    let invoked = |event: &Event| matches!(event, Event::MethodInvoked { .. });
    assert_eq!(hub.emulator.journal().count(invoked), 5);
    Ok(())
}

#[tokio::test]
async fn a_job_that_takes_too_long_says_so() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let lamp = hub.emulator.device("lamp")?;
    let mut methods = lamp.methods()?;
    let blink = DirectMethodRequest::new("blink").with_response_timeout(MINUTE * 5);
    let options = iothub_jobs::ScheduleMethodOptions {
        max_execution_time: Some(MINUTE),
        ..method_named("j1", None).unwrap_or_default()
    };
    hub.jobs
        .schedule_method(&JobCondition::all(), &blink, Some(options))
        .await?;
    let _never_answered = methods.recv().await;
    hub.emulator.clock().advance(MINUTE);

    let error = hub.jobs.wait_for_job("j1", None)?.await.unwrap_err();

    let failure = JobFailure::of(&error).expect("it did not come to its end");
    assert_eq!(
        failure
            .job
            .device_job_statistics
            .as_ref()
            .map(|devices| devices.failed_count),
        Some(1)
    );
    let failed = ListDeviceJobsOptions {
        status: Some(DeviceJobStatus::Failed),
        ..ListDeviceJobsOptions::default()
    };
    let devices: Vec<DeviceJob> = hub.jobs.list_device_jobs("j1", Some(failed))?.try_collect().await?;
    assert_eq!(devices.len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_was_asked_for_comes_back() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let blink = DirectMethodRequest::new("blink").with_payload(json!([1.5, "x"]));
    let start = hub.in_ten_minutes();
    hub.jobs
        .schedule_method(&"deviceId = 'lamp'".parse()?, &blink, method_named("j1", start))
        .await?;
    let job = hub.jobs.get_job("j1", None).await?.into_model()?;
    let ScheduledJobKind::InvokeMethod(method) = &job.kind else {
        panic!("{:?}", job.kind)
    };
    let payload: Value = serde_json::from_str(method.payload.as_ref().unwrap().as_str())?;
    assert_eq!((method.method_name.as_str(), payload), ("blink", json!([1.5, "x"])));
    assert_eq!(job.query_condition.as_deref(), Some("deviceId = 'lamp'"));
    assert_eq!(job.max_execution_time, Some(HOUR));
    let off = (job.start_time.unwrap() - start.unwrap()).abs();
    assert!(off.whole_microseconds() <= 1, "{off}");
    Ok(())
}

/// Looks every second.
fn soon() -> Option<WaitForJobOptions<'static>> {
    let mut options = WaitForJobOptions::default();
    options.method_options.frequency = azure_core::time::Duration::seconds(1);
    Some(options)
}
