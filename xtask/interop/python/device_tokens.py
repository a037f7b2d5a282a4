"""azure-iot-device over MQTT signs in with tokens, and goes on with newer ones."""

import base64

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient
from azure.iot.device.exceptions import CredentialError

import hub
import management
from device import connection_string, new_device, new_module, options, token


def new_identity(is_module):
    """What makes clients of a device or module that is new, its ids and its key."""
    device_id, key = new_device()
    if not is_module:
        return IoTHubDeviceClient, device_id, None, key
    return IoTHubModuleClient, device_id, *new_module(device_id)


def renewal(transport, is_module):
    kind, device_id, module_id, key = new_identity(is_module)
    first = token(device_id, key, module_id)
    client = kind.create_from_sastoken(first, connection_retry=False, **options(transport))
    client.connect()
    client.send_message("on")
    client.update_sastoken(token(device_id, key, module_id, lifetime=7200))
    client.send_message("on")

    wrong = base64.b64encode(bytes(32)).decode()
    try:
        client.update_sastoken(token(device_id, wrong, module_id))
        # Unless the SDK waited for the new connection, that this was refused comes to light with what follows.
        client.send_message("on")
    except CredentialError:
        client.shutdown()
        return
    raise AssertionError("a device went on with a token that is not one")


def short_tokens(transport, is_module):
    """A new token is made two minutes before the old one expires."""
    kind, device_id, module_id, key = new_identity(is_module)
    name = f"{device_id}/{module_id}" if is_module else device_id
    text = connection_string(device_id, key, module_id)
    client = kind.create_from_connection_string(text, sastoken_ttl=122, **options(transport))
    since = management.now()
    client.connect()
    client.send_message("on")
    authorized = lambda event: event["type"] == "authorized" and event["principal"] == f"device {name}"
    management.events(since, 2, authorized)
    client.send_message("off")
    sent = lambda event: event["type"] == "telemetry" and event["source"] == name
    management.events(since, 2, sent)
    client.shutdown()


for transport in ["mqtt", "mqtt-ws"]:
    for who, is_module in {"device": False, "module": True}.items():
        hub.check(f"{who}, {transport}: goes on with a newer token", lambda: renewal(transport, is_module))
        hub.check(f"{who}, {transport}: makes new tokens in time", lambda: short_tokens(transport, is_module))
hub.finish()
