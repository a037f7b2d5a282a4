"""azure-iot-device over MQTT and over MQTT in WebSockets; the service is azure-iot-hub, and then this workspace's own."""

import base64
import datetime
import hashlib
import hmac
import os
import pathlib
import queue
import tempfile
import time
import urllib.parse

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse, X509
from azure.iot.device.exceptions import CredentialError
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import hub
from peer import Peer, PeerError

ROOT = pathlib.Path(hub.READY["caFile"]).read_text()
REGISTRY = IoTHubRegistryManager.from_connection_string(hub.CONNECTION_STRING)
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


def options(transport):
    return {"websockets": transport == "mqtt-ws", "server_verification_cert": ROOT}


def new_device(**authentication):
    device_id = hub.new_id("python")
    if authentication:
        thumbprint = authentication["thumbprint"]
        REGISTRY.create_device_with_x509(device_id, thumbprint, thumbprint, "enabled")
        return device_id, None
    created = REGISTRY.create_device_with_sas(device_id, "", "", "enabled")
    return device_id, created.authentication.symmetric_key.primary_key


def connection_string(device_id, key, module_id=None):
    module = f";ModuleId={module_id}" if module_id else ""
    return f"HostName={hub.HOST};DeviceId={device_id}{module};SharedAccessKey={key}"


def connected(transport, **more):
    """A device that is new, and connected."""
    device_id, key = new_device()
    text = connection_string(device_id, key)
    client = IoTHubDeviceClient.create_from_connection_string(text, **options(transport), **more)
    client.connect()
    return device_id, client


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


def answer(client):
    """Answers every method with what it was asked."""

    def on_method(request):
        payload = {"ran": request.name, "with": request.payload}
        client.send_method_response(MethodResponse.create_from_method_request(request, 207, payload))

    client.on_method_request_received = on_method


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
    created = REGISTRY.create_module_with_sas(device_id, "bulb", "", "", "")
    text = connection_string(device_id, created.authentication.symmetric_key.primary_key, "bulb")
    client = IoTHubModuleClient.create_from_connection_string(text, **options(transport))
    client.connect()
    client.send_message("on")
    answer(client)
    hub.equal(service.invoke(device_id, "bulb", "blink", [1.5]), (207, {"ran": "blink", "with": [1.5]}))
    client.patch_twin_reported_properties({"on": True})
    hub.equal(REGISTRY.get_module_twin(device_id, "bulb").properties.reported["on"], True)
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
    expiry = int(time.time()) + 3600
    resource = urllib.parse.quote(f"{hub.HOST}/devices/{device_id}", safe="")
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(digest), safe="")
    token = f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"
    client = IoTHubDeviceClient.create_from_sastoken(token, **options(transport))
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


def certificate(name, issuer=None):
    """A certificate and its key in files, signed by itself or by the authority that the hub trusts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    signed = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    folder = pathlib.Path(tempfile.mkdtemp())
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(signed.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    identity = X509(cert_file=str(folder / "cert.pem"), key_file=str(folder / "key.pem"))
    return identity, signed.fingerprint(hashes.SHA256()).hex()


def certificates(transport, service):
    identity, thumbprint = certificate("anything")
    device_id, _ = new_device(thumbprint=thumbprint)
    client = IoTHubDeviceClient.create_from_x509_certificate(identity, hub.HOST, device_id, **options(transport))
    client.connect()
    client.send_message("on")
    answer(client)
    hub.equal(service.invoke(device_id, None, "blink", 1), (207, {"ran": "blink", "with": 1}))
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
    "names its model": models,
    "signs in with a key, and with a token": keys,
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
