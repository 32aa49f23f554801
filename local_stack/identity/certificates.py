"""A certificate authority, so that the functions call the emulators over TLS, as they call AWS.

With TLS, functions have the same costs as on AWS: they read the file of CA certificates, and make handshakes. Only
the functions trust this authority. Its key is not stored: it signs one certificate.
"""

import datetime
import ipaddress
import os
import ssl
from collections.abc import Iterable
from pathlib import Path

import botocore.httpsession
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)
RSA_BITS = 2048  # as in the certificates of AWS services


class Authority:
    """A certificate authority with one server certificate, for `addresses`.

    `bundle` is the file for AWS_CA_BUNDLE: this authority's certificate and the usual CA certificates. So it takes the
    usual time to read, and functions can still call real AWS. The usual certificates are those of the user's
    AWS_CA_BUNDLE, or otherwise those of botocore.
    """

    def __init__(self, folder: Path, addresses: Iterable[str]) -> None:
        self.bundle = folder / "ca-bundle.pem"
        self._certified = folder / "certificate.pem"
        key, server_key = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, RSA_BITS)
        name = _name("converse-stream local stack")
        alternatives = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(each)) for each in addresses])
        root = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        server = (
            _builder(_name("AWS on this machine"), name, server_key.public_key())
            .add_extension(alternatives, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        usual = Path(os.environ.get("AWS_CA_BUNDLE") or botocore.httpsession.DEFAULT_CA_BUNDLE)
        self.bundle.write_bytes(_pem(root) + usual.read_bytes())
        private = server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._certified.touch(mode=0o600)
        self._certified.write_bytes(private + _pem(server))

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS context for a server on one of the addresses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certified)
        return context


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 30 * DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
