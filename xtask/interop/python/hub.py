"""The emulator under test, and a way to say what passed."""

import json
import os
import sys
import traceback
import uuid

from azure.identity import ClientSecretCredential
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from msrest.exceptions import HttpOperationError
from uamqp import TransportType

import operations

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


def _clients(manager):
    """How a client is made, for each way to authenticate."""
    return {
        "sas": lambda: manager.from_connection_string(CONNECTION_STRING),
        "entra": lambda: manager.from_token_credential(HOST, entra()),
    }


REGISTRIES = _clients(IoTHubRegistryManager)
CONFIGURATION_MANAGERS = _clients(IoTHubConfigurationManager)


def new_id(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def check(name, body):
    """Runs one check and reports it as a line."""
    try:
        operations.passed(name, body)
        print(f"ok      python {name}", flush=True)
    except Exception:  # a check that fails must not hide the others
        traceback.print_exc()
        print(f"FAILED  python {name}", flush=True)
        _failed.append(name)


def equal(actual, expected):
    assert actual == expected, f"{actual!r} is not {expected!r}"


def refused(status, code, call, *arguments, **options):
    """Checks that the SDK raises the hub's refusal: this status, and this name of an error."""
    try:
        answer = call(*arguments, **options)
    except HttpOperationError as error:
        equal((error.response.status_code, error.response.headers.get("iothub-errorcode")), (status, code))
        return
    raise AssertionError(f"{status} {code} was expected, the hub did it: {answer}")


def finish():
    operations.report()
    sys.exit(1 if _failed else 0)
