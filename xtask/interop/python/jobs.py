"""azure-iot-hub's IoTHubJobManager schedules twin updates and methods, watches, cancels and lists them; azure-iot-device
over MQTT answers."""

import datetime
import time

from azure.iot.hub import IoTHubJobManager
from azure.iot.hub.models import CloudToDeviceMethod, JobRequest, QuerySpecification, Twin, TwinProperties

import device
import hub
from hub import equal, refused

HALL = hub.new_id("hall")
LAMPS = [f"{HALL}-{name}" for name in "abc"]
MANAGERS = {
    "sas": lambda: IoTHubJobManager.from_connection_string(hub.CONNECTION_STRING),
    "entra": lambda: IoTHubJobManager.from_token_credential(hub.HOST, hub.entra()),
}


def fill(registry):
    for lamp in LAMPS:
        registry.create_device_with_sas(lamp, "", "", "enabled")
        registry.update_twin(lamp, Twin(tags={"hall": HALL}))


def tomorrow():
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)


def twin_job(job_id, condition, interval=60, **more):
    twin = Twin(etag="*", properties=TwinProperties(desired={"interval": interval}))
    return JobRequest(
        job_id=job_id, type="scheduleUpdateTwin", update_twin=twin, query_condition=condition, **more
    )


def end(jobs, job_id):
    """Looks at a job until it has ended."""
    while True:
        job = jobs.get_scheduled_job(job_id)
        if job.status not in ("queued", "scheduled", "running"):
            return job
        time.sleep(0.05)


def counts(job):
    statistics = job.device_job_statistics
    return statistics.device_count, statistics.succeeded_count, statistics.failed_count


def twin_update(jobs, registry):
    job_id, interval = hub.new_id("job"), int(time.time())
    request = twin_job(job_id, f"tags.hall = '{HALL}'", interval, max_execution_time_in_seconds=300)
    begun = jobs.create_scheduled_job(job_id, request)
    equal((begun.job_id, begun.type, begun.status), (job_id, "scheduleUpdateTwin", "queued"))
    done = end(jobs, job_id)
    equal((done.status, counts(done), done.max_execution_time_in_seconds), ("completed", (3, 3, 0), 300))
    for lamp in LAMPS:
        equal(registry.get_twin(lamp).properties.desired["interval"], interval)


def blink(job_id, condition):
    """A job that invokes a method, and waits for who has just come."""
    call = CloudToDeviceMethod(
        method_name="blink", payload={"times": 2}, response_timeout_in_seconds=30, connect_timeout_in_seconds=15
    )
    return JobRequest(job_id=job_id, type="scheduleDeviceMethod", cloud_to_device_method=call, query_condition=condition)


def rows(registry, condition):
    """What jobs did with each device. The SDK reads every row as a twin, so what is not in a twin is in what it does not know."""
    text = f"SELECT * FROM devices.jobs WHERE {condition}"
    found = registry.query_iot_hub(QuerySpecification(query=text)).items
    return [(row.device_id, row.status, row.additional_properties) for row in found]


def method(jobs, registry):
    """Nobody is connected: the job completes, each device fails, and a query says why."""
    job_id = hub.new_id("job")
    request = blink(job_id, f"deviceId IN ['{LAMPS[0]}', '{LAMPS[1]}']")
    request.cloud_to_device_method.connect_timeout_in_seconds = 0
    begun = jobs.create_scheduled_job(job_id, request)
    equal((begun.type, begun.cloud_to_device_method.method_name), ("scheduleDeviceMethod", "blink"))
    done = end(jobs, job_id)
    equal((done.status, counts(done)), ("completed", (2, 0, 2)))
    found = [(lamp, status, more["error"]["code"]) for lamp, status, more in rows(registry, f"jobId = '{job_id}'")]
    equal(found, [(lamp, "failed", "DeviceNotOnline") for lamp in LAMPS[:2]])


def answered(jobs, registry):
    """A device that is there answers, and a query says what."""
    job_id = hub.new_id("job")
    lamp, client = device.connected("mqtt")
    device.answer(client)
    jobs.create_scheduled_job(job_id, blink(job_id, f"deviceId = '{lamp}'"))
    done = end(jobs, job_id)
    equal((done.status, counts(done)), ("completed", (1, 1, 0)))
    [(who, status, more)] = rows(registry, f"jobId = '{job_id}' AND outcome.deviceMethodResponse.status = 207")
    equal((who, status, more["jobType"]), (lamp, "completed", "scheduleDeviceMethod"))
    payload = {"ran": "blink", "with": {"times": 2}}
    equal(more["outcome"], {"deviceMethodResponse": {"status": 207, "payload": payload}})
    client.shutdown()


def cancel(jobs, _):
    job_id = hub.new_id("job")
    jobs.create_scheduled_job(job_id, twin_job(job_id, "*", start_time=tomorrow()))
    equal(jobs.cancel_scheduled_job(job_id).status, "cancelled")
    equal(end(jobs, job_id).status, "cancelled")
    refused(405, "OperationNotAllowedInCurrentState", jobs.cancel_scheduled_job, job_id)


def listing(jobs, _):
    """The SDK expects an object where hubs give an array and cannot read it, so that it is looked at as it came."""
    client = jobs.protocol._client

    def found(**filters):
        request = client.get("/jobs/v2/query", {"api-version": "2021-04-12", **filters}, {"Accept": "application/json"})
        response = client.send(request, stream=False)
        equal((response.status_code, response.headers["x-ms-item-type"]), (200, "JobResponse"))
        return sorted(row["jobId"] for row in response.json())

    waiting = [hub.new_id("job") for _ in range(3)]
    for job_id in waiting:
        jobs.create_scheduled_job(job_id, twin_job(job_id, "*", start_time=tomorrow()))
        while jobs.get_scheduled_job(job_id).status == "queued":
            time.sleep(0.02)
    equal(found(jobType="scheduleUpdateTwin", jobStatus="scheduled"), sorted(waiting))
    for job_id in waiting:
        jobs.cancel_scheduled_job(job_id)
    equal(found(jobStatus="scheduled"), [])


def refusals(jobs, _):
    job_id = hub.new_id("job")
    equal(jobs.get_scheduled_job("nobody").status, "unknown")
    refused(404, "JobNotFound", jobs.cancel_scheduled_job, "nobody")
    jobs.create_scheduled_job(job_id, twin_job(job_id, "SELECT * FROM devices"))
    failed = end(jobs, job_id)
    equal(failed.status, "failed")
    assert failed.failure_reason, failed
    refused(409, "JobAlreadyExists", jobs.create_scheduled_job, job_id, twin_job(job_id, "*"))


SAS = hub.REGISTRIES["sas"]()
fill(SAS)
for auth, make in MANAGERS.items():
    for story in (twin_update, method, answered, cancel, listing, refusals):
        hub.check(f"jobs: {story.__name__}, {auth}", lambda: story(make(), SAS))
hub.finish()
