"""azure-iot-device uploads files into the emulator's own storage account, and this workspace's service hears of them."""

import asyncio

import requests
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device import aio
from azure.iot.device.exceptions import ClientError

import hub
from device import connection_string, new_device, new_pinned_device, options
from peer import Peer

peer = Peer()


class Camera:
    """A device; of one whose calls are coroutines each is awaited."""

    def __init__(self, kind, transport, how):
        if how == "key":
            self.device_id, key = new_device()
            text = connection_string(self.device_id, key)
            self._client = kind.create_from_connection_string(text, **options(transport))
        else:
            self.device_id, identity, _ = new_pinned_device()
            names = (identity, hub.HOST, self.device_id)
            self._client = kind.create_from_x509_certificate(*names, **options(transport))
        self._loop = asyncio.new_event_loop() if kind is aio.IoTHubDeviceClient else None

    def __getattr__(self, name):
        def call(*arguments):
            answer = getattr(self._client, name)(*arguments)
            return self._loop.run_until_complete(answer) if self._loop else answer

        return call


def put(place, data):
    url = f"https://{place['hostName']}/{place['containerName']}/{place['blobName']}{place['sasToken']}"
    return requests.put(url, data=data, headers={"x-ms-blob-type": "BlockBlob"}, timeout=60).status_code


def upload(kind, transport, how):
    camera = Camera(kind, transport, how)
    place = camera.get_storage_info_for_blob("picture.txt")
    hub.equal(place["blobName"], f"{camera.device_id}/picture.txt")
    hub.equal(put(place, b"hello again"), 201)
    camera.notify_blob_upload_status(place["correlationId"], True, 201, "uploaded")
    hub.equal(peer("uploaded", blob=place["blobName"]), 11)

    # An upload ends once.
    failed = camera.get_storage_info_for_blob("failed.txt")
    camera.notify_blob_upload_status(failed["correlationId"], False, 500, "out of disk")
    try:
        camera.notify_blob_upload_status(failed["correlationId"], True, 200, "again")
    except ClientError:
        camera.shutdown()
        return
    raise AssertionError("an upload ended twice")


for name, kind in {"device": IoTHubDeviceClient, "device, aio": aio.IoTHubDeviceClient}.items():
    for transport in ["mqtt", "mqtt-ws"]:
        for how in ["key", "certificate"]:
            hub.check(
                f"{name}, {transport}, by {how}: uploads a file, and the service hears of it",
                lambda: upload(kind, transport, how),
            )
peer.close()
hub.finish()
