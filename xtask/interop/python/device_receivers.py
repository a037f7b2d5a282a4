"""azure-iot-device over MQTT asks for messages, methods and changes of its twin, where newer programs have handlers."""

import concurrent.futures

from azure.iot.device import IoTHubModuleClient, MethodResponse
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

import hub
from device import REGISTRY, connected, connection_string, new_device, new_module, options

PATIENCE = 60
CALL = CloudToDeviceMethod(
    method_name="blink", payload={"times": 3}, response_timeout_in_seconds=30, connect_timeout_in_seconds=15
)
RED = Twin(properties=TwinProperties(desired={"colour": "red"}))


def methods(client, invoke):
    """Answers a method while the service waits. What comes before somebody asks for it by name, the SDK keeps for who does not."""
    with concurrent.futures.ThreadPoolExecutor() as service:
        invoked = service.submit(invoke)
        request = client.receive_method_request(timeout=PATIENCE)
        hub.equal((request.name, request.payload), ("blink", {"times": 3}))
        client.send_method_response(MethodResponse.create_from_method_request(request, 207, [request.name]))
        answer = invoked.result(PATIENCE)
    hub.equal((answer.status, answer.payload), (207, ["blink"]))


def methods_by_name(client, invoke):
    """Answers a method that somebody asks for by its name; the first question finds nothing yet."""
    hub.equal(client.receive_method_request("blink", block=False), None)
    with concurrent.futures.ThreadPoolExecutor() as service:
        invoked = service.submit(invoke)
        request = client.receive_method_request("blink", timeout=PATIENCE)
        hub.equal(client.receive_method_request(block=False), None)
        client.send_method_response(MethodResponse.create_from_method_request(request, 208, request.payload))
        answer = invoked.result(PATIENCE)
    hub.equal((answer.status, answer.payload), (208, {"times": 3}))


def changes(client, change):
    """Sees a desired property come; the first question subscribes, and finds nothing yet."""
    hub.equal(client.receive_twin_desired_properties_patch(block=False), None)
    change()
    hub.equal(client.receive_twin_desired_properties_patch(timeout=PATIENCE), {"colour": "red", "$version": 2})


def device(transport):
    device_id, client = connected(transport)
    REGISTRY.send_c2d_message(device_id, "on", {"messageId": "m1", "reason": "test"})
    message = client.receive_message(timeout=PATIENCE)
    hub.equal((message.data, message.message_id), (b"on", "m1"))
    hub.equal(message.custom_properties, {"reason": "test"})
    methods(client, lambda: REGISTRY.invoke_device_method(device_id, CALL))
    methods_by_name(client, lambda: REGISTRY.invoke_device_method(device_id, CALL))
    changes(client, lambda: REGISTRY.update_twin(device_id, RED, "*"))
    client.shutdown()


def module(transport):
    device_id, _ = new_device()
    module_id, key = new_module(device_id)
    text = connection_string(device_id, key, module_id)
    client = IoTHubModuleClient.create_from_connection_string(text, **options(transport))
    client.connect()
    methods(client, lambda: REGISTRY.invoke_device_module_method(device_id, module_id, CALL))
    methods_by_name(client, lambda: REGISTRY.invoke_device_module_method(device_id, module_id, CALL))
    changes(client, lambda: REGISTRY.update_module_twin(device_id, module_id, RED, "*"))
    client.shutdown()


for transport in ["mqtt", "mqtt-ws"]:
    hub.check(f"device, {transport}: asks for messages, methods and changes of its twin", lambda: device(transport))
    hub.check(f"module, {transport}: asks for methods and changes of its twin", lambda: module(transport))
hub.finish()
