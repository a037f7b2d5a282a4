"""A device of azure-iot-device over MQTT, for scripts that want one at the other end."""

import base64
import contextlib
import hashlib
import hmac
import os
import pathlib
import time
import urllib.parse

from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub import IoTHubRegistryManager

import hub
from certificate import certificate

ROOT = pathlib.Path(hub.READY["caFile"]).read_text()
REGISTRY = IoTHubRegistryManager.from_connection_string(hub.CONNECTION_STRING)


def options(transport):
    return {"websockets": transport == "mqtt-ws", "server_verification_cert": ROOT}


def new_device():
    """The id of a device that is new, and its key."""
    created = REGISTRY.create_device_with_sas(hub.new_id("python"), "", "", "enabled")
    return created.device_id, created.authentication.symmetric_key.primary_key


def new_pinned_device():
    """The id of a device that is new, its certificate, and the thumbprint by which the hub knows that."""
    device_id = hub.new_id("python")
    identity, thumbprint = certificate("anything")
    REGISTRY.create_device_with_x509(device_id, thumbprint, thumbprint, "enabled")
    return device_id, identity, thumbprint


def connection_string(device_id, key, module_id=None):
    module = f";ModuleId={module_id}" if module_id else ""
    return f"HostName={hub.HOST};DeviceId={device_id}{module};SharedAccessKey={key}"


def new_module(device_id):
    """A module that is new, and its key."""
    created = REGISTRY.create_module_with_sas(device_id, "bulb", "", "", "")
    return created.module_id, created.authentication.symmetric_key.primary_key


def token(device_id, key, module_id=None, lifetime=3600):
    """What a device shows instead of its key."""
    resource = f"{hub.HOST}/devices/{device_id}" + (f"/modules/{module_id}" if module_id else "")
    resource = urllib.parse.quote(resource, safe="")
    expiry = int(time.time()) + lifetime
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(digest), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"


@contextlib.contextmanager
def debugging(device_id, key, module_id):
    """The environment in which modules of an edge device are debugged without one: the hub is its gateway."""
    environment = {
        "EdgeHubConnectionString": f"{connection_string(device_id, key, module_id)};GatewayHostName={hub.HOST}",
        "EdgeModuleCACertificateFile": hub.READY["caFile"],
    }
    os.environ.update(environment)
    try:
        yield
    finally:
        for name in environment:
            del os.environ[name]


def connected(transport, **more):
    """A device that is new, and connected."""
    device_id, key = new_device()
    text = connection_string(device_id, key)
    client = IoTHubDeviceClient.create_from_connection_string(text, **options(transport), **more)
    client.connect()
    return device_id, client


def answer(client):
    """Answers every method with what it was asked."""

    def on_method(request):
        payload = {"ran": request.name, "with": request.payload}
        client.send_method_response(MethodResponse.create_from_method_request(request, 207, payload))

    client.on_method_request_received = on_method
