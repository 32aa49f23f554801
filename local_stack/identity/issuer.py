"""An identity provider for the laptop: OpenID Connect's discovery, one key, and a token for whoever asks."""

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
    """Its documents are below `url`. While it is `down` it has none, but signs all the same."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.down = False
        self.rotate()

    def rotate(self) -> None:
        """Another key from now on; the old one is forgotten."""
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = secrets.token_hex(8)

    def token(self, user: str, claims: Mapping[str, Any] = NO_CLAIMS) -> str:
        """A token for `user`; `claims` replace the usual ones."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + LIFETIME}
        return jwt.encode({**usual, **claims}, self._key, "RS256", {"kid": self._key_id})

    def document(self, name: str) -> dict[str, Any] | None:
        """The document at that path below `url`, None if there is no such."""
        match name:
            case ".well-known/openid-configuration":
                return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
            case "keys":
                key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
                return {"keys": [{**key, "kid": self._key_id, "alg": "RS256", "use": "sig"}]}
        return None
