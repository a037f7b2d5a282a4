"""Makes what the tests of the token endpoint read: keys by OpenSSL, tokens by PyJWT.

    pip install PyJWT==2.15.1 cryptography && python make.py
"""

import base64
import hashlib
import json
import os
import subprocess

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

TENANT = "5d2f6ec2-9a43-4d2c-8d8a-6a9d0d0d7c11"
AUTHORITY = "https://localhost:8444"
TOKEN_ENDPOINT = f"{AUTHORITY}/{TENANT}/oauth2/v2.0/token"
APP = {
    "name": "app",
    "clientId": "0b0bba4c-6c0f-4a7e-9a0e-0f3f0a1f7a55",
    "objectId": "c3a1be0f-2f2d-4f0e-8d43-51a7f1f2b0aa",
    "clientSecret": "a client secret",
    "certificatePassword": "a password",
}
IDENTITY = {
    "name": "managed-identity",
    "clientId": "d1a3b1a5-3a9c-4c62-8f1b-8c2ef1c0d001",
    "objectId": "d1a3b1a5-3a9c-4c62-8f1b-8c2ef1c0d002",
    "clientSecret": "unused",
    "certificatePassword": "unused",
}
PAST, FUTURE = 1_600_000_000, 4_102_444_800


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_id(pem):
    numbers = serialization.load_pem_private_key(pem.encode(), None).public_key().public_numbers()
    return base64url(hashlib.sha256(numbers.n.to_bytes(256, "big")).digest())


issuer_key, app_key, other_key = (openssl("genpkey", "-algorithm", "RSA") for _ in range(3))
with open("app.key", "w") as file:
    file.write(app_key)
certificate = openssl("req", "-x509", "-new", "-key", "app.key", "-subj", "/CN=app", "-days", "36500")
os.remove("app.key")

parsed = x509.load_pem_x509_certificate(certificate.encode())
sha1, sha256 = parsed.fingerprint(hashes.SHA1()), parsed.fingerprint(hashes.SHA256())


def sign(claims, key, headers=None, algorithm="RS256"):
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers or {}, sort_headers=True)


def assertion(key=app_key, algorithm="RS256", headers=None, **changes):
    claims = {
        "aud": TOKEN_ENDPOINT,
        "exp": FUTURE,
        "iss": APP["clientId"],
        "jti": "1",
        "nbf": PAST,
        "sub": APP["clientId"],
    }
    return sign(claims | changes, key, headers or {"x5t": base64url(sha1)}, algorithm)


def federated(key=issuer_key, **changes):
    claims = {
        "aud": ["api://AzureADTokenExchange"],
        "exp": FUTURE,
        "iss": f"{AUTHORITY}/workload-identity",
        "nbf": PAST,
        "sub": "system:serviceaccount:default:app",
    }
    return sign(claims | changes, key, {"kid": "1"})


def access(key=issuer_key, algorithm="RS256", **changes):
    claims = {
        "aud": "https://iothubs.azure.net",
        "exp": FUTURE,
        "iss": f"{AUTHORITY}/{TENANT}/v2.0",
        "nbf": PAST,
        "oid": APP["objectId"],
    }
    kid = key_id(issuer_key)
    return sign(claims | changes, key, {"kid": kid, "x5t": kid}, algorithm)


tokens = {
    "assertion": {
        "RS256, x5t in base64url": assertion(),
        "RS256, x5t in padded base64": assertion(headers={"x5t": base64.b64encode(sha1).decode()}),
        "PS256, x5t#S256": assertion(algorithm="PS256", headers={"x5t#S256": base64url(sha256)}),
        "audience is the issuer": assertion(aud=f"{AUTHORITY}/{TENANT}/v2.0"),
        "audience by address": assertion(aud=TOKEN_ENDPOINT.replace("localhost", "127.0.0.1")),
        "another audience": assertion(aud=f"{AUTHORITY}/{APP['clientId']}/oauth2/v2.0/token"),
        "another subject": assertion(sub=IDENTITY["clientId"]),
        "expired": assertion(exp=PAST + 600),
        "not yet valid": assertion(nbf=FUTURE - 600),
        "without expiry": assertion(exp=None),
        "signed with another key": assertion(key=other_key),
        "unknown certificate": assertion(headers={"x5t": base64url(hashlib.sha1(b"").digest())}),
        "no certificate named": assertion(headers={"kid": "1"}),
        "RS512": assertion(algorithm="RS512"),
        "HS256": assertion(key=sha256, algorithm="HS256"),
        "unsigned": assertion(key="", algorithm="none"),
    },
    "federated": {
        "good": federated(),
        "another issuer": federated(iss="https://token.actions.githubusercontent.com"),
        "another audience": federated(aud="https://iothubs.azure.net"),
        "another subject": federated(sub="system:serviceaccount:default:other"),
        "expired": federated(exp=PAST + 600),
        "signed with another key": federated(key=other_key),
    },
    "access": {
        "good": access(),
        "for the identity": access(oid=IDENTITY["objectId"]),
        "of somebody who is gone": access(oid=TENANT),
        "expired": access(exp=PAST + 600),
        "without expiry": access(exp=None),
        "not yet valid": access(nbf=FUTURE - 600),
        "another issuer": access(iss="https://sts.windows.net/"),
        "another audience": access(aud="https://vault.azure.net"),
        "signed with another key": access(key=other_key),
        "unsigned": access(key="", algorithm="none"),
    },
}

for name, content in {
    "entra.json": json.dumps({"tenantId": TENANT, "application": APP, "managedIdentity": IDENTITY}, indent=2) + "\n",
    "entra.key": issuer_key,
    "app.pem": app_key + certificate,
    "tokens.json": json.dumps(tokens, indent=2) + "\n",
}.items():
    with open(name, "w") as file:
        file.write(content)
