"""azure-iot-hub changes many identities and twins in one call."""

from azure.iot.hub.models import (
    AuthenticationMechanism,
    ExportImportDevice,
    PropertyContainer,
    SymmetricKey,
)

import hub
from hub import equal, refused

KEYS = ("AAECAwQFBgcICQoLDA0ODw==", "EBESExQVFhcYGRobHB0eHw==")


def sas():
    return AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key=KEYS[0], secondary_key=KEYS[1]))


def item(device_id, mode, **more):
    return ExportImportDevice(id=device_id, import_mode=mode, **more)


def bulk(registry, *items):
    """The result of a call, and its errors as device id, code and the code's number."""
    result = registry.bulk_create_or_update_devices(list(items))
    errors = [(error.device_id, error.error_code) for error in result.errors or []]
    equal(result.is_successful, not errors)
    return errors


def ids(count):
    return [hub.new_id("bulk") for _ in range(count)]


def hundred(registry):
    many = ids(100)
    equal(bulk(registry, *(item(each, "create", status="enabled", authentication=sas()) for each in many)), [])
    for device_id in (many[0], many[99]):
        key = registry.get_device(device_id).authentication.symmetric_key
        equal((key.primary_key, key.secondary_key), KEYS)
    equal(bulk(registry, *(item(each, "update", status="disabled", authentication=sas()) for each in many)), [])
    equal({registry.get_device(each).status for each in many[::33]}, {"disabled"})
    equal(bulk(registry, *(item(each, "delete") for each in many)), [])
    listed = {device.device_id for device in registry.get_devices()}
    assert not listed & set(many), listed


def with_twins(registry):
    [device_id] = ids(1)
    properties = PropertyContainer(desired={"speed": 1, "on": True})
    equal(bulk(registry, item(device_id, "create", status="enabled", tags={"site": "x"}, properties=properties)), [])
    twin = registry.get_twin(device_id)
    equal((twin.tags, twin.properties.desired["speed"]), ({"site": "x"}, 1))
    change = item(
        device_id, "updateTwin", tags={"site": None, "floor": 2}, properties=PropertyContainer(desired={"speed": 2})
    )
    equal(bulk(registry, change), [])
    twin = registry.get_twin(device_id)
    equal((twin.tags, twin.properties.desired["speed"], twin.properties.desired["on"]), ({"floor": 2}, 2, True))

    equal(bulk(registry, item(device_id, "create", module_id="fan", status="enabled", authentication=sas())), [])
    equal(registry.get_module(device_id, "fan").authentication.symmetric_key.primary_key, KEYS[0])
    equal(bulk(registry, item(device_id, "updateTwin", module_id="fan", tags={"m": 1})), [])
    equal(
        (registry.get_module_twin(device_id, "fan").tags, registry.get_twin(device_id).tags), ({"m": 1}, {"floor": 2})
    )
    equal(bulk(registry, item(device_id, "delete", module_id="fan")), [])
    equal(registry.get_modules(device_id), [])


def conditions(registry):
    [device_id] = ids(1)
    stale = registry.create_device_with_sas(device_id, *KEYS, "enabled").etag
    fresh = registry.update_device_with_sas(device_id, stale, *KEYS, "enabled").etag
    twin = registry.get_twin(device_id).etag
    failed = [(device_id, "412001")]
    for change, expected in [
        (item(device_id, "updateIfMatchETag", e_tag=stale, status="disabled", authentication=sas()), failed),
        (item(device_id, "deleteIfMatchETag", e_tag=stale), failed),
        (item(device_id, "updateTwinIfMatchETag", twin_etag="c3RhbGU=", tags={"a": 1}), failed),
        (item(device_id, "updateTwinIfMatchETag", twin_etag=twin, tags={"a": 1}), []),
        (item(device_id, "updateIfMatchETag", e_tag=fresh, status="disabled", authentication=sas()), []),
    ]:
        equal(bulk(registry, change), expected)
    device = registry.get_device(device_id)
    equal((device.status, registry.get_twin(device_id).tags), ("disabled", {"a": 1}))
    equal(bulk(registry, item(device_id, "deleteIfMatchETag", e_tag=device.etag)), [])
    refused(404, "DeviceNotFound", registry.get_device, device_id)


def partial_failure(registry):
    """The SDK hands a call of which a part failed back as a result."""
    old, new, none = ids(3)
    registry.create_device_with_sas(old, "", "", "enabled")
    errors = bulk(registry, item(old, "create"), item(new, "create"), item(none, "delete"))
    equal(errors, [(old, "409001"), (none, "404001")])
    equal(registry.get_device(new).device_id, new)


def whole_refusals(registry):
    """Of a call that is refused whole the SDK makes an empty result or an exception, by its status."""
    twice, *many = ids(102)
    refused(413, "TooManyDevices", registry.bulk_create_or_update_devices, [item(each, "create") for each in many])
    result = registry.bulk_create_or_update_devices([item(twice, "create"), item(twice, "create")])
    equal((result.is_successful, result.errors), (None, None))
    refused(404, "DeviceNotFound", registry.get_device, twice)


for auth, make in hub.REGISTRIES.items():
    hub.check(f"a hundred devices in bulk, {auth}", lambda: hundred(make()))
    hub.check(f"bulk calls that fail in part, {auth}", lambda: partial_failure(make()))
hub.check("twins and modules in bulk", lambda: with_twins(hub.REGISTRIES["sas"]()))
hub.check("bulk modes with a condition", lambda: conditions(hub.REGISTRIES["sas"]()))
hub.check("bulk calls that are refused whole", lambda: whole_refusals(hub.REGISTRIES["sas"]()))
hub.finish()
