"""azure-iot-hub keeps module identities."""

import hub
from hub import equal, refused

KEYS = ("AAECAwQFBgcICQoLDA0ODw==", "EBESExQVFhcYGRobHB0eHw==")
THUMBPRINTS = ("0123456789ABCDEF0123456789ABCDEF01234567", "76543210fedcba9876543210fedcba9876543210")


def keys(module):
    return module.authentication.symmetric_key.primary_key, module.authentication.symmetric_key.secondary_key


def new_device(registry, **options):
    device_id = hub.new_id("python")
    registry.create_device_with_sas(device_id, "", "", "enabled", **options)
    return device_id


def life(registry):
    device_id = new_device(registry)
    created = registry.create_module_with_sas(device_id, "fan", "operator", "", "")
    equal((created.device_id, created.module_id, created.managed_by), (device_id, "fan", "operator"))
    equal((created.authentication.type, created.connection_state), ("sas", "Disconnected"))
    assert all(keys(created)) and created.etag and created.generation_id, created
    equal(registry.get_module(device_id, "fan").as_dict(), created.as_dict())

    updated = registry.update_module_with_sas(device_id, "fan", "somebody", created.etag, *KEYS)
    equal((updated.managed_by, keys(updated)), ("somebody", KEYS))
    assert updated.etag != created.etag, "the ETag stayed"
    refused(412, "PreconditionFailed", registry.update_module_with_sas, device_id, "fan", "me", created.etag, *KEYS)
    refused(412, "PreconditionFailed", registry.delete_module, device_id, "fan", created.etag)
    forced = registry.update_module_with_sas(device_id, "fan", None, None, *KEYS)
    equal(forced.managed_by, None)
    registry.delete_module(device_id, "fan", forced.etag)
    refused(404, "ModuleNotFound", registry.get_module, device_id, "fan")
    refused(404, "ModuleNotFound", registry.delete_module, device_id, "fan")


def certificates(registry):
    device_id = new_device(registry)
    pinned = registry.create_module_with_x509(device_id, "pinned", "", *THUMBPRINTS)
    thumbprint = pinned.authentication.x509_thumbprint
    equal(pinned.authentication.type, "selfSigned")
    equal((thumbprint.primary_thumbprint, thumbprint.secondary_thumbprint), THUMBPRINTS)
    signed = registry.create_module_with_certificate_authority(device_id, "signed", "")
    equal((signed.authentication.type, keys(signed)), ("certificateAuthority", (None, None)))
    swapped = registry.update_module_with_x509(device_id, "pinned", "me", pinned.etag, *reversed(THUMBPRINTS))
    thumbprint = swapped.authentication.x509_thumbprint
    equal((thumbprint.primary_thumbprint, thumbprint.secondary_thumbprint), tuple(reversed(THUMBPRINTS)))
    managed = registry.update_module_with_certificate_authority(device_id, "signed", "me", signed.etag)
    equal((managed.authentication.type, managed.managed_by), ("certificateAuthority", "me"))
    modules = registry.get_modules(device_id)
    equal(
        {module.module_id: module.authentication.type for module in modules},
        {
            "pinned": "selfSigned",
            "signed": "certificateAuthority",
        },
    )
    registry.delete_device(device_id)
    recreated = registry.create_device_with_sas(device_id, "", "", "enabled")
    equal(registry.get_modules(recreated.device_id), [])


def edge_runtime(registry):
    device_id = new_device(registry, iot_edge=True)
    modules = registry.get_modules(device_id)
    equal(
        {(module.module_id, module.managed_by, module.authentication.type) for module in modules},
        {
            ("$edgeAgent", "iotEdge", "none"),
            ("$edgeHub", "iotEdge", "none"),
        },
    )
    refused(401, "SystemModuleModifyUnauthorizedAccess", registry.delete_module, device_id, "$edgeAgent")
    refused(400, "ArgumentInvalid", registry.create_module_with_sas, device_id, "$mine", "", "", "")


def conflicts(registry, missing_device):
    device_id = new_device(registry)
    registry.create_module_with_sas(device_id, "fan", "", "", "")
    refused(409, "ModuleAlreadyExistsOnDevice", registry.create_module_with_sas, device_id, "fan", "", "", "")
    refused(404, "ModuleNotFound", registry.update_module_with_sas, device_id, "none", "", None, "", "")
    # Who comes with a key is not told whether there is such a device.
    refused(*missing_device, registry.get_module, hub.new_id("nobody"), "fan")
    refused(*missing_device, registry.create_module_with_sas, hub.new_id("nobody"), "fan", "", "", "")


MISSING_DEVICE = {"sas": (401, "IotHubUnauthorizedAccess"), "entra": (404, "DeviceNotFound")}

for auth, make in hub.REGISTRIES.items():
    hub.check(f"module life and ETags, {auth}", lambda: life(make()))
    hub.check(f"module conflicts, {auth}", lambda: conflicts(make(), MISSING_DEVICE[auth]))
hub.check("modules with certificates", lambda: certificates(hub.REGISTRIES["sas"]()))
hub.check("modules of the edge runtime", lambda: edge_runtime(hub.REGISTRIES["sas"]()))
hub.finish()
