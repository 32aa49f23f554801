"""Valid tokens identify a user, and every other token is refused with the same response."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from converse_stream.auth.jwks import UnknownKey
from converse_stream.auth.jwt import MAX_LENGTH, TokenVerifier
from converse_stream.auth.user import User
from converse_stream.http.request import HttpRequest
from converse_stream.protocol.errors import Unauthenticated

ISSUER, AUDIENCE = "https://issuer.example/", "chat"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - refused
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
EC_384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
KEYS: dict[str, dict[str, Any]] = {
    "rsa": RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True),
    "rsa for PS256": {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "alg": "PS256"},
    "short": RSAAlgorithm.to_jwk(SHORT.public_key(), as_dict=True),
    "ec": ECAlgorithm.to_jwk(EC.public_key(), as_dict=True),
    "ec 384": ECAlgorithm.to_jwk(EC_384.public_key(), as_dict=True),
    "ed": OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True),
    "secret": {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
    "broken": {"kty": "RSA", "n": "AQAB"},
    "not a key": {},
}
ALGORITHMS = ("RS256", "ES256", "EdDSA", "PS256")
PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def find_key(key_id: str) -> Mapping[str, Any]:
    if key_id not in KEYS:
        raise UnknownKey
    return KEYS[key_id]


TOKENS = TokenVerifier(ISSUER, AUDIENCE, ALGORITHMS, find_key)
ALICE = User.of("jwt", ISSUER, "alice")


def in_seconds(seconds: int) -> int:
    return int(time.time()) + seconds


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a valid token; a change to None removes the claim."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": in_seconds(600)}
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(key: Any = RSA, algorithm: str = "RS256", key_id: str = "rsa", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, {"kid": key_id})


def encoded_by_hand(header: Mapping[str, Any], signature: bytes = b"", **changes: Any) -> str:
    """A token that the library refuses to encode."""
    parts = (json.dumps(header).encode(), json.dumps(claims(**changes)).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def with_public_key_as_secret() -> str:
    """A token signed with the public key as HMAC secret, against verifiers that trust the token's algorithm."""
    header_and_claims = encoded_by_hand({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).rpartition(".")[0]
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(header_and_claims.encode(), PEM)
    return f"{header_and_claims}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def identify(headers: dict[str, str]) -> User:
    return TOKENS.identify(HttpRequest("GET", "/conversations", {}, headers, "", False, {}, False), LambdaContext())


def reason(token: str) -> str:
    """The logged reason for a refused token. Fails unless the response is the same as for any other."""
    with pytest.raises(Unauthenticated) as error:
        identify({"authorization": f"Bearer {token}"})
    assert error.value.body("request") == Unauthenticated().body("request")
    return type(error.value.__cause__).__name__


# Functions, because a token must be created when its test runs: its times are relative.
ACCEPTED: dict[str, Callable[[], str]] = {
    "plain": signed,
    "several audiences": lambda: signed(aud=["other", AUDIENCE]),
    "just expired": lambda: signed(exp=in_seconds(-30)),
    "from a fast clock": lambda: signed(nbf=in_seconds(30), iat=in_seconds(30)),
    "PS256": lambda: signed(RSA, "PS256", "rsa for PS256"),
    "ES256": lambda: signed(EC, "ES256", "ec"),
    "EdDSA": lambda: signed(ED, "EdDSA", "ed"),
}


@pytest.mark.parametrize("token", ACCEPTED.values(), ids=ACCEPTED)
def test_valid_token_identifies_the_user(token: Callable[[], str]) -> None:
    assert identify({"authorization": f"Bearer {token()}"}) == ALICE


def test_token_may_be_in_x_authorization_beside_a_signature() -> None:
    token = signed()
    assert identify({"authorization": "AWS4-HMAC-SHA256 …", "x-authorization": f"bearer {token}"}) == ALICE
    with pytest.raises(Unauthenticated):  # x-authorization has precedence, also if it is invalid
        identify({"authorization": f"Bearer {token}", "x-authorization": ""})


def test_users_differ_by_subject_and_by_issuer() -> None:
    assert identify({"authorization": f"Bearer {signed(sub='bob')}"}) != ALICE
    assert User.of("jwt", "https://other.example/", "alice") != ALICE


REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "expired": (lambda: signed(exp=in_seconds(-90)), "ExpiredSignatureError"),
    "without end": (lambda: signed(exp=None), "MissingRequiredClaimError"),
    "with an odd end": (lambda: signed(exp="soon"), "DecodeError"),
    "not yet valid": (lambda: signed(nbf=in_seconds(90)), "ImmatureSignatureError"),
    "not yet issued": (lambda: signed(iat=in_seconds(90)), "ImmatureSignatureError"),
    "wrong issuer": (lambda: signed(iss=ISSUER.rstrip("/")), "InvalidIssuerError"),
    "no issuer": (lambda: signed(iss=None), "MissingRequiredClaimError"),
    "wrong audience": (lambda: signed(aud="other"), "InvalidAudienceError"),
    "wrong audiences": (lambda: signed(aud=["other"]), "InvalidAudienceError"),
    "no audience": (lambda: signed(aud=None), "MissingRequiredClaimError"),
    "no subject": (lambda: signed(sub=None), "MissingRequiredClaimError"),
    "empty subject": (lambda: signed(sub=""), "InvalidSubjectError"),
    "number as subject": (lambda: signed(sub=7), "InvalidSubjectError"),
    "long subject": (lambda: signed(sub="a" * 256), "InvalidSubjectError"),
    "algorithm none": (lambda: encoded_by_hand({"alg": "none", "kid": "rsa"}), "InvalidAlgorithmError"),
    "algorithm None": (lambda: encoded_by_hand({"alg": "None", "kid": "rsa"}), "InvalidAlgorithmError"),
    "algorithms": (lambda: encoded_by_hand({"alg": ["RS256"], "kid": "rsa"}), "InvalidAlgorithmError"),
    "no algorithm": (lambda: encoded_by_hand({"kid": "rsa"}), "InvalidAlgorithmError"),
    "public key as secret": (with_public_key_as_secret, "InvalidAlgorithmError"),
    "algorithm not listed": (lambda: signed(RSA, "RS512"), "InvalidAlgorithmError"),
    "algorithm not the key's": (lambda: signed(RSA, "RS256", "rsa for PS256"), "InvalidAlgorithmError"),
    "EC algorithm, RSA key": (lambda: signed(EC, "ES256"), "InvalidKeyError"),
    "RSA algorithm, EC key": (lambda: signed(RSA, "RS256", "ec"), "InvalidKeyError"),
    "key on another curve": (lambda: encoded_by_hand({"alg": "ES256", "kid": "ec 384"}), "InvalidKeyError"),
    "key too short": (lambda: encoded_by_hand({"alg": "RS256", "kid": "short"}), "InvalidKeyError"),
    "secret in the key set": (lambda: signed(RSA, "RS256", "secret"), "InvalidKeyError"),
    "broken key": (lambda: signed(RSA, "RS256", "broken"), "InvalidKeyError"),
    "not a key": (lambda: signed(RSA, "RS256", "not a key"), "InvalidKeyError"),
    "unknown key": (lambda: signed(key_id="unknown"), "UnknownKey"),
    "no key id": (lambda: encoded_by_hand({"alg": "RS256"}), "InvalidKeyError"),
    "number as key id": (lambda: encoded_by_hand({"alg": "RS256", "kid": 7}), "InvalidTokenError"),
    "signature of another key": (lambda: signed(OTHER), "InvalidSignatureError"),
    "no signature": (lambda: encoded_by_hand({"alg": "RS256", "kid": "rsa"}), "InvalidSignatureError"),
    "text after the token": (lambda: signed() + "A", "InvalidSignatureError"),
    "padding": (lambda: f"{signed()}==", "NoToken"),
    "two": (lambda: f"{signed()},{signed()}", "NoToken"),
    "critical extension": (
        lambda: encoded_by_hand({"alg": "RS256", "kid": "rsa", "crit": ["exp"]}),
        "InvalidTokenError",
    ),
    "claims elsewhere": (
        lambda: encoded_by_hand({"alg": "RS256", "kid": "rsa", "b64": False, "crit": ["b64"]}),
        "DecodeError",
    ),
    "garbage": (lambda: "garbage", "DecodeError"),
    "three parts": (lambda: "a.b.c", "DecodeError"),
    "nothing": (lambda: "", "NoToken"),
    "half a character": (lambda: "\ud83d", "NoToken"),
    "not ASCII": (lambda: "é", "NoToken"),
    "deep": (lambda: base64.b64encode(b'[{"":' * 1000).decode().rstrip("=") + ".e30.e30", "DecodeError"),
    "maximum length": (lambda: "a" * MAX_LENGTH, "DecodeError"),
    "valid but too long": (lambda: signed(padding="a" * MAX_LENGTH), "TokenTooLong"),
    "1 MB": (lambda: "a" * 1024 * 1024, "TokenTooLong"),
}


@pytest.mark.parametrize(("token", "logged"), REFUSED.values(), ids=REFUSED)
def test_invalid_token_is_refused_and_only_the_log_has_the_reason(token: Callable[[], str], logged: str) -> None:
    assert reason(token()) == logged


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic {}", "Bearer\t{}", "Token {}", "{}"])
def test_request_without_a_bearer_token_is_unauthenticated(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        identify({} if header is None else {"authorization": header.format(signed())})


GOOD = signed(exp=in_seconds(24 * 3600))


@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 2), st.integers(0, 127).map(chr)),
        min_size=1,
        max_size=4,
    )
)
def test_changed_token_is_always_refused_without_another_error(changes: list[tuple[int, int, str]]) -> None:
    token = GOOD
    for position, removed, added in changes:
        token = token[:position] + added + token[position + removed :]
    if token != GOOD:
        reason(token)
