"""azure-iot-hub reads, patches and replaces twins of devices and modules."""

from azure.iot.hub.models import Twin, TwinProperties

import hub
from hub import equal, refused

MARKS = ("$metadata", "$version")


class DeviceTwin:
    """The twin of a new device, through the SDK's calls for devices."""

    def __init__(self, registry):
        device_id = hub.new_id("python")
        registry.create_device_with_sas(device_id, "", "", "enabled")
        self.get = lambda: registry.get_twin(device_id)
        self.update = lambda twin, etag=None: registry.update_twin(device_id, twin, etag)
        self.replace = lambda twin, etag=None: registry.replace_twin(device_id, twin, etag)
        self.id, self.module_id = device_id, None


class ModuleTwin:
    """The twin of a new module, through the SDK's calls for modules."""

    def __init__(self, registry):
        device_id = hub.new_id("python")
        registry.create_device_with_sas(device_id, "", "", "enabled")
        registry.create_module_with_sas(device_id, "fan", "", "", "")
        self.get = lambda: registry.get_module_twin(device_id, "fan")
        self.update = lambda twin, etag=None: registry.update_module_twin(device_id, "fan", twin, etag)
        self.replace = lambda twin, etag=None: registry.replace_module_twin(device_id, "fan", twin, etag)
        self.id, self.module_id = device_id, "fan"


def desired(values):
    return TwinProperties(desired=values)


def content(twin):
    """Tags and desired properties without what the hub adds."""
    return twin.tags, {name: value for name, value in twin.properties.desired.items() if name not in MARKS}


def new_twin(subject):
    twin = subject.get()
    equal((twin.device_id, twin.module_id, content(twin)), (subject.id, subject.module_id, ({}, {})))
    equal((twin.properties.desired["$version"], twin.properties.reported["$version"]), (1, 1))
    equal((twin.etag, twin.status, twin.connection_state), ("AAAAAAAAAAE=", "enabled", "Disconnected"))
    equal((twin.authentication_type, twin.capabilities.iot_edge), ("sas", False))


def patches(subject):
    before = subject.get()
    after = subject.update(
        Twin(tags={"site": {"floor": 3, "room": "A"}}, properties=desired({"fan": {"speed": 2, "on": True}}))
    )
    expected = ({"site": {"floor": 3, "room": "A"}}, {"fan": {"speed": 2, "on": True}})
    equal((content(after), content(subject.get())), (expected, expected))
    equal((after.version, after.properties.desired["$version"]), (before.version + 1, 2))
    metadata = after.properties.desired["$metadata"]
    equal((metadata["$lastUpdatedVersion"], metadata["fan"]["speed"]["$lastUpdatedVersion"]), (2, 2))

    after = subject.update(Twin(tags={"site": {"room": None}}, properties=desired({"fan": {"speed": 5}})))
    equal(content(after), ({"site": {"floor": 3}}, {"fan": {"speed": 5, "on": True}}))
    metadata = after.properties.desired["$metadata"]["fan"]
    equal((metadata["speed"]["$lastUpdatedVersion"], metadata["on"]["$lastUpdatedVersion"]), (3, 2))
    equal(content(subject.update(Twin(tags={"site": None}))), ({}, {"fan": {"speed": 5, "on": True}}))
    equal(content(subject.update(Twin(properties=desired({"fan": None})))), ({}, {}))


def replacements(subject):
    subject.update(Twin(tags={"a": 1}, properties=desired({"b": 1, "c": {"d": 1}})))
    after = subject.replace(Twin(tags={"x": 1}, properties=desired({"c": {"e": 2}})))
    equal(content(after), ({"x": 1}, {"c": {"e": 2}}))
    equal(content(subject.get()), ({"x": 1}, {"c": {"e": 2}}))


def etags(subject):
    first = subject.get()
    second = subject.update(Twin(tags={"a": 1}), first.etag)
    assert second.etag != first.etag, "the ETag stayed"
    refused(412, "PreconditionFailed", subject.update, Twin(tags={"a": 2}), first.etag)
    refused(412, "PreconditionFailed", subject.replace, Twin(tags={"a": 2}), first.etag)
    equal(subject.get().tags, {"a": 1})
    equal(subject.replace(Twin(tags={"a": 3}), second.etag).tags, {"a": 3})
    equal(subject.update(Twin(tags={"a": 4}), "*").tags, {"a": 4})


def values_survive(subject):
    """Values that an implementation is likely to change on the way."""
    values = {
        "date": "2026-01-02T03:04:05.6789012+02:00",
        "midnight": "2026-01-01T00:00:00.000Z",
        "text": 'Grüße, 世界 🚀 "quoted" \\ / \t',
        "empty": "",
        "least": -4503599627370496,
        "most": 4503599627370495,
        "fraction": 0.1,
        "small": 1e-9,
        "no": False,
        "list": [1, "two", [3.5, {"four": True}], []],
        "nothing": {},
        "deep": {"1": {"2": {"3": {"4": {"5": {"6": {"7": {"8": {"9": "leaf"}}}}}}}}},
    }
    equal(content(subject.update(Twin(tags=values, properties=desired(values)))), (values, values))
    equal(content(subject.get()), (values, values))


def limits(subject):
    deep = {}
    for _ in range(12):
        deep = {"in": deep}
    for tags in ({"a.b": 1}, {"a b": 1}, {"$a": 1}, {"a": "x" * 4097}, {"a": 4503599627370496}, {"a": [None]}, deep):
        refused(400, "ArgumentInvalid", subject.update, Twin(tags=tags))
    many = {f"k{at}": "x" * 4000 for at in range(9)}
    refused(400, "ArgumentInvalid", subject.update, Twin(tags=many))
    refused(400, "ArgumentInvalid", subject.update, Twin(properties=desired(many)))
    equal(content(subject.get()), ({}, {}))


def strangers(registry):
    device_id = hub.new_id("python")
    refused(404, "DeviceNotFound", registry.get_twin, device_id)
    refused(404, "DeviceNotFound", registry.update_twin, device_id, Twin(tags={"a": 1}))
    refused(404, "DeviceNotFound", registry.replace_twin, device_id, Twin(tags={"a": 1}))
    registry.create_device_with_sas(device_id, "", "", "enabled")
    # The hub's own name for a missing module's twin is that of a missing device.
    refused(404, "DeviceNotFound", registry.get_module_twin, device_id, "none")


for auth, make in hub.REGISTRIES.items():
    hub.check(f"patch a twin, {auth}", lambda: patches(DeviceTwin(make())))
    hub.check(f"twin ETags, {auth}", lambda: etags(DeviceTwin(make())))
    hub.check(f"twins of strangers, {auth}", lambda: strangers(make()))
for kind in (DeviceTwin, ModuleTwin):
    for story in (new_twin, patches, replacements, etags, values_survive, limits):
        hub.check(f"{kind.__name__}: {story.__name__}", lambda: story(kind(hub.REGISTRIES["sas"]())))
hub.finish()
