"""azure-iot-hub keeps configurations, which apply themselves to devices, and applies content to edge devices."""

import time

from azure.iot.hub.models import (
    Configuration,
    ConfigurationContent,
    ConfigurationMetrics,
    ConfigurationQueriesTestInput,
    QuerySpecification,
    Twin,
)

import hub
from hub import equal, refused

CONTENT = ConfigurationContent(device_content={"properties.desired.fan": {"speed": 5}})
EDGE = {
    "$edgeAgent": {
        "properties.desired": {
            "schemaVersion": "1.1",
            "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
            "systemModules": {},
            "modules": {"filter": {"type": "docker", "status": "running", "settings": {"image": "filter:1.0"}}},
        }
    },
    "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {}}},
    "filter": {"properties.desired.threshold": 42},
}


def configuration(**more):
    given = {"id": hub.new_id("fans"), "schema_version": "1.0", "content": CONTENT, "priority": 7, **more}
    return Configuration(**{"target_condition": "tags.nobody = 'here'", **given})


def desired(registry, device_id):
    return registry.get_twin(device_id).properties.desired


def eventually(read, expected):
    """Waits until the hub has done on its own what was asked of it."""
    until = time.monotonic() + 20
    while (seen := read()) != expected:
        assert time.monotonic() < until, f"{seen!r} did not become {expected!r}"
        time.sleep(0.05)


def life(manager):
    asked = configuration(labels={"team": "air"}, target_condition="tags.floor = 1")
    created = manager.create_configuration(asked)
    equal((created.id, created.priority, created.labels), (asked.id, 7, {"team": "air"}))
    equal((created.target_condition, created.schema_version), ("tags.floor = 1", "1.0"))
    equal(created.content.device_content, CONTENT.device_content)
    assert created.etag and created.created_time_utc.year > 2000, created
    read = manager.get_configuration(asked.id)
    equal((read.etag, read.created_time_utc, read.labels), (created.etag, created.created_time_utc, created.labels))
    assert asked.id in {each.id for each in manager.get_configurations()}

    asked.priority, asked.labels = 8, {"team": "water"}
    # The SDK sends the tag as it is given; the hub takes one without quotes for none, and that means: create.
    refused(409, "ConfigurationAlreadyExists", manager.update_configuration, asked, created.etag)
    updated = manager.update_configuration(asked, f'"{created.etag}"')
    equal((updated.priority, updated.labels), (8, {"team": "water"}))
    assert updated.etag != created.etag, "the ETag stayed"
    refused(412, "PreconditionFailed", manager.update_configuration, asked, f'"{created.etag}"')
    refused(412, "PreconditionFailed", manager.delete_configuration, asked.id, f'"{created.etag}"')
    asked.content = ConfigurationContent(device_content={"properties.desired.fan": {"speed": 9}})
    equal(manager.update_configuration(asked, "*").content.device_content, CONTENT.device_content)
    manager.delete_configuration(asked.id)
    refused(404, "ConfigurationNotFound", manager.get_configuration, asked.id)
    assert asked.id not in {each.id for each in manager.get_configurations()}


def refusals(manager):
    existing = manager.create_configuration(configuration())
    refused(409, "ConfigurationAlreadyExists", manager.create_configuration, configuration(id=existing.id))
    metrics = ConfigurationMetrics(queries={"broken": "SELECT FROM"})
    for wrong, code in [
        ({"id": "UPPER"}, "ArgumentInvalid"),
        ({"target_condition": "tags.a ="}, "InvalidConfigurationTargetCondition"),
        ({"metrics": metrics}, "InvalidConfigurationCustomMetricsQuery"),
        ({"content": ConfigurationContent(device_content={"tags.a": 1})}, "InvalidConfigurationContent"),
    ]:
        refused(400, code, manager.create_configuration, configuration(**wrong))


def queries_are_tested(manager):
    good = manager.test_configuration_queries(
        ConfigurationQueriesTestInput(
            target_condition="tags.floor = 1", custom_metric_queries={"all": "SELECT deviceId FROM devices"}
        )
    )
    assert not good.target_condition_error and not any((good.custom_metric_query_errors or {}).values()), good
    bad = manager.test_configuration_queries(
        ConfigurationQueriesTestInput(target_condition="tags.floor =", custom_metric_queries={"broken": "SELECT FROM"})
    )
    assert bad.target_condition_error and bad.custom_metric_query_errors["broken"], bad


def applies_itself(manager, registry):
    site = hub.new_id("site")
    ids = [hub.new_id("python") for _ in range(3)]
    for at, device_id in enumerate(ids):
        registry.create_device_with_sas(device_id, "", "", "enabled")
        registry.update_twin(device_id, Twin(tags={"site": site, "n": at}))
    fast = f"SELECT deviceId FROM devices WHERE tags.site = '{site}' AND properties.desired.fan.speed = 5"
    asked = configuration(
        target_condition=f"tags.site = '{site}' AND tags.n < 2", metrics=ConfigurationMetrics(queries={"fast": fast})
    )
    manager.create_configuration(asked)

    eventually(lambda: [desired(registry, each).get("fan") for each in ids], [{"speed": 5}, {"speed": 5}, None])

    def metrics():
        read = manager.get_configuration(asked.id)
        return read.system_metrics.results, read.metrics.results

    eventually(metrics, ({"targetedCount": 2, "appliedCount": 2}, {"fast": 2}))
    text = f"SELECT * FROM devices WHERE configurations.[[{asked.id}]].status = 'Applied'"
    found = registry.query_iot_hub(QuerySpecification(query=text)).items
    equal(sorted(twin.device_id for twin in found), sorted(ids[:2]))

    stronger = configuration(
        priority=8,
        target_condition=f"tags.site = '{site}' AND tags.n = 1",
        content=ConfigurationContent(device_content={"properties.desired.fan": {"speed": 9}}),
    )
    manager.create_configuration(stronger)
    eventually(lambda: [desired(registry, each).get("fan") for each in ids], [{"speed": 5}, {"speed": 9}, None])
    for each in (asked, stronger):
        manager.delete_configuration(each.id)


def edge_content(manager, registry):
    device_id = hub.new_id("edge")
    registry.create_device_with_sas(device_id, "", "", "enabled", iot_edge=True)
    manager.apply_configuration_on_edge_device(device_id, ConfigurationContent(modules_content=EDGE))
    agent = registry.get_module_twin(device_id, "$edgeAgent").properties.desired
    equal(agent["modules"], EDGE["$edgeAgent"]["properties.desired"]["modules"])
    equal(registry.get_module_twin(device_id, "$edgeHub").properties.desired["routes"], {})
    equal(registry.get_module_twin(device_id, "filter").properties.desired["threshold"], 42)
    equal({module.module_id for module in registry.get_modules(device_id)}, {"$edgeAgent", "$edgeHub", "filter"})

    def apply(device_id, content):
        manager.apply_configuration_on_edge_device(device_id, ConfigurationContent(modules_content=content))

    refused(400, "InvalidConfigurationContent", apply, device_id, {**EDGE, "filter": {"tags.a": 1}})
    refused(404, "DeviceNotFound", apply, hub.new_id("nobody"), EDGE)


SAS = hub.REGISTRIES["sas"]()
for auth, make in hub.CONFIGURATION_MANAGERS.items():
    hub.check(f"configuration life and ETags, {auth}", lambda: life(make()))
    hub.check(f"configurations apply themselves, {auth}", lambda: applies_itself(make(), SAS))
    hub.check(f"content for an edge device, {auth}", lambda: edge_content(make(), SAS))
hub.check("configurations that are refused", lambda: refusals(hub.CONFIGURATION_MANAGERS["sas"]()))
hub.check("queries of configurations are tested", lambda: queries_are_tested(hub.CONFIGURATION_MANAGERS["sas"]()))
hub.finish()
