"""Every credential of azure-identity that works without a person reads a device with azure-iot-hub."""

import contextlib
import os

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ChainedTokenCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    DefaultAzureCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.iot.hub import IoTHubRegistryManager

import hub
from hub import READY, equal

APP = (READY["tenantId"], READY["clientId"])
AUTHORITY = {"authority": READY["authority"], "disable_instance_discovery": True}
SCOPE = "https://iothubs.azure.net/.default"


@contextlib.contextmanager
def environment(**settings):
    """The settings, with nothing of azure-identity beside them."""
    kept = dict(os.environ)
    for name in kept:
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            del os.environ[name]
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


MANAGED_IDENTITY = {"IDENTITY_ENDPOINT": READY["identityEndpoint"], "IDENTITY_HEADER": READY["identityHeader"]}
WORKLOAD_IDENTITY = {
    "AZURE_TENANT_ID": READY["tenantId"],
    "AZURE_CLIENT_ID": READY["clientId"],
    "AZURE_FEDERATED_TOKEN_FILE": READY["federatedTokenFile"],
    "AZURE_AUTHORITY_HOST": READY["authority"],
}
SECRET = {
    "AZURE_TENANT_ID": READY["tenantId"],
    "AZURE_CLIENT_ID": READY["clientId"],
    "AZURE_CLIENT_SECRET": READY["clientSecret"],
    "AZURE_AUTHORITY_HOST": READY["authority"],
}
CERTIFICATE = {
    "AZURE_TENANT_ID": READY["tenantId"],
    "AZURE_CLIENT_ID": READY["clientId"],
    "AZURE_CLIENT_CERTIFICATE_PATH": READY["certificateFile"],
    "AZURE_AUTHORITY_HOST": READY["authority"],
}


def assertion():
    with open(READY["federatedTokenFile"], encoding="utf-8") as file:
        return file.read()


# The name of a credential, what the environment holds, and how it is made.
CREDENTIALS = [
    ("client secret", {}, lambda: ClientSecretCredential(*APP, READY["clientSecret"], **AUTHORITY)),
    ("certificate", {}, lambda: CertificateCredential(*APP, READY["certificateFile"], **AUTHORITY)),
    (
        "certificate with its chain",
        {},
        lambda: CertificateCredential(*APP, READY["certificateFile"], send_certificate_chain=True, **AUTHORITY),
    ),
    ("client assertion", {}, lambda: ClientAssertionCredential(*APP, assertion, **AUTHORITY)),
    (
        "workload identity",
        {},
        lambda: WorkloadIdentityCredential(
            tenant_id=APP[0], client_id=APP[1], token_file_path=READY["federatedTokenFile"], **AUTHORITY
        ),
    ),
    ("managed identity", MANAGED_IDENTITY, ManagedIdentityCredential),
    ("environment with a secret", SECRET, lambda: EnvironmentCredential(**AUTHORITY)),
    ("environment with a certificate", CERTIFICATE, lambda: EnvironmentCredential(**AUTHORITY)),
    ("default: environment", SECRET, lambda: DefaultAzureCredential(**AUTHORITY)),
    ("default: workload identity", WORKLOAD_IDENTITY, lambda: DefaultAzureCredential(**AUTHORITY)),
    ("default: managed identity", MANAGED_IDENTITY, DefaultAzureCredential),
    (
        "chain",
        MANAGED_IDENTITY,
        lambda: ChainedTokenCredential(EnvironmentCredential(**AUTHORITY), ManagedIdentityCredential()),
    ),
]


def reads_a_device(settings, make):
    device_id = hub.new_id("python")
    hub.REGISTRIES["sas"]().create_device_with_sas(device_id, "", "", "enabled")
    with environment(**settings):
        registry = IoTHubRegistryManager.from_token_credential(hub.HOST, make())
        equal(registry.get_device(device_id).device_id, device_id)


def refusals():
    nobody = "00000000-0000-0000-0000-000000000000"
    for credential, code in [
        (ClientSecretCredential(*APP, "wrong", **AUTHORITY), "AADSTS7000215"),
        (ClientSecretCredential(APP[0], nobody, READY["clientSecret"], **AUTHORITY), "AADSTS700016"),
        (ClientAssertionCredential(*APP, lambda: "no.such.token", **AUTHORITY), "AADSTS"),
    ]:
        try:
            credential.get_token(SCOPE)
        except ClientAuthenticationError as error:
            assert code in error.message, error.message
        else:
            raise AssertionError(f"{code} was expected, there was a token")


for name, settings, make in CREDENTIALS:
    hub.check(f"read a device, {name}", lambda: reads_a_device(settings, make))
hub.check("what proves nothing gets no token", refusals)
hub.finish()
