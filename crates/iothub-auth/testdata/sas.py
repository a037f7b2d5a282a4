"""Writes sas.json: tokens as Python signs them. `node sas.mjs` checks them with Node."""
import base64, hashlib, hmac, json
from urllib.parse import quote

CASES = [
    ("hub.azure-devices.net", "AAECAwQFBgcICQoLDA0ODw==", 1700000000, "service"),
    ("hub.azure-devices.net", "AAECAwQFBgcICQoLDA0ODw==", 1700000000, "a@b.c-d_e"),
    ("my_hub-1.azure-devices.net", "//////////////////////////////////////////8=", 4102444800, "iothubowner"),
    ("localhost", "AAECAwQFBgcICQoLDA0ODw==", 1, "registryReadWrite"),
    ("hub.azure-devices.net/devices/d1", "AAECAwQFBgcICQoLDA0ODw==", 1700000000, None),
    ("hub.azure-devices.net/devices/a%b?c#d+e f", "AAECAwQFBgcICQoLDA0ODw==", 1700000000, None),
    ("hub.azure-devices.net/devices/!(),:=@$'*", "c2hvcnQ=", 1700000000, None),
    ("hub.azure-devices.net/devices/d~1/modules/m.1", "AAECAwQFBgcICQoLDA0ODw==", 1700000000, None),
]

def sign(resource, key, expires, policy):
    resource = quote(resource, safe="")
    signature = hmac.new(base64.b64decode(key), f"{resource}\n{expires}".encode(), hashlib.sha256).digest()
    token = f"SharedAccessSignature sr={resource}&sig={quote(base64.b64encode(signature), safe='')}&se={expires}"
    return token if policy is None else f"{token}&skn={quote(policy, safe='')}"

rows = [dict(resource=r, key=k, expires=e, policy=p, token=sign(r, k, e, p)) for r, k, e, p in CASES]
with open("sas.json", "w") as file:
    json.dump(rows, file, indent=1)
    file.write("\n")
