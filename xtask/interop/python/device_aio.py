"""azure-iot-device with coroutines, over MQTT; the service is azure-iot-hub."""

import asyncio
import base64

from azure.iot.device import Message, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient
from azure.iot.device.exceptions import CredentialError
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

import hub
from device import REGISTRY, connection_string, debugging, new_device, new_module, new_pinned_device, options, token

PATIENCE = 60
CALL = CloudToDeviceMethod(
    method_name="blink", payload={"times": 3}, response_timeout_in_seconds=30, connect_timeout_in_seconds=15
)


def service(call, *arguments):
    """Calls the service while the device's loop goes on."""
    return asyncio.wait_for(asyncio.to_thread(call, *arguments), PATIENCE)


async def answer(client, invoked):
    """Answers the method that is being invoked. What comes before somebody asks for it by name, the SDK keeps for who does not."""
    request = await asyncio.wait_for(client.receive_method_request(), PATIENCE)
    hub.equal(request.name, "blink")
    await client.send_method_response(MethodResponse.create_from_method_request(request, 207, [request.payload]))
    result = await invoked
    hub.equal((result.status, result.payload), (207, [{"times": 3}]))


async def changed(client, update, *target):
    """Changes desired properties until the client hears of it: nothing says that it has begun to listen."""
    patch = asyncio.create_task(client.receive_twin_desired_properties_patch())
    level = 0
    while not patch.done():
        level += 1
        await service(update, *target, Twin(properties=TwinProperties(desired={"level": level})), "*")
        await asyncio.wait([patch], timeout=0.2)
    seen = patch.result()
    hub.equal(seen, {"level": seen["level"], "$version": seen["level"] + 1})


def handled(client, event):
    """Resolves with what a handler of this name is given first."""
    given = asyncio.get_running_loop().create_future()

    async def handle(what):
        if not given.done():
            given.get_loop().call_soon_threadsafe(given.set_result, what)

    setattr(client, event, handle)
    return given


async def device_asks(transport):
    """With the coroutines that receive."""
    device_id, key = new_device()
    client = IoTHubDeviceClient.create_from_connection_string(connection_string(device_id, key), **options(transport))
    await client.connect()
    await client.send_message(Message('{"temperature": 21.5}', content_encoding="utf-8", content_type="application/json"))
    hub.equal(await client.get_twin(), {"desired": {"$version": 1}, "reported": {"$version": 1}})
    await client.patch_twin_reported_properties({"on": True})
    hub.equal(REGISTRY.get_twin(device_id).properties.reported["on"], True)

    await service(REGISTRY.send_c2d_message, device_id, "off", {"messageId": "m1"})
    message = await asyncio.wait_for(client.receive_message(), PATIENCE)
    hub.equal((message.data, message.message_id), (b"off", "m1"))
    invoked = asyncio.create_task(service(REGISTRY.invoke_device_method, device_id, CALL))
    await answer(client, invoked)
    await asyncio.wait_for(changed(client, REGISTRY.update_twin, device_id), PATIENCE)
    await client.disconnect()
    hub.equal(REGISTRY.get_device(device_id).connection_state, "Disconnected")
    await client.shutdown()


async def device_is_told(transport):
    """With handlers."""
    device_id, key = new_device()
    client = IoTHubDeviceClient.create_from_symmetric_key(key, hub.HOST, device_id, **options(transport))
    await client.connect()
    message = handled(client, "on_message_received")
    await service(REGISTRY.send_c2d_message, device_id, "off", {"messageId": "m1"})
    hub.equal((await asyncio.wait_for(message, PATIENCE)).data, b"off")
    request = handled(client, "on_method_request_received")
    invoked = asyncio.create_task(service(REGISTRY.invoke_device_method, device_id, CALL))
    request = await asyncio.wait_for(request, PATIENCE)
    await client.send_method_response(MethodResponse.create_from_method_request(request, 207, request.payload))
    hub.equal((await invoked).payload, {"times": 3})
    patch = handled(client, "on_twin_desired_properties_patch_received")
    red = Twin(properties=TwinProperties(desired={"colour": "red"}))
    await service(REGISTRY.update_twin, device_id, red, "*")
    hub.equal(await asyncio.wait_for(patch, PATIENCE), {"colour": "red", "$version": 2})
    await client.shutdown()


async def module(transport):
    device_id, _ = new_device()
    module_id, key = new_module(device_id)
    text = connection_string(device_id, key, module_id)
    client = IoTHubModuleClient.create_from_connection_string(text, **options(transport))
    await client.connect()
    await client.send_message("on")
    await client.send_message_to_output(Message("on"), "lamps")
    invoked = asyncio.create_task(service(REGISTRY.invoke_device_module_method, device_id, module_id, CALL))
    await answer(client, invoked)
    await client.patch_twin_reported_properties({"on": True})
    hub.equal(REGISTRY.get_module_twin(device_id, module_id).properties.reported["on"], True)
    await client.disconnect()
    await client.connect()
    hub.equal((await client.get_twin())["reported"]["on"], True)
    await asyncio.wait_for(changed(client, REGISTRY.update_module_twin, device_id, module_id), PATIENCE)
    await client.shutdown()


async def tokens(transport, is_module):
    device_id, key = new_device()
    kind, module_id = IoTHubDeviceClient, None
    if is_module:
        kind = IoTHubModuleClient
        module_id, key = new_module(device_id)
    first = token(device_id, key, module_id)
    client = kind.create_from_sastoken(first, connection_retry=False, **options(transport))
    await client.connect()
    await client.update_sastoken(token(device_id, key, module_id, lifetime=7200))
    await client.send_message("on")
    wrong = base64.b64encode(bytes(32)).decode()
    try:
        await client.update_sastoken(token(device_id, wrong, module_id))
        # Unless the SDK waited for the new connection, that this was refused comes to light with what follows.
        await client.send_message("on")
    except CredentialError:
        await client.shutdown()
        return
    raise AssertionError("a device went on with a token that is not one")


async def certificates(transport):
    device_id, identity, thumbprint = new_pinned_device()
    REGISTRY.create_module_with_x509(device_id, "bulb", "", thumbprint, thumbprint)
    names = (identity, hub.HOST, device_id)
    for client in [
        IoTHubDeviceClient.create_from_x509_certificate(*names, **options(transport)),
        IoTHubModuleClient.create_from_x509_certificate(*names, "bulb", **options(transport)),
    ]:
        await client.connect()
        await client.patch_twin_reported_properties({"on": True})
        await client.shutdown()
    hub.equal(REGISTRY.get_twin(device_id).properties.reported["on"], True)
    hub.equal(REGISTRY.get_module_twin(device_id, "bulb").properties.reported["on"], True)


async def debugged(transport):
    device_id, _ = new_device()
    module_id, key = new_module(device_id)
    with debugging(device_id, key, module_id):
        client = IoTHubModuleClient.create_from_edge_environment(websockets=transport == "mqtt-ws")
    await client.connect()
    await client.patch_twin_reported_properties({"on": True})
    hub.equal(REGISTRY.get_module_twin(device_id, module_id).properties.reported["on"], True)
    await client.shutdown()


STORIES = {
    "device, {}: asks for messages, methods and changes of its twin": device_asks,
    "device, {}: is told of messages, methods and changes of its twin": device_is_told,
    "device, {}: goes on with a newer token": lambda transport: tokens(transport, False),
    "device and module, {}: sign in with a certificate": certificates,
    "module, {}: telemetry, methods and twin": module,
    "module, {}: made from the environment of an edge device": debugged,
    "module, {}: goes on with a newer token": lambda transport: tokens(transport, True),
}

for transport in ["mqtt", "mqtt-ws"]:
    for name, story in STORIES.items():
        hub.check(f"aio, {name.format(transport)}", lambda: asyncio.run(story(transport)))
hub.finish()
