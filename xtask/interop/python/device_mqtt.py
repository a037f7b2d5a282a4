"""azure-iot-device over MQTT and over MQTT in WebSockets; the service is azure-iot-hub, and then this workspace's own."""

import base64
import os
import pathlib
import queue

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message
from azure.iot.device.exceptions import CredentialError
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import hub
import management
from certificate import certificate
from device import (
    REGISTRY,
    answer,
    connected,
    connection_string,
    debugging,
    new_device,
    new_module,
    new_pinned_device,
    options,
)
from peer import Peer, PeerError

PATIENCE = 60


class Sdk:
    """Microsoft's SDK as the service. It has no feedback."""

    def send(self, device_id, body, properties):
        REGISTRY.send_c2d_message(device_id, body, properties)

    def invoke(self, device_id, module_id, name, payload):
        call = CloudToDeviceMethod(
            method_name=name, payload=payload, response_timeout_in_seconds=30, connect_timeout_in_seconds=15
        )
        if module_id:
            answer = REGISTRY.invoke_device_module_method(device_id, module_id, call)
        else:
            answer = REGISTRY.invoke_device_method(device_id, call)
        return answer.status, answer.payload


class Ours:
    """The ServiceClient of this workspace. A message is sent when the device has said that it has it."""

    def __init__(self):
        self._peer = Peer()
        self.close = self._peer.close

    def send(self, device_id, body, properties):
        properties = dict(properties)
        message = {"messageId": properties.pop("messageId"), "contentType": properties.pop("contentType")}
        fate = self._peer("sendAndConfirm", to=device_id, body=body, properties=properties, **message)
        hub.equal(fate, "Success")

    def invoke(self, device_id, module_id, name, payload, patience=15):
        to = f"{device_id}/{module_id}" if module_id else device_id
        answer = self._peer("invoke", to=to, method=name, payload=payload, connectTimeout=patience)
        return answer["status"], answer["payload"]


def telemetry(transport):
    device_id, client = connected(transport)
    message = Message('{"temperature": 21.5}', content_encoding="utf-8", content_type="application/json")
    message.message_id = hub.new_id("message")
    message.custom_properties["level"] = "high & low = ☕"
    client.send_message(message)
    hub.equal(REGISTRY.get_device(device_id).connection_state, "Connected")
    client.shutdown()
    hub.equal(REGISTRY.get_device(device_id).connection_state, "Disconnected")


def messages(transport, service):
    device_id, client = connected(transport)
    received = queue.Queue()
    client.on_message_received = received.put
    properties = {"messageId": "m/1", "contentType": "text/plain", "reason": "a & b = ☕/1"}
    service.send(device_id, "on", properties)
    message = received.get(timeout=PATIENCE)
    hub.equal((message.data, message.message_id, message.content_type), (b"on", "m/1", "text/plain"))
    hub.equal(message.custom_properties, {"reason": "a & b = ☕/1"})
    client.shutdown()
    hub.equal(REGISTRY.get_device(device_id).cloud_to_device_message_count, 0)


def methods(transport, service):
    device_id, client = connected(transport)
    answer(client)
    for payload in [{"times": 3}, "text", 1.5, [1, None]]:
        expected = (207, {"ran": "blink", "with": payload})
        hub.equal(service.invoke(device_id, None, "blink", payload), expected)
    client.shutdown()


def twins(transport):
    device_id, client = connected(transport)
    hub.equal(client.get_twin(), {"desired": {"$version": 1}, "reported": {"$version": 1}})
    client.patch_twin_reported_properties({"on": True, "gone": 1})
    client.patch_twin_reported_properties({"gone": None, "level": {"now": 3}})
    reported = REGISTRY.get_twin(device_id).properties.reported
    hub.equal((reported["on"], reported["level"]["now"], "gone" in reported), (True, 3, False))
    changes = queue.Queue()
    client.on_twin_desired_properties_patch_received = changes.put
    # That the property is set is no word yet that the subscription stands; asking for the twin is behind it.
    client.get_twin()
    REGISTRY.update_twin(device_id, Twin(properties=TwinProperties(desired={"colour": "red"})), "*")
    hub.equal(changes.get(timeout=PATIENCE), {"colour": "red", "$version": 2})
    hub.equal(client.get_twin()["desired"], {"colour": "red", "$version": 2})
    client.shutdown()


def dropped(transport):
    """A device whose connection the hub ends is told so, and comes back."""
    device_id, client = connected(transport, connection_retry_interval=1)
    changes = queue.Queue()
    client.on_connection_state_change = lambda: changes.put(client.connected)
    since = management.now()
    management.disconnect(device_id)
    ends = lambda event: event["type"] in ("connected", "disconnected") and event["target"] == device_id
    events = [event["type"] for event in management.events(since, 2, ends)]
    hub.equal(events, ["disconnected", "connected"])
    # By the time that the first is heard, the device may be back already.
    changes.get(timeout=PATIENCE)
    hub.equal(changes.get(timeout=PATIENCE), True)
    client.send_message("on")
    management.events(since, 1, lambda event: event["type"] == "telemetry" and event["source"] == device_id)
    client.shutdown()


def offline(transport):
    """Desired properties that are set while the device is away are there when it is back."""
    device_id, client = connected(transport)
    client.disconnect()
    REGISTRY.update_twin(device_id, Twin(properties=TwinProperties(desired={"colour": "blue"})), "*")
    client.connect()
    hub.equal(client.get_twin()["desired"]["colour"], "blue")
    client.shutdown()


def modules(transport, service):
    device_id, _ = new_device()
    module_id, key = new_module(device_id)
    text = connection_string(device_id, key, module_id)
    client = IoTHubModuleClient.create_from_connection_string(text, **options(transport))
    client.connect()
    client.send_message("on")
    answer(client)
    hub.equal(service.invoke(device_id, "bulb", "blink", [1.5]), (207, {"ran": "blink", "with": [1.5]}))
    client.patch_twin_reported_properties({"on": True})
    hub.equal(REGISTRY.get_module_twin(device_id, "bulb").properties.reported["on"], True)
    client.disconnect()
    REGISTRY.update_module_twin(device_id, "bulb", Twin(properties=TwinProperties(desired={"colour": "blue"})), "*")
    client.connect()
    hub.equal(client.get_twin()["desired"]["colour"], "blue")
    client.shutdown()


def debugged(transport):
    device_id, _ = new_device()
    module_id, key = new_module(device_id)
    with debugging(device_id, key, module_id):
        client = IoTHubModuleClient.create_from_edge_environment(websockets=transport == "mqtt-ws")
    client.connect()
    client.send_message_to_output(Message("on"), "lamps")
    client.patch_twin_reported_properties({"on": True})
    hub.equal(REGISTRY.get_module_twin(device_id, module_id).properties.reported["on"], True)
    client.shutdown()


def models(transport):
    model = "dtmi:com:example:Lamp;1"
    device_id, client = connected(transport, product_info=model)
    hub.equal(REGISTRY.get_twin(device_id).additional_properties["modelId"], model)
    client.shutdown()


def keys(transport):
    device_id, key = new_device()
    client = IoTHubDeviceClient.create_from_symmetric_key(key, hub.HOST, device_id, **options(transport))
    client.connect()
    client.send_message("on")
    client.shutdown()


def refusals(transport):
    device_id, _ = new_device()
    wrong = base64.b64encode(bytes(32)).decode()
    text = connection_string(device_id, wrong)
    client = IoTHubDeviceClient.create_from_connection_string(text, connection_retry=False, **options(transport))
    try:
        client.connect()
    except CredentialError:
        pass
    else:
        raise AssertionError("a wrong key was accepted")
    client.shutdown()


def absence(transport):
    """Who calls a device that has gone is told so, and not that there is no such device."""
    device_id, client = connected(transport)
    answer(client)
    client.shutdown()
    try:
        ours.invoke(device_id, None, "blink", 1, patience=0)
    except PeerError as error:
        hub.equal(error.code, "DeviceNotOnline")
        return
    raise AssertionError("a device that is not there ran a method")


def certificates(transport, service):
    device_id, identity, _ = new_pinned_device()
    client = IoTHubDeviceClient.create_from_x509_certificate(identity, hub.HOST, device_id, **options(transport))
    client.connect()
    client.send_message("on")
    answer(client)
    hub.equal(service.invoke(device_id, None, "blink", 1), (207, {"ran": "blink", "with": 1}))
    client.shutdown()


def module_certificates(transport):
    identity, thumbprint = certificate("anything")
    device_id, _ = new_device()
    REGISTRY.create_module_with_x509(device_id, "bulb", "", thumbprint, thumbprint)
    client = IoTHubModuleClient.create_from_x509_certificate(
        identity, hub.HOST, device_id, "bulb", **options(transport)
    )
    client.connect()
    client.patch_twin_reported_properties({"on": True})
    hub.equal(REGISTRY.get_module_twin(device_id, "bulb").properties.reported["on"], True)
    client.shutdown()


def authorities(transport, service):
    read = lambda variable: pathlib.Path(os.environ[variable]).read_bytes()
    issuer = (
        x509.load_pem_x509_certificate(read("IOTHUB_DEVICE_AUTHORITY")),
        serialization.load_pem_private_key(read("IOTHUB_DEVICE_AUTHORITY_KEY"), None),
    )
    device_id = hub.new_id("python")
    REGISTRY.create_device_with_certificate_authority(device_id, "enabled")
    identity, _ = certificate(device_id, issuer)
    client = IoTHubDeviceClient.create_from_x509_certificate(identity, hub.HOST, device_id, **options(transport))
    client.connect()
    client.send_message("on")
    answer(client)
    hub.equal(service.invoke(device_id, None, "blink", 1), (207, {"ran": "blink", "with": 1}))
    client.shutdown()


ALWAYS = {
    "receives messages and completes them": messages,
    "answers methods": methods,
    "as a module: telemetry, methods and twin": modules,
    "signs in with a certificate, by thumbprint": certificates,
    "signs in with a certificate of an authority": authorities,
}
ONCE = {
    "sends telemetry": telemetry,
    "reads its twin, reports, and watches desired properties": twins,
    "finds desired properties that were set while it was away": offline,
    "comes back when the hub ends its connection": dropped,
    "names its model": models,
    "signs in with a key": keys,
    "as a module: signs in with a certificate": module_certificates,
    "as a module: made from the environment of an edge device": debugged,
    "with a wrong key is refused": refusals,
    "that has gone answers no methods": absence,
}

ours = Ours()
for transport in ["mqtt", "mqtt-ws"]:
    for name, body in ONCE.items():
        hub.check(f"device, {transport}: {name}", lambda: body(transport))
    for who, service in {"azure-iot-hub": Sdk(), "iothub": ours}.items():
        for name, body in ALWAYS.items():
            hub.check(f"device, {transport}, service {who}: {name}", lambda: body(transport, service))
ours.close()
hub.finish()
