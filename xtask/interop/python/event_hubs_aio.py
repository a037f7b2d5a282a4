"""azure-eventhub with coroutines reads from the built-in endpoint what a device sent."""

import asyncio
import json

from azure.eventhub import TransportType
from azure.eventhub.aio import EventHubConsumerClient
from azure.iot.device import Message

import hub
from device import connected

EVENT_HUB = hub.READY["eventHubConnectionString"]
BODIES = [{"n": 1}, {"n": 2}, {"n": 3}]


def consumer(transport):
    # It looks that often for partitions to read, and closes no sooner than it looks again.
    options = {"retry_total": 0, "load_balancing_interval": 0.5}
    return EventHubConsumerClient.from_connection_string(
        EVENT_HUB, consumer_group="$Default", transport_type=transport, **options
    )


def sender():
    """The id of a device that has sent something."""
    device_id, client = connected("mqtt")
    for body in BODIES:
        client.send_message(json.dumps(body))
    client.shutdown()
    return device_id


async def read(client, receive, device_id):
    """What a way to receive gives of a device, in the order in which it came."""
    bodies, enough = [], asyncio.Event()

    async def take(_, events):
        for event in events if isinstance(events, list) else [events]:
            if event.system_properties[b"iothub-connection-device-id"] == device_id.encode():
                bodies.append(json.loads(event.body_as_str()))
        if len(bodies) >= len(BODIES):
            enough.set()

    task = asyncio.create_task(receive(take, starting_position="-1"))
    await asyncio.wait_for(enough.wait(), 60)
    await client.close()
    await task
    return bodies


async def one_by_one(transport, device_id):
    client = consumer(transport)
    hub.equal(await read(client, client.receive, device_id), BODIES)


async def batches(transport, device_id):
    client = consumer(transport)
    hub.equal(await read(client, client.receive_batch, device_id), BODIES)


async def security(transport, _):
    device_id, sending = connected("mqtt")
    message = Message("{}")
    message.set_as_security_message()
    sending.send_message(message)
    sending.shutdown()
    client, found = consumer(transport), asyncio.get_running_loop().create_future()

    async def take(_, event):
        if event.system_properties[b"iothub-connection-device-id"] == device_id.encode():
            found.set_result(event.system_properties[b"iothub-interface-id"])

    task = asyncio.create_task(client.receive(take, starting_position="-1"))
    hub.equal(await asyncio.wait_for(found, 60), b"urn:azureiot:Security:SecurityAgent:1")
    await client.close()
    await task


async def management(transport, _):
    async with consumer(transport) as client:
        hub.equal((await client.get_eventhub_properties())["partition_ids"], ["0", "1", "2", "3"])
        partitions = await client.get_partition_ids()
        held = [await client.get_partition_properties(partition) for partition in partitions]
        assert any(not one["is_empty"] for one in held), held


STORIES = {
    "one by one": one_by_one,
    "in batches": batches,
    "what partitions hold": management,
    "messages of security agents": security,
}

for name, transport in {"amqp": TransportType.Amqp, "amqp-ws": TransportType.AmqpOverWebsocket}.items():
    for what, story in STORIES.items():
        hub.check(f"aio, event hubs, {name}: {what}", lambda: asyncio.run(story(transport, sender())))
hub.finish()
