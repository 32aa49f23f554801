"""Mode `jwt`: verifies tokens of one issuer (RFC 7519), by the rules of RFC 8725."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt
from aws_lambda_powertools.utilities.typing import LambdaContext
from jwt.exceptions import InvalidSubjectError

from converse_stream.auth.user import User
from converse_stream.http.request import CREDENTIALS_LIMIT, HttpRequest
from converse_stream.protocol.errors import Unauthenticated

MAX_LENGTH = CREDENTIALS_LIMIT  # characters; longer tokens are refused unread
LEEWAY = 60  # seconds: allowed difference between the clocks
MAX_SUBJECT = 255  # characters, as in OpenID Connect
_COMPACT = re.compile(r"[A-Za-z0-9_.-]+")  # no padding, so each token has exactly one form


class NoToken(jwt.InvalidTokenError):
    """There is no bearer token, or it has characters that are not allowed."""


class TokenTooLong(jwt.InvalidTokenError):
    """The token is longer than MAX_LENGTH."""


class TokenVerifier:
    """Verifies tokens of one issuer for one audience.

    `find_key` returns the JWK with a key id, or raises a jwt.PyJWTError.
    """

    def __init__(
        self, issuer: str, audience: str, algorithms: Sequence[str], find_key: Callable[[str], Mapping[str, Any]]
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._algorithms = algorithms
        self._find_key = find_key

    def identify(self, request: HttpRequest, _: LambdaContext) -> User:
        """Returns the user of the token. Raises Unauthenticated; its cause has the reason for the log."""
        try:
            return User.of("jwt", self._issuer, self._subject(bearer_token(request.headers)))
        except jwt.PyJWTError as error:
            raise Unauthenticated from error

    def _subject(self, token: str) -> str:
        header = jwt.get_unverified_header(token)
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in self._algorithms:
            raise jwt.InvalidAlgorithmError
        if not key_id:
            raise jwt.InvalidKeyError("the token has no key id")
        key = self._find_key(key_id)
        if key.get("alg", algorithm) != algorithm:
            raise jwt.InvalidAlgorithmError
        claims = jwt.decode(
            token,
            jwt.PyJWK(dict(key), algorithm),  # raises if the key type does not fit the algorithm
            algorithms=self._algorithms,
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY,
            options={"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True},
        )
        subject: str = claims["sub"]
        if not 0 < len(subject) <= MAX_SUBJECT:
            raise InvalidSubjectError
        return subject


def bearer_token(headers: Mapping[str, str]) -> str:
    """Returns the token in `X-Authorization`, else the one in `Authorization`.

    A request that is signed with SigV4 has the signature in `Authorization`. Raises NoToken and TokenTooLong.
    """
    scheme, _, token = headers.get("x-authorization", headers.get("authorization", "")).partition(" ")
    if len(token) > MAX_LENGTH:
        raise TokenTooLong
    if scheme.lower() != "bearer" or not _COMPACT.fullmatch(token):
        raise NoToken
    return token
