"""azure-iot-hub counts the devices of the hub."""

import hub
from hub import equal


def counts(registry):
    devices = registry.get_device_registry_statistics()
    return devices.total_device_count, devices.enabled_device_count, devices.disabled_device_count


def follow_the_registry(registry):
    equal(counts(registry), (0, 0, 0))
    ids = [hub.new_id("python") for _ in range(4)]
    for at, device_id in enumerate(ids):
        registry.create_device_with_sas(device_id, "", "", "disabled" if at == 0 else "enabled")
    equal(counts(registry), (4, 3, 1))
    registry.update_device_with_sas(ids[0], None, "", "", "enabled")
    equal(counts(registry), (4, 4, 0))
    for device_id in ids:
        registry.delete_device(device_id)
    equal(counts(registry), (0, 0, 0))


def nobody_is_connected(registry):
    device_id = hub.new_id("python")
    registry.create_device_with_sas(device_id, "", "", "enabled")
    equal(registry.get_service_statistics().connected_device_count, 0)
    registry.delete_device(device_id)


for auth, make in hub.REGISTRIES.items():
    hub.check(f"registry statistics, {auth}", lambda: follow_the_registry(make()))
    hub.check(f"service statistics, {auth}", lambda: nobody_is_connected(make()))
hub.finish()
