"""azure-eventhub reads from the built-in endpoint what a device sent; uamqp follows the hub's redirect to it."""

import datetime
import hashlib
import hmac
import base64
import json
import queue
import threading
import time
import urllib.parse

import requests
import uamqp
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.eventhub import CheckpointStore, EventHubConsumerClient, TransportType
from azure.eventhub.exceptions import EventHubError
from azure.iot.hub import IoTHubRegistryManager

import hub
import management

EVENT_HUB = hub.READY["eventHubConnectionString"]
FIELDS = dict(field.split("=", 1) for field in hub.CONNECTION_STRING.split(";"))
READER = dict(field.split("=", 1) for field in EVENT_HUB.split(";"))
DOORS = {"amqp": TransportType.Amqp, "amqpWebSocket": TransportType.AmqpOverWebsocket}


def signature(resource, key, policy=None):
    expiry = int(time.time()) + 3600
    resource = urllib.parse.quote(resource, safe="")
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    text = f"SharedAccessSignature sr={resource}&sig={urllib.parse.quote(base64.b64encode(digest), safe='')}&se={expiry}"
    return f"{text}&skn={policy}" if policy else text


def send(device_id, key, *bodies):
    """Sends over HTTPS, as a device without an SDK does."""
    for body in bodies:
        headers = {
            "Authorization": signature(f"{hub.HOST}/devices/{device_id}", key),
            "iothub-app-level": "high",
            "iothub-contenttype": "application/json",
            "iothub-contentencoding": "utf-8",
        }
        url = f"https://{hub.HOST}/devices/{device_id}/messages/events?api-version=2021-04-12"
        requests.post(url, data=json.dumps(body), headers=headers, timeout=30).raise_for_status()


def new_device():
    device_id = hub.new_id("python")
    registry = IoTHubRegistryManager.from_connection_string(hub.CONNECTION_STRING)
    created = registry.create_device_with_sas(device_id, "", "", "enabled")
    return device_id, created.authentication.symmetric_key.primary_key


def consumer(**options):
    return EventHubConsumerClient.from_connection_string(EVENT_HUB, consumer_group="$Default", retry_total=0, **options)


def read(client, device_id, count, **options):
    """Reads until there are so many events of a device, or a minute has passed."""
    events, enough = [], threading.Event()

    def on_event(_, event):
        if event and event.system_properties.get(b"iothub-connection-device-id") == device_id.encode():
            events.append(event)
            if len(events) >= count:
                enough.set()

    thread = threading.Thread(
        target=client.receive,
        kwargs={"on_event": on_event, "on_error": lambda _, error: print(error), "starting_position": "-1", **options},
        daemon=True,
    )
    thread.start()
    assert enough.wait(60), f"{len(events)} events came, not {count}"
    client.close()
    thread.join(60)
    return events


def everything(door, **options):
    device_id, key = new_device()
    send(device_id, key, {"n": 1}, {"n": 2}, {"n": 3})
    since = management.now()
    events = read(consumer(transport_type=DOORS[door], **options), device_id, 3)
    attached = lambda event: event["type"] == "amqp" and event["event"]["type"] == "attached"
    hub.equal(management.events(since, 1, attached)[0]["door"], door)
    hub.equal([json.loads(event.body_as_str()) for event in events], [{"n": 1}, {"n": 2}, {"n": 3}])
    first = events[0]
    hub.equal(first.properties, {b"level": b"high"})
    hub.equal(first.partition_key, device_id.encode())
    hub.equal(first.content_type, "application/json")
    method = json.loads(first.system_properties[b"iothub-connection-auth-method"])
    hub.equal((method["scope"], method["type"], method["issuer"]), ("device", "sas", "iothub"))
    age = datetime.datetime.now(datetime.timezone.utc) - first.enqueued_time
    assert abs(age.total_seconds()) < 60, age


def batches():
    device_id, key = new_device()
    send(device_id, key, {"n": 1}, {"n": 2}, {"n": 3})
    bodies, enough = [], threading.Event()

    def on_event_batch(_, batch):
        mine = [event for event in batch if event.system_properties[b"iothub-connection-device-id"] == device_id.encode()]
        bodies.extend(json.loads(event.body_as_str()) for event in mine)
        if len(bodies) >= 3:
            enough.set()

    client = consumer()
    options = {"on_event_batch": on_event_batch, "starting_position": "-1", "max_wait_time": 1}
    thread = threading.Thread(target=client.receive_batch, kwargs=options, daemon=True)
    thread.start()
    assert enough.wait(60), bodies
    client.close()
    thread.join(60)
    hub.equal(bodies, [{"n": 1}, {"n": 2}, {"n": 3}])


def partitions():
    with consumer() as client:
        properties = client.get_eventhub_properties()
        hub.equal(properties["partition_ids"], ["0", "1", "2", "3"])
        hub.equal(client.get_partition_ids(), properties["partition_ids"])
        held = [client.get_partition_properties(partition) for partition in properties["partition_ids"]]
        filled = [one for one in held if not one["is_empty"]]
        assert filled, held
        for one in filled:
            assert one["last_enqueued_sequence_number"] >= one["beginning_sequence_number"] == 0, one


def positions():
    device_id, key = new_device()
    send(device_id, key, {"n": 1}, {"n": 2}, {"n": 3})
    first, second, _ = read(consumer(), device_id, 3)
    for position, inclusive, expected in [
        (first.offset, False, 2),
        (first.offset, True, 3),
        (second.sequence_number, False, 1),
        (first.enqueued_time - datetime.timedelta(milliseconds=1), False, 3),
    ]:
        options = {"starting_position": position, "starting_position_inclusive": inclusive}
        # Read in one partition only: a position is one of a partition.
        events = read(consumer(), device_id, expected, partition_id=partition_of(device_id), **options)
        last = [json.loads(event.body_as_str())["n"] for event in events]
        hub.equal(last, [1, 2, 3][3 - expected :])


def partition_of(device_id):
    found, known = [], threading.Event()
    client = consumer()

    def on_event(context, event):
        if event and event.system_properties.get(b"iothub-connection-device-id") == device_id.encode():
            found.append(context.partition_id)
            known.set()

    thread = threading.Thread(
        target=client.receive, kwargs={"on_event": on_event, "starting_position": "-1"}, daemon=True
    )
    thread.start()
    assert known.wait(60), "no partition has events of the device"
    client.close()
    thread.join(60)
    return found[0]


def redirect():
    """What documentation and the Azure CLI do: ask the hub, and go where it says."""
    device_id, key = new_device()
    send(device_id, key, {"n": 1})
    policy, short = FIELDS["SharedAccessKeyName"], hub.HOST.split(".")[0]
    token = signature(hub.HOST, FIELDS["SharedAccessKey"], policy)
    plain = uamqp.authentication.SASLPlain(hub.HOST, f"{policy}@sas.root.{short}", token)
    source = uamqp.address.Source(f"amqps://{hub.HOST}/messages/events/ConsumerGroups/$Default/Partitions/0")
    client = uamqp.ReceiveClient(source, auth=plain, error_policy=uamqp.errors.ErrorPolicy(max_retries=0))
    try:
        client.receive_message_batch(timeout=5000)
    except uamqp.errors.LinkRedirect as error:
        hub.equal((error.hostname, error.port), (hub.HOST.encode(), 5671))
        address = error.address.decode()
    else:
        raise AssertionError("the hub did not redirect")
    finally:
        client.close()

    entity = EVENT_HUB.rsplit("EntityPath=", 1)[1]
    hub.equal(address, f"amqps://{hub.HOST}:5671/{entity}/ConsumerGroups/$Default/Partitions/0")
    root = f"amqps://{hub.HOST}/{entity}/ConsumerGroups/$Default/Partitions"
    bodies = []
    for partition in range(4):
        auth = uamqp.authentication.SASTokenAuth.from_shared_access_key(
            f"sb://{hub.HOST}/{entity}", policy, FIELDS["SharedAccessKey"]
        )
        client = uamqp.ReceiveClient(f"{root}/{partition}", auth=auth, prefetch=50)
        for message in client.receive_message_batch(timeout=2000):
            if message.annotations[b"iothub-connection-device-id"] == device_id.encode():
                bodies.append(json.loads(b"".join(message.get_data())))
        client.close()
    hub.equal(bodies, [{"n": 1}])


class Checkpoints(CheckpointStore):
    """Where consumers have come to, in memory."""

    def __init__(self):
        self._owned, self._reached = {}, {}

    def list_ownership(self, *_, **__):
        return list(self._owned.values())

    def claim_ownership(self, ownership_list, **_):
        claimed = []
        for wanted in ownership_list:
            held = self._owned.get(wanted["partition_id"], {})
            if held.get("etag") == wanted.get("etag"):
                new = {**wanted, "etag": hub.new_id("etag"), "last_modified_time": time.time()}
                self._owned[wanted["partition_id"]] = new
                claimed.append(new)
        return claimed

    def update_checkpoint(self, checkpoint, **_):
        self._reached[checkpoint["partition_id"]] = checkpoint

    def list_checkpoints(self, *_, **__):
        return list(self._reached.values())


def checkpoints():
    """Who comes later goes on behind the event that the one before had come to, though it would read all."""
    device_id, key = new_device()
    send(device_id, key, {"n": 1}, {"n": 2}, {"n": 3})
    store = Checkpoints()

    def reads(last):
        seen, done = [], threading.Event()
        client = consumer(checkpoint_store=store, load_balancing_interval=0.5)

        def on_event(context, event):
            if event.system_properties.get(b"iothub-connection-device-id") != device_id.encode():
                return
            seen.append(json.loads(event.body_as_str())["n"])
            if seen[-1] == 2:
                context.update_checkpoint(event)
            if seen[-1] == last:
                done.set()

        options = {"on_event": on_event, "starting_position": "-1"}
        thread = threading.Thread(target=client.receive, kwargs=options, daemon=True)
        thread.start()
        assert done.wait(60), seen
        client.close()
        thread.join(60)
        return seen

    hub.equal(reads(3), [1, 2, 3])
    send(device_id, key, {"n": 4})
    hub.equal(reads(4), [3, 4])


def last_enqueued():
    """Each event goes with what the last one of the partition is, for who tracks that."""
    device_id, key = new_device()
    send(device_id, key, {"n": 1}, {"n": 2}, {"n": 3})
    said, enough = [], threading.Event()
    client = consumer()

    def on_event(context, event):
        if event.system_properties.get(b"iothub-connection-device-id") == device_id.encode():
            said.append((context.partition_id, event, context.last_enqueued_event_properties))
            if len(said) == 3:
                enough.set()

    options = {"on_event": on_event, "starting_position": "-1", "track_last_enqueued_event_properties": True}
    thread = threading.Thread(target=client.receive, kwargs=options, daemon=True)
    thread.start()
    assert enough.wait(60), said
    client.close()
    thread.join(60)
    partition, last, _ = said[-1]
    with consumer() as other:
        known = other.get_partition_properties(partition)
    hub.equal(last.sequence_number, known["last_enqueued_sequence_number"])
    for _, _, properties in said:
        hub.equal(properties["sequence_number"], last.sequence_number)
        hub.equal(properties["offset"], last.offset)
        hub.equal(properties["enqueued_time"], last.enqueued_time)
        assert properties["retrieval_time"] >= last.enqueued_time, properties


def ownership():
    """Who reads with a higher owner level takes over from who reads with a lower one."""
    ended, threads = queue.Queue(), []

    def reads(level, on_error):
        client, reading = consumer(), threading.Event()
        options = {
            "on_event": lambda *_: None,
            "on_partition_initialize": lambda _: reading.set(),
            "on_error": on_error,
            "partition_id": "0",
            "owner_level": level,
            "starting_position": "-1",
        }
        since = management.now()
        thread = threading.Thread(target=client.receive, kwargs=options, daemon=True)
        thread.start()
        threads.append((client, thread))
        assert reading.wait(60)
        wanted = lambda event: event["type"] == "amqp" and event["event"].get("address", "").endswith("/Partitions/0")
        management.events(since, 1, wanted)

    since = management.now()
    reads(1, lambda _, error: ended.put(error))
    reads(2, lambda *_: None)
    error = ended.get(timeout=60)
    assert isinstance(error, EventHubError), error
    stolen = lambda event: event["type"] == "amqp" and event["event"].get("condition") == "amqp:link:stolen"
    management.events(since, 1, stolen)
    for client, thread in threads:
        client.close()
        thread.join(60)


def signs_in(make):
    device_id, key = new_device()
    send(device_id, key, {"n": 1})

    def connect(key):
        return EventHubConsumerClient(hub.HOST, READER["EntityPath"], "$Default", make(key), retry_total=0)

    events = read(connect(READER["SharedAccessKey"]), device_id, 1)
    hub.equal(json.loads(events[0].body_as_str()), {"n": 1})
    with connect(base64.b64encode(bytes(32)).decode()) as stranger:
        try:
            stranger.get_partition_ids()
        except EventHubError:
            return
    raise AssertionError("a wrong key was accepted")


def text_signature(key):
    """Event Hubs sign with the text of a key, where hubs sign with the bytes that it stands for."""
    resource = f"sb://{hub.HOST}/{READER['EntityPath']}"
    return signature(resource, base64.b64encode(key.encode()), READER["SharedAccessKeyName"])


CREDENTIALS = {
    "the name of a key": lambda key: AzureNamedKeyCredential(READER["SharedAccessKeyName"], key),
    "a signature": lambda key: AzureSasCredential(text_signature(key)),
}

for door in DOORS:
    hub.check(f"event hubs: everything that a device sent, {door}", lambda: everything(door))
    hub.check(
        f"event hubs: everything that a device sent, {door}, by uamqp", lambda: everything(door, uamqp_transport=True)
    )
hub.check("event hubs: in batches", batches)
hub.check("event hubs: what partitions there are and what they hold", partitions)
hub.check("event hubs: from an offset, a number, a time", positions)
hub.check("event hubs: the last enqueued event", last_enqueued)
hub.check("event hubs: a higher owner level takes over", ownership)
hub.check("event hubs: goes on at a checkpoint", checkpoints)
for name, make in CREDENTIALS.items():
    hub.check(f"event hubs: signs in with {name}", lambda: signs_in(make))
hub.check("event hubs: by the hub's redirect, with uamqp", redirect)
hub.finish()
