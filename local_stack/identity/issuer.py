"""An identity provider for the local stack: OpenID Connect discovery, one key, and tokens for any user."""

import secrets
import time
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

AUDIENCE = "converse-stream"
LIFETIME = 3600  # seconds
NO_CLAIMS: Mapping[str, Any] = {}


class Issuer:
    """An OpenID Connect issuer. Its documents are below `url`. While it is `down`, it still signs tokens."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.down = False
        self.rotate()

    def rotate(self) -> None:
        """Replace the key. Tokens of the old key become invalid."""
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = secrets.token_hex(8)

    def token(self, user: str, claims: Mapping[str, Any] = NO_CLAIMS) -> str:
        """Return a signed token for `user`. `claims` override the default claims."""
        now = int(time.time())
        defaults = {"iss": self.url, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + LIFETIME}
        return jwt.encode({**defaults, **claims}, self._key, "RS256", {"kid": self._key_id})

    def document(self, name: str) -> dict[str, Any] | None:
        """Return the document at this path below `url`, or None if there is none."""
        match name:
            case ".well-known/openid-configuration":
                return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
            case "keys":
                key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
                return {"keys": [{**key, "kid": self._key_id, "alg": "RS256", "use": "sig"}]}
        return None
