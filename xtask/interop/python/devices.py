"""azure-iot-hub keeps device identities: keys, certificates, edge, ETags, lists."""

import base64

from azure.iot.hub import IoTHubRegistryManager

import hub
from hub import equal, refused

KEYS = ("AAECAwQFBgcICQoLDA0ODw==", "EBESExQVFhcYGRobHB0eHw==")
SHA1 = ("0123456789ABCDEF0123456789ABCDEF01234567", "76543210fedcba9876543210fedcba9876543210")
SHA256 = ("A" * 64, "b" * 64)
PUNCTUATION = "-:.+%_#*?!(),=@;$'"


def keys(identity):
    return identity.authentication.symmetric_key.primary_key, identity.authentication.symmetric_key.secondary_key


def thumbprints(identity):
    thumbprint = identity.authentication.x509_thumbprint
    return thumbprint.primary_thumbprint, thumbprint.secondary_thumbprint


def generated_keys(registry):
    device_id = hub.new_id("python")
    created = registry.create_device_with_sas(device_id, "", "", "enabled")
    equal((created.device_id, created.status, created.authentication.type), (device_id, "enabled", "sas"))
    primary, secondary = keys(created)
    assert primary != secondary, "both keys are the same"
    for key in (primary, secondary):
        assert 16 <= len(base64.b64decode(key, validate=True)) <= 64, key
    assert created.generation_id and created.etag, created
    equal((created.connection_state, created.cloud_to_device_message_count), ("Disconnected", 0))
    equal(created.capabilities.iot_edge, False)
    equal(created.last_activity_time.year, 1)
    read = registry.get_device(device_id)
    equal(read.as_dict(), created.as_dict())


def given_keys(registry):
    device_id = hub.new_id("python")
    created = registry.create_device_with_sas(device_id, *KEYS, "disabled", status_reason="in the warehouse")
    equal(keys(created), KEYS)
    equal((created.status, created.status_reason), ("disabled", "in the warehouse"))
    equal(keys(registry.get_device(device_id)), KEYS)
    refused(
        400, "ArgumentInvalid", registry.create_device_with_sas, hub.new_id("python"), "not base64", KEYS[1], "enabled"
    )
    refused(400, "ArgumentInvalid", registry.create_device_with_sas, hub.new_id("python"), KEYS[0], "", "enabled")


def certificates(registry):
    for pair in (SHA1, SHA256):
        device_id = hub.new_id("python")
        created = registry.create_device_with_x509(device_id, *pair, "enabled")
        equal((created.authentication.type, thumbprints(created)), ("selfSigned", pair))
        equal(keys(created), (None, None))
    updated = registry.update_device_with_x509(device_id, created.etag, *SHA1, "enabled")
    equal(thumbprints(updated), SHA1)
    refused(400, "ArgumentInvalid", registry.create_device_with_x509, hub.new_id("python"), "12:34", "12:34", "enabled")

    device_id = hub.new_id("python")
    created = registry.create_device_with_certificate_authority(device_id, "enabled")
    equal(
        (created.authentication.type, keys(created), thumbprints(created)),
        ("certificateAuthority", (None, None), (None, None)),
    )
    updated = registry.update_device_with_certificate_authority(device_id, created.etag, "disabled")
    equal((updated.status, updated.authentication.type), ("disabled", "certificateAuthority"))


def family(registry):
    """An edge device, a leaf below it, and an edge device below it."""
    edge_id, leaf_id, child_id = (hub.new_id(kind) for kind in ("edge", "leaf", "child"))
    edge = registry.create_device_with_sas(edge_id, "", "", "enabled", iot_edge=True)
    equal(edge.capabilities.iot_edge, True)
    assert edge.device_scope.startswith(f"ms-azure-iot-edge://{edge_id}-"), edge.device_scope
    leaf = registry.create_device_with_sas(leaf_id, "", "", "enabled", device_scope=edge.device_scope)
    equal((leaf.device_scope, leaf.parent_scopes), (edge.device_scope, [edge.device_scope]))
    child = registry.create_device_with_sas(child_id, "", "", "enabled", iot_edge=True, parent_scopes=edge.device_scope)
    equal(child.parent_scopes, [edge.device_scope])
    assert child.device_scope.startswith(f"ms-azure-iot-edge://{child_id}-"), child.device_scope
    orphan = registry.update_device_with_sas(leaf_id, leaf.etag, "", "", "enabled")
    assert not orphan.parent_scopes and not orphan.device_scope, orphan
    refused(
        400,
        "InvalidDeviceScope",
        registry.create_device_with_sas,
        hub.new_id("leaf"),
        "",
        "",
        "enabled",
        device_scope="ms-azure-iot-edge://nobody-1",
    )


def etags(registry):
    device_id = hub.new_id("python")
    first = registry.create_device_with_sas(device_id, *KEYS, "enabled")
    second = registry.update_device_with_sas(device_id, first.etag, *KEYS, "disabled", status_reason="broken")
    equal((second.status, second.status_reason, keys(second)), ("disabled", "broken", KEYS))
    equal(second.generation_id, first.generation_id)
    assert second.etag != first.etag, "the ETag stayed"
    assert second.status_updated_time.year > 1, second.status_updated_time
    refused(412, "PreconditionFailed", registry.update_device_with_sas, device_id, first.etag, *KEYS, "enabled")
    refused(412, "PreconditionFailed", registry.delete_device, device_id, first.etag)
    equal(registry.get_device(device_id).as_dict(), second.as_dict())
    forced = registry.update_device_with_sas(device_id, None, "", "", "enabled")
    equal((forced.status, forced.status_reason), ("enabled", None))
    assert keys(forced) != KEYS, "empty keys ask for new ones"
    registry.delete_device(device_id, forced.etag)
    refused(404, "DeviceNotFound", registry.get_device, device_id)


def conflicts(registry):
    device_id = hub.new_id("python")
    created = registry.create_device_with_sas(device_id, "", "", "enabled")
    refused(409, "DeviceAlreadyExists", registry.create_device_with_sas, device_id, "", "", "enabled")
    registry.delete_device(device_id)
    refused(404, "DeviceNotFound", registry.delete_device, device_id)
    refused(404, "DeviceNotFound", registry.update_device_with_sas, device_id, None, "", "", "enabled")
    again = registry.create_device_with_sas(device_id, "", "", "enabled")
    assert again.generation_id != created.generation_id, "another device has another generation"
    refused(400, "ArgumentInvalid", registry.create_device_with_sas, "no spaces", "", "", "enabled")
    refused(400, "ArgumentInvalid", registry.create_device_with_sas, "x" * 129, "", "", "enabled")


def every_character(registry):
    for device_id in [f"Az09{PUNCTUATION}", *(f"{hub.new_id('p')}{character}" for character in PUNCTUATION), "x" * 128]:
        equal(registry.create_device_with_sas(device_id, "", "", "enabled").device_id, device_id)
        equal(registry.get_device(device_id).device_id, device_id)
        registry.delete_device(device_id)
        refused(404, "DeviceNotFound", registry.get_device, device_id)


def lists(registry):
    ids = {hub.new_id("listed") for _ in range(3)}
    for device_id in ids:
        registry.create_device_with_sas(device_id, "", "", "enabled")
    listed = {device.device_id for device in registry.get_devices()}
    assert ids <= listed, listed
    equal(len(registry.get_devices(2)), 2)
    gone = ids.pop()
    registry.delete_device(gone)
    listed = {device.device_id for device in registry.get_devices(1000)}
    assert ids <= listed and gone not in listed, listed


def wrong_key():
    host, policy, _ = hub.CONNECTION_STRING.split(";")
    registry = IoTHubRegistryManager.from_connection_string(f"{host};{policy};SharedAccessKey={KEYS[0]}")
    refused(401, "IotHubUnauthorizedAccess", registry.get_device, "any")


for auth, make in hub.REGISTRIES.items():
    hub.check(f"device with generated keys, {auth}", lambda: generated_keys(make()))
    hub.check(f"device with given keys, {auth}", lambda: given_keys(make()))
    hub.check(f"device ETags, {auth}", lambda: etags(make()))
    hub.check(f"device conflicts, {auth}", lambda: conflicts(make()))
hub.check("devices with certificates", lambda: certificates(hub.REGISTRIES["sas"]()))
hub.check("edge devices, parents and children", lambda: family(hub.REGISTRIES["sas"]()))
hub.check("device ids of every character", lambda: every_character(hub.REGISTRIES["sas"]()))
hub.check("devices are listed", lambda: lists(hub.REGISTRIES["sas"]()))
hub.check("a wrong key is refused", wrong_key)
hub.finish()
