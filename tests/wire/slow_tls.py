"""A TLS server that is slow to shake hands, in front of another server that speaks without."""

import datetime
import ipaddress
import select
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class SlowTls:
    """`certificate` is what clients must trust; `accepted` counts connections, `requests` those with a byte in them."""

    url: str
    certificate: Path
    accepted: int = 0
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def certificate(folder: Path) -> Path:
    """A file with a key and a certificate for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "certificate.pem"
    file.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return file


@contextmanager
def slow_tls(upstream: str, seconds: float, certified: Path) -> Iterator[SlowTls]:
    """Each connection waits `seconds` before its handshake, and then reaches `upstream`."""
    address = urlsplit(upstream)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certified)

    clients: list[ssl.SSLSocket] = []

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with server.lock:
                server.accepted += 1
            time.sleep(seconds)
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as client:
                clients.append(client)
                first = client.recv(65536)
                if not first:
                    return
                with server.lock:
                    server.requests += 1
                with socket.create_connection((address.hostname, address.port)) as behind:
                    behind.sendall(first)
                    _relay(client, behind)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as listener:
        server = SlowTls(f"https://127.0.0.1:{listener.server_address[1]}", certified)
        serving = threading.Thread(target=listener.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield server
        finally:
            listener.shutdown()
            serving.join()
            for client in clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)


def _relay(client: ssl.SSLSocket, behind: socket.socket) -> None:
    """Both ways, until one side ends."""
    while True:
        ready = [client] if client.pending() else select.select([client, behind], [], [])[0]
        for one in ready:
            data = one.recv(65536)
            if not data:
                return
            (behind if one is client else client).sendall(data)
