"""A certificate authority of the stack's own, so that its services speak TLS as AWS's do.

It is for what TLS costs a function: a bundle of certificates to read, and handshakes. Nobody else trusts it, and its
key is forgotten as soon as the one certificate is signed.
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
RSA_BITS = 2048  # as Amazon's services have


class Authority:
    """`bundle` is a file for AWS_CA_BUNDLE: the authority's certificate among those that botocore brings.

    As long as the usual file, it takes as long to read, and functions that talk to real AWS can do so. A file that
    the caller's own AWS_CA_BUNDLE names takes the place of botocore's.
    """

    def __init__(self, folder: Path, addresses: Iterable[str]) -> None:
        self.bundle = folder / "ca-bundle.pem"
        self._certified = folder / "certificate.pem"
        key, server_key = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, RSA_BITS)
        name = _name("converse-stream laptop stack")
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
        """What a server on one of the addresses needs."""
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
