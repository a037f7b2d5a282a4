"""The emulator under test, and a way to say what passed."""

import json
import os
import sys
import traceback
import uuid

from azure.identity import ClientSecretCredential
from uamqp import TransportType

READY = json.loads(os.environ["IOTHUB_READY"])
HOST = READY["host"]
CONNECTION_STRING = READY["connectionString"]
TRANSPORTS = {"amqp": TransportType.Amqp, "amqp-ws": TransportType.AmqpOverWebsocket}

_failed = []


def entra():
    """A credential of Microsoft's identity library, for the app that the emulator knows."""
    return ClientSecretCredential(
        READY["tenantId"],
        READY["clientId"],
        READY["clientSecret"],
        authority=READY["authority"],
        disable_instance_discovery=True,
    )


def new_id(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def check(name, body):
    """Runs one check and reports it as a line."""
    try:
        body()
        print(f"ok      python {name}", flush=True)
    except Exception:  # a check that fails must not hide the others
        traceback.print_exc()
        print(f"FAILED  python {name}", flush=True)
        _failed.append(name)


def finish():
    sys.exit(1 if _failed else 0)
