"""Each call of azure-iot-hub over HTTPS, a topic at a time: `session.py TOPIC`."""

import sys
import time

# So that the SDK signs its tokens for the end of the year 2099 and an hour more.
time.time = lambda: 4102441200

from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import (
    CloudToDeviceMethod,
    Configuration,
    ConfigurationContent,
    ConfigurationQueriesTestInput,
    ExportImportDevice,
    QuerySpecification,
    Twin,
    TwinProperties,
)
from msrest.exceptions import HttpOperationError

KEYS = ("AAECAwQFBgcICQoLDA0ODw==", "EBESExQVFhcYGRobHB0eHw==")
SHA1 = "0123456789ABCDEF0123456789ABCDEF01234567"
HUB = f"HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey={KEYS[0]}"

registry = IoTHubRegistryManager.from_connection_string(HUB)
manager = IoTHubConfigurationManager.from_connection_string(HUB)


def refused(status, call, *arguments):
    try:
        call(*arguments)
    except HttpOperationError as error:
        assert error.response.status_code == status, error
        return
    raise AssertionError(f"{status} was expected")


def devices():
    registry.create_device_with_sas("lamp", "", "", "enabled")
    created = registry.create_device_with_sas("a%b#?'(c)", *KEYS, "disabled", status_reason="in the warehouse")
    registry.get_device(created.device_id)
    registry.update_device_with_sas(created.device_id, created.etag, *KEYS, "enabled")
    refused(412, registry.update_device_with_sas, created.device_id, created.etag, *KEYS, "enabled")
    registry.create_device_with_x509("pinned", SHA1, SHA1, "enabled")
    edge = registry.create_device_with_certificate_authority("edge", "enabled", iot_edge=True)
    registry.create_device_with_sas("leaf", "", "", "enabled", device_scope=edge.device_scope)
    refused(409, registry.create_device_with_sas, "lamp", "", "", "enabled")
    assert len(registry.get_devices(3)) == 3
    registry.delete_device("lamp")
    refused(404, registry.get_device, "lamp")
    refused(400, registry.create_device_with_sas, "no spaces", "", "", "enabled")
    registry.get_device_registry_statistics()
    registry.get_service_statistics()


def modules():
    registry.create_device_with_sas("lamp", *KEYS, "enabled")
    created = registry.create_module_with_sas("lamp", "fan", "", *KEYS)
    registry.get_module("lamp", "fan")
    registry.update_module_with_sas("lamp", "fan", "me", created.etag, *KEYS)
    registry.create_module_with_x509("lamp", "pinned", "", SHA1, SHA1)
    registry.create_module_with_certificate_authority("lamp", "signed", "")
    assert len(registry.get_modules("lamp")) == 3
    registry.delete_module("lamp", "pinned")
    refused(404, registry.get_module, "lamp", "pinned")


def twins():
    registry.create_device_with_sas("lamp", *KEYS, "enabled")
    registry.create_module_with_sas("lamp", "fan", "", *KEYS)
    twin = registry.get_twin("lamp")
    change = Twin(tags={"site": {"floor": 3}}, properties=TwinProperties(desired={"fan": {"speed": 2.5, "on": True}}))
    registry.update_twin("lamp", change, twin.etag)
    refused(412, registry.update_twin, "lamp", change, twin.etag)
    registry.replace_twin("lamp", Twin(tags={"site": "x"}, properties=TwinProperties(desired={"on": False})))
    registry.get_module_twin("lamp", "fan")
    registry.update_module_twin("lamp", "fan", change)
    registry.replace_module_twin("lamp", "fan", Twin(tags={}, properties=TwinProperties(desired={})))


def bulk():
    authentication = {"type": "sas", "symmetricKey": {"primaryKey": KEYS[0], "secondaryKey": KEYS[1]}}
    items = [
        ExportImportDevice(id=id, import_mode="create", status="enabled", authentication=authentication)
        for id in ("a", "b", "c")
    ]
    registry.bulk_create_or_update_devices(items)
    again = registry.bulk_create_or_update_devices(items[:1])
    assert not again.is_successful, again
    registry.bulk_create_or_update_devices([ExportImportDevice(id="a", import_mode="delete")])
    first = registry.query_iot_hub(QuerySpecification(query="SELECT * FROM devices"), None, 1)
    assert first.continuation_token
    last = registry.query_iot_hub(QuerySpecification(query="SELECT * FROM devices"), first.continuation_token, 1)
    assert not last.continuation_token
    registry.query_iot_hub(QuerySpecification(query="SELECT COUNT() AS n FROM devices"))
    refused(400, registry.query_iot_hub, QuerySpecification(query="SELECT"))


def configurations():
    registry.create_device_with_certificate_authority("edge", "enabled", True)
    content = ConfigurationContent(device_content={"properties.desired.fan": {"speed": 1}})
    created = manager.create_configuration(
        Configuration(id="c", content=content, target_condition="tags.site = 'x'", priority=5, labels={"a": "b"})
    )
    manager.get_configuration("c")
    created.priority = 6
    manager.update_configuration(created, f'"{created.etag}"')
    assert len(manager.get_configurations(5)) == 1
    manager.test_configuration_queries(
        ConfigurationQueriesTestInput(target_condition="*", custom_metric_queries={"q": "SELECT deviceId FROM devices"})
    )
    modules = {"$edgeAgent": {"properties.desired": {}}, "$edgeHub": {"properties.desired": {}}}
    manager.apply_configuration_on_edge_device("edge", ConfigurationContent(modules_content=modules))
    manager.delete_configuration("c")
    refused(404, manager.get_configuration, "c")


def methods():
    registry.create_device_with_sas("lamp", *KEYS, "enabled")
    method = CloudToDeviceMethod(method_name="dim", payload={"to": 3}, response_timeout_in_seconds=5)
    refused(404, registry.invoke_device_method, "lamp", method)
    refused(404, registry.invoke_device_module_method, "lamp", "fan", method)


globals()[sys.argv[1]]()
