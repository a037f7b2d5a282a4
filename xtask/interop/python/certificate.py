"""Certificates for devices."""

import datetime
import pathlib
import tempfile

from azure.iot.device import X509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa


def certificate(name, issuer=None):
    """A certificate and its key in files, signed by itself or by the authority that the hub trusts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    signed = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    folder = pathlib.Path(tempfile.mkdtemp())
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(signed.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    identity = X509(cert_file=str(folder / "cert.pem"), key_file=str(folder / "key.pem"))
    return identity, signed.fingerprint(hashes.SHA256()).hex()
