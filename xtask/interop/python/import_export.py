"""azure-iot-hub imports and exports through the emulator's own storage account."""

import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
import urllib.parse

import hub
import requests
from azure.iot.hub import IoTHubJobManager, IoTHubRegistryManager
from azure.iot.hub.models import JobProperties
from azure.iot.hub.protocol.models import ManagedIdentity

STORAGE = dict(pair.split("=", 1) for pair in hub.READY["storageConnectionString"].rstrip(";").split(";"))
VERSION = "2021-08-06"
EXPIRY = "2100-01-01T00:00:00Z"
# The identity in this script's configuration.
MOVER = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mover"
MANAGERS = {
    "sas": lambda manager: manager.from_connection_string(hub.CONNECTION_STRING),
    "entra": lambda manager: manager.from_token_credential(hub.HOST, hub.entra()),
}


BY_SIGNATURE = {"storage_authentication_type": "keyBased"}
BY_IDENTITY = {"storage_authentication_type": "identityBased"}
BY_ASSIGNED_IDENTITY = {**BY_IDENTITY, "identity": ManagedIdentity(user_assigned_identity=MOVER)}


def signed(text, **parameters):
    key = base64.b64decode(STORAGE["AccountKey"])
    signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    return urllib.parse.urlencode({**parameters, "sig": signature})


def new_container():
    """A new container and its URI, signed by hand with the account's key."""
    name, account = hub.new_id("container"), STORAGE["AccountName"]
    uri = f"{STORAGE['BlobEndpoint']}/{name}"
    fields = [account, "c", "b", "c", "", EXPIRY, "", "", VERSION, "", ""]
    sas = signed("\n".join(fields), sv=VERSION, ss="b", srt="c", sp="c", se=EXPIRY)
    assert requests.put(f"{uri}?restype=container&{sas}", timeout=60).status_code == 201
    canonical = f"/blob/{account}/{name}"
    fields = ["rcwdl", "", EXPIRY, canonical, "", "", "", VERSION, "c", "", "", "", "", "", "", ""]
    return uri, signed("\n".join(fields), sv=VERSION, sr="c", sp="rcwdl", se=EXPIRY)


def ended(jobs, job):
    while job.status in ("enqueued", "running"):
        time.sleep(0.05)
        job = jobs.get_import_export_job(job.job_id)
    return job


def round_trip(auth, access):
    jobs, registry = MANAGERS[auth](IoTHubJobManager), MANAGERS[auth](IoTHubRegistryManager)
    uri, sas = new_container()
    container = f"{uri}?{sas}" if access is BY_SIGNATURE else uri
    device_id = hub.new_id("python")
    line = json.dumps({"id": device_id, "status": "disabled", "tags": {"site": "x"}})
    put = requests.put(f"{uri}/devices.txt?{sas}", data=line, headers={"x-ms-blob-type": "BlockBlob"}, timeout=60)
    assert put.status_code == 201, put.text
    job = JobProperties(
        type="import", input_blob_container_uri=container, output_blob_container_uri=container, **access
    )
    job = ended(jobs, jobs.create_import_export_job(job))
    assert job.status == "completed", job
    assert requests.get(f"{uri}/importErrors.log?{sas}", timeout=60).text == ""
    assert registry.get_device(device_id).status == "disabled"

    job = JobProperties(
        type="export", output_blob_container_uri=container, exclude_keys_in_export=False, **access
    )
    job = ended(jobs, jobs.create_import_export_job(job))
    assert (job.status, job.progress) == ("completed", 100), job
    lines = requests.get(f"{uri}/devices.txt?{sas}", timeout=60).text.splitlines()
    exported = next(line for line in map(json.loads, lines) if line["id"] == device_id)
    assert exported["tags"] == {"site": "x"}, exported
    key = registry.get_device(device_id).authentication.symmetric_key.primary_key
    assert exported["authentication"]["symmetricKey"]["primaryKey"] == key
    assert job.job_id in [known.job_id for known in jobs.get_import_export_jobs()]
    registry.delete_device(device_id)


class Stuck(http.server.BaseHTTPRequestHandler):
    """A container that answers every request but the one for the devices, so that the job goes on until it is cancelled."""

    released = threading.Event()

    def answer(self, status):
        if self.command == "GET" and "devices.txt" in self.path:
            self.released.wait()
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_HEAD = lambda self: self.answer(200)
    do_PUT = lambda self: self.answer(201)
    do_DELETE = lambda self: self.answer(202)
    log_message = lambda self, *_: None


def cancelled():
    jobs = MANAGERS["sas"](IoTHubJobManager)
    storage = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stuck)
    threading.Thread(target=storage.serve_forever, daemon=True).start()
    uri = f"http://127.0.0.1:{storage.server_port}/account/container?sv=x"
    job = JobProperties(
        type="import",
        input_blob_container_uri=uri,
        output_blob_container_uri=uri,
        storage_authentication_type="keyBased",
    )
    job = jobs.create_import_export_job(job)
    jobs.cancel_import_export_job(job.job_id)
    hub.equal(ended(jobs, job).status, "cancelled")
    Stuck.released.set()


for auth in MANAGERS:
    hub.check(f"import and export, {auth}, by signature", lambda: round_trip(auth, BY_SIGNATURE))
    hub.check(f"import and export, {auth}, by identity", lambda: round_trip(auth, BY_IDENTITY))
    hub.check(f"import and export, {auth}, by an assigned identity", lambda: round_trip(auth, BY_ASSIGNED_IDENTITY))
hub.check("an import is cancelled", cancelled)
hub.finish()
