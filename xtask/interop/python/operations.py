"""Which operations of Microsoft's SDKs the checks call, for the table in the emulator's README.

The classes that a script uses are watched from its first check on. An operation counts if a script called it and it came to a
good end in a check that passed. What an SDK calls itself does not count, which the stack tells.
"""

import functools
import importlib.metadata
import inspect
import json
import os
import pathlib
import sys

# The package, the module, and the classes in it that talk to a hub.
WATCHED = [
    (
        "azure-iot-hub",
        "azure.iot.hub",
        [
            "DigitalTwinClient",
            "IoTHubConfigurationManager",
            "IoTHubHttpRuntimeManager",
            "IoTHubJobManager",
            "IoTHubRegistryManager",
        ],
    ),
    ("azure-iot-device", "azure.iot.device", ["IoTHubDeviceClient", "IoTHubModuleClient"]),
    ("azure-iot-device", "azure.iot.device.aio", ["IoTHubDeviceClient", "IoTHubModuleClient"]),
    ("azure-eventhub", "azure.eventhub", ["EventHubConsumerClient"]),
    ("azure-eventhub", "azure.eventhub.aio", ["EventHubConsumerClient"]),
]

_FOLDER = str(pathlib.Path(__file__).parent)
_public = {}
_called = set()
_passed = []


def watch():
    """Watches the classes of the modules that the script has imported."""
    for package, name, classes in WATCHED:
        module = sys.modules.get(name)
        if module is None or (package, name) in _public:
            continue
        _public[package, name] = {}
        for class_name in classes:
            watched = getattr(module, class_name)
            operations = [operation for operation in dir(watched) if not operation.startswith("_")]
            operations = [operation for operation in operations if callable(getattr(watched, operation))]
            _public[package, name][class_name] = operations
            for operation in operations:
                _wrap(watched, operation, (package, name, class_name, operation))


def passed(name, body):
    """Runs a check, and keeps what it called unless it fails."""
    watch()
    _called_before = set(_called)
    try:
        body()
    except BaseException:
        _called.intersection_update(_called_before)
        raise
    _passed.append(name)


def report():
    """Writes what was found to the file that `cargo xtask interop` reads."""
    file = os.environ.get("IOTHUB_OPERATIONS")
    if not file:
        return
    operations = [
        {
            "sdk": f"{package} {importlib.metadata.version(package)}",
            "class": f"aio.{class_name}" if name.endswith(".aio") else class_name,
            "called": [op for op in operations if (package, name, class_name, op) in _called],
            "public": operations,
        }
        for (package, name), classes in _public.items()
        for class_name, operations in classes.items()
    ]
    with open(file, "w") as out:
        json.dump({"passed": len(_passed), "operations": operations}, out)


def _wrap(watched, name, key):
    found = inspect.getattr_static(watched, name)
    is_static = isinstance(found, (classmethod, staticmethod))
    function = found.__func__ if is_static else found

    async def counted(answer):
        answer = await answer
        _called.add(key)
        return answer

    @functools.wraps(function)
    def call(*arguments, **options):
        counts = _is_called_by_script(sys._getframe(1))
        answer = function(*arguments, **options)
        if not counts:
            return answer
        if inspect.isawaitable(answer):
            return counted(answer)
        _called.add(key)
        return answer

    setattr(watched, name, type(found)(call) if is_static else call)


def _is_called_by_script(frame):
    """Whether who called is a script, or what Python runs for one, and not a package."""
    while frame:
        file = frame.f_code.co_filename
        if "site-packages" in file:
            return False
        if file.startswith(_FOLDER):
            return True
        frame = frame.f_back
    return True
