"""azure-iot-hub creates a device and sends it messages: SAS and Entra, AMQP and AMQP over WebSocket."""

from azure.iot.hub import IoTHubRegistryManager

import hub

MANAGERS = {
    "sas": lambda transport: IoTHubRegistryManager.from_connection_string(hub.CONNECTION_STRING, transport),
    "entra": lambda transport: IoTHubRegistryManager.from_token_credential(hub.HOST, hub.entra(), transport),
}


def send(auth, transport):
    manager = MANAGERS[auth](hub.TRANSPORTS[transport])
    device_id = hub.new_id("python")
    created = manager.create_device_with_sas(device_id, "", "", "enabled")
    assert created.device_id == device_id and created.authentication.symmetric_key.primary_key, created
    manager.send_c2d_message(device_id, "on", {"contentType": "text/plain", "reason": "test"})
    manager.send_c2d_message(device_id, "off", {})
    waiting = manager.get_device(device_id).cloud_to_device_message_count
    assert waiting == 2, f"the device's queue holds {waiting}"
    manager.delete_device(device_id)


def send_to_nobody():
    manager = MANAGERS["sas"](hub.TRANSPORTS["amqp"])
    try:
        manager.send_c2d_message(hub.new_id("nobody"), "on", {})
    except Exception as error:  # the SDK has no class for it, only this text
        hub.equal(str(error), "C2D message send failure")
        return
    raise AssertionError("a message to a device that does not exist was accepted")


for auth in MANAGERS:
    for transport in hub.TRANSPORTS:
        hub.check(f"create device, send C2D, {auth}, {transport}", lambda: send(auth, transport))
hub.check("send C2D to an unknown device is refused", send_to_nobody)
hub.finish()
