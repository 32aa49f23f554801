"""The user of a request, the same in all modes."""

import base64
import hashlib
import ipaddress
from dataclasses import dataclass, field

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class User:
    """A user. `key` is a hash of the identity and safe as part of a table key."""

    key: str
    address: str = field(default="", compare=False)  # hash of the IP address of the request
    bedrock_key: SecretStr | None = field(default=None, compare=False)  # the key in the request, never stored

    @classmethod
    def of(cls, mode: str, issuer: str, subject: str) -> "User":
        """Returns the user with this subject of this issuer. Different identities have different keys."""
        digest = hashlib.sha256()
        for part in (mode, issuer, subject):
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return cls(base64.urlsafe_b64encode(digest.digest()).decode().rstrip("="))


ANONYMOUS = User("anonymous")  # of requests without authentication


def hash_address(address: str) -> str:
    """Hashes an IP address. Of IPv6 only the /64 network counts, because one host has all its addresses."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    network = ipaddress.ip_network((ip, 64 if ip.version == 6 else 32), strict=False)
    return base64.urlsafe_b64encode(hashlib.sha256(str(network).encode()).digest()[:18]).decode()
