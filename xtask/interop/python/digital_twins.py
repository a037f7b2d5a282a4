"""azure-iot-hub's DigitalTwinClient reads and patches digital twins, and invokes commands on azure-iot-device over MQTT."""

from azure.iot.hub import DigitalTwinClient

import device
import hub
from hub import equal, refused

CLIENTS = {
    "sas": lambda: DigitalTwinClient.from_connection_string(hub.CONNECTION_STRING),
    "entra": lambda: DigitalTwinClient.from_token_credential(hub.HOST, hub.entra()),
}

MODEL = "dtmi:com:example:TemperatureController;1"


def new_device():
    device_id, _ = device.new_device()
    return device_id


def desired(device_id):
    """The desired properties of the device's twin, without what the hub adds."""
    properties = hub.REGISTRIES["sas"]().get_twin(device_id).properties.desired
    return {name: value for name, value in properties.items() if not name.startswith("$")}


def wanted(metadata):
    return {name: value["desiredValue"] for name, value in metadata.items() if name != "$model"}


def patches(twins):
    device_id = new_device()
    equal(twins.get_digital_twin(device_id), {"$dtId": device_id, "$metadata": {"$model": ""}})

    patch = [
        {"op": "add", "path": "/targetTemperature", "value": 21.5},
        {"op": "add", "path": "/thermostat1/targetTemperature", "value": 20},
        {"op": "add", "path": "/thermostat2", "value": {"targetTemperature": 19, "mode": "eco", "$metadata": {}}},
    ]
    twins.update_digital_twin(device_id, patch)
    twin = twins.get_digital_twin(device_id)
    equal(wanted(twin["$metadata"]), {"targetTemperature": 21.5})
    equal(wanted(twin["thermostat1"]["$metadata"]), {"targetTemperature": 20})
    equal(wanted(twin["thermostat2"]["$metadata"]), {"targetTemperature": 19, "mode": "eco"})
    expected = {
        "targetTemperature": 21.5,
        "thermostat1": {"__t": "c", "targetTemperature": 20},
        "thermostat2": {"__t": "c", "targetTemperature": 19, "mode": "eco"},
    }
    equal(desired(device_id), expected)

    patch = [
        {"op": "replace", "path": "/thermostat2", "value": {"mode": "day", "$metadata": {}}},
        {"op": "remove", "path": "/thermostat1"},
        {"op": "remove", "path": "/targetTemperature"},
    ]
    twins.update_digital_twin(device_id, patch)
    equal(desired(device_id), {"thermostat2": {"__t": "c", "mode": "day"}})


def etags(twins):
    device_id = new_device()
    patch = [{"op": "add", "path": "/level", "value": 1}]
    # The generated layer below shows headers.
    below = twins.protocol.digital_twin
    first = below.get_digital_twin(device_id, raw=True).headers["ETag"]
    twins.update_digital_twin(device_id, patch, first)
    refused(412, "PreconditionFailed", twins.update_digital_twin, device_id, patch, first)
    second = below.update_digital_twin(device_id, patch, if_match="*", raw=True).headers
    equal(second["ETag"], below.get_digital_twin(device_id, raw=True).headers["ETag"])
    assert second["Location"].endswith(f"/digitaltwins/{device_id}"), second["Location"]


def refusals(twins):
    device_id = new_device()
    for operation, code in [
        ({"op": "move", "path": "/a", "from": "/b"}, "InvalidDigitalTwinJsonPatch"),
        ({"op": "add", "path": "/a/b/c", "value": 1}, "InvalidDigitalTwinPatchPath"),
        ({"op": "add", "path": "/a", "value": [1]}, "InvalidDigitalTwinPayload"),
    ]:
        refused(400, code, twins.update_digital_twin, device_id, [operation])
    equal(desired(device_id), {})
    ghost = hub.new_id("ghost")
    patch = [{"op": "add", "path": "/level", "value": 1}]
    refused(404, "DeviceNotFound", twins.get_digital_twin, ghost)
    refused(404, "DeviceNotFound", twins.update_digital_twin, ghost, patch)


def commands(twins, transport):
    """A command of a component is a method whose name has the component in it."""
    device_id, client = device.connected(transport, product_info=MODEL)
    device.answer(client)
    equal(twins.get_digital_twin(device_id)["$metadata"]["$model"], MODEL)
    # The subscription may be under way; the hub waits for it.
    patience = {"connect_timeout_in_seconds": 15, "response_timeout_in_seconds": 30}
    equal(twins.invoke_command(device_id, "reboot", 3, **patience), {"ran": "reboot", "with": 3})
    report = (device_id, "thermostat1", "getMaxMinReport", {"since": "2026-01-01T00:00:00Z"})
    reported = {"ran": "thermostat1*getMaxMinReport", "with": {"since": "2026-01-01T00:00:00Z"}}
    equal(twins.invoke_component_command(*report, **patience), reported)

    # The generated layer below shows headers.
    below = twins.protocol.digital_twin
    for answer, expected in [
        (below.invoke_root_level_command(device_id, "reboot", 3, raw=True), {"ran": "reboot", "with": 3}),
        (below.invoke_component_command(*report, raw=True), reported),
    ]:
        equal((answer.output, answer.headers["x-ms-command-statuscode"]), (expected, 207))
        assert answer.headers["x-ms-request-id"], answer.headers
    client.shutdown()
    refused(404, "DeviceNotOnline", twins.invoke_command, device_id, "reboot", 3)


def away(twins):
    device_id = new_device()
    refused(404, "DeviceNotOnline", twins.invoke_command, device_id, "reboot", {})
    refused(404, "DeviceNotOnline", twins.invoke_component_command, device_id, "thermostat1", "run", "now", 0, 5)
    refused(400, "ArgumentInvalid", twins.invoke_command, device_id, "reboot", {}, 0, 4)
    refused(404, "DeviceNotFound", twins.invoke_command, hub.new_id("ghost"), "reboot", {})


def no_commands(twins):
    """So it was seen on a hub, whatever the role."""
    device_id = new_device()
    refused(401, "IotHubUnauthorizedAccess", twins.invoke_command, device_id, "reboot", {})


for auth, make in CLIENTS.items():
    hub.check(f"patch a digital twin, {auth}", lambda: patches(make()))
    hub.check(f"digital twin ETags, {auth}", lambda: etags(make()))
    hub.check(f"refused patches of digital twins, {auth}", lambda: refusals(make()))
for transport in ["mqtt", "mqtt-ws"]:
    hub.check(f"commands to a device over {transport}", lambda: commands(CLIENTS["sas"](), transport))
hub.check("commands for a device that is away, sas", lambda: away(CLIENTS["sas"]()))
hub.check("commands are refused to Entra", lambda: no_commands(CLIENTS["entra"]()))
hub.finish()
