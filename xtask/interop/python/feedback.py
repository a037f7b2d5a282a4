"""azure-iot-hub hears over HTTPS what became of messages."""

import base64
import hashlib
import hmac
import os
import time
import urllib.parse

import requests
from azure.iot.hub import IoTHubHttpRuntimeManager

import hub
from hub import equal, refused

VERSION = {"api-version": "2021-04-12"}
RUNTIMES = {
    "sas": lambda: IoTHubHttpRuntimeManager.from_connection_string(hub.CONNECTION_STRING),
    "entra": lambda: IoTHubHttpRuntimeManager.from_token_credential(hub.HOST, hub.entra()),
}


class Device:
    """A device that receives its messages over HTTPS, without an SDK: Microsoft's for Python cannot."""

    def __init__(self, registry):
        self.id = hub.new_id("python")
        created = registry.create_device_with_sas(self.id, "", "", "enabled")
        resource = urllib.parse.quote_plus(f"{hub.HOST}/devices/{self.id}")
        expiry = int(time.time()) + 3600
        key = base64.b64decode(created.authentication.symmetric_key.primary_key)
        signature = hmac.digest(key, f"{resource}\n{expiry}".encode(), hashlib.sha256)
        signature = urllib.parse.quote_plus(base64.b64encode(signature))
        self.headers = {"Authorization": f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"}
        self.messages = f"https://{hub.HOST}/devices/{self.id}/messages/devicebound"

    def settle(self, reject):
        """Takes the next message and completes or rejects it."""
        message = self._call("GET", self.messages, VERSION)
        lock = message.headers["ETag"].strip('"')
        self._call("DELETE", f"{self.messages}/{lock}", {**VERSION, **({"reject": "true"} if reject else {})})
        return message.text

    def _call(self, method, url, parameters):
        # The SDK's own session trusts what this variable names; a bare request has to be told.
        answer = requests.request(
            method, url, params=parameters, headers=self.headers, verify=os.environ["REQUESTS_CA_BUNDLE"]
        )
        answer.raise_for_status()
        return answer


def send(registry, device, text):
    message_id = hub.new_id("message")
    registry.send_c2d_message(device.id, text, {"messageId": message_id, "iothub-ack": "full"})
    return message_id


def receive(runtime):
    """The next batch of feedback and its lock. The SDK's public call is for whoever wants neither: it returns nothing."""
    until = time.monotonic() + 60
    while True:
        answer = runtime.protocol.cloud_to_device_messages.receive_feedback_notification(raw=True).response
        if answer.status_code == 200:
            return answer.json(), answer.headers["ETag"].strip('"')
        # The hub collects for a quarter of a minute before it closes a batch.
        assert time.monotonic() < until, "there was no feedback"
        time.sleep(0.2)


def outcomes(registry, runtime):
    device = Device(registry)
    sent = [send(registry, device, "on"), send(registry, device, "off")]
    equal((device.settle(reject=False), device.settle(reject=True)), ("on", "off"))
    records, lock = receive(runtime)
    found = [(record["originalMessageId"], record["statusCode"], record["deviceId"]) for record in records]
    equal(found, [(sent[0], "Success", device.id), (sent[1], "Rejected", device.id)])
    runtime.abandon_feedback_notification(lock)
    again, lock = receive(runtime)
    equal(again, records)
    runtime.complete_feedback_notification(lock)
    nothing(runtime)
    refused(412, "DeviceMessageLockLost", runtime.complete_feedback_notification, lock)


def nothing(runtime):
    equal(runtime.receive_feedback_notification(), None)


hub.check("feedback over HTTPS, sas", lambda: outcomes(hub.REGISTRIES["sas"](), RUNTIMES["sas"]()))
hub.check("feedback over HTTPS when there is none, entra", lambda: nothing(RUNTIMES["entra"]()))
hub.finish()
