"""One user, however they were known."""

import base64
import hashlib
import ipaddress
from dataclasses import dataclass, field

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class User:
    """`key` is safe inside a table key: no raw input enters it, and no other identity can make it."""

    key: str
    address: str = field(default="", compare=False)  # hash of the IP address of the request
    bedrock_key: SecretStr | None = field(default=None, compare=False)  # their own, for this request alone

    @classmethod
    def of(cls, mode: str, issuer: str, subject: str) -> "User":
        """The user with this subject at this issuer."""
        digest = hashlib.sha256()
        for part in (mode, issuer, subject):
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return cls(base64.urlsafe_b64encode(digest.digest()).decode().rstrip("="))


ANONYMOUS = User("nobody")  # who asks where nobody has to be known


def hash_address(address: str) -> str:
    """An IP address as a key; of IPv6 the network alone, because one host has a whole one."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    network = ipaddress.ip_network((ip, 64 if ip.version == 6 else 32), strict=False)
    return base64.urlsafe_b64encode(hashlib.sha256(str(network).encode()).digest()[:18]).decode()
