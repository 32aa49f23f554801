"""Which tokens let somebody in, and that every other one is refused in the same way."""

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
SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
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
    """What a good token says; a change to None leaves the claim out."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": in_seconds(600)}
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(key: Any = RSA, algorithm: str = "RS256", key_id: str = "rsa", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, {"kid": key_id})


def by_hand(header: Mapping[str, Any], signature: bytes = b"", **changes: Any) -> str:
    """A token that the library would not make."""
    parts = (json.dumps(header).encode(), json.dumps(claims(**changes)).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def with_public_key_as_secret() -> str:
    """Signed with what everybody can read, for a verifier that lets the token choose the algorithm."""
    header_and_claims = by_hand({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).rpartition(".")[0]
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(header_and_claims.encode(), PEM)
    return f"{header_and_claims}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def identify(headers: dict[str, str]) -> User:
    return TOKENS.identify(HttpRequest("GET", "/conversations", {}, headers, "", False, {}, False), LambdaContext())


def reason(token: str) -> str:
    """What the log says of a refused token; what the caller is told is the same each time."""
    with pytest.raises(Unauthenticated) as refused:
        identify({"authorization": f"Bearer {token}"})
    assert refused.value.body("request") == Unauthenticated().body("request")
    return type(refused.value.__cause__).__name__


# Made when a test asks for it: clocks go on while other tests run.
LET_IN: dict[str, Callable[[], str]] = {
    "plain": signed,
    "for several": lambda: signed(aud=["other", AUDIENCE]),
    "just expired": lambda: signed(exp=in_seconds(-30)),
    "from a clock ahead": lambda: signed(nbf=in_seconds(30), iat=in_seconds(30)),
    "PS256": lambda: signed(RSA, "PS256", "rsa for PS256"),
    "ES256": lambda: signed(EC, "ES256", "ec"),
    "EdDSA": lambda: signed(ED, "EdDSA", "ed"),
}


@pytest.mark.parametrize("token", LET_IN.values(), ids=LET_IN)
def test_a_good_token_says_who_it_is(token: Callable[[], str]) -> None:
    assert identify({"authorization": f"Bearer {token()}"}) == ALICE


def test_it_may_travel_beside_a_signature() -> None:
    token = signed()
    assert identify({"authorization": "AWS4-HMAC-SHA256 …", "x-authorization": f"bearer {token}"}) == ALICE
    with pytest.raises(Unauthenticated):  # and then that one counts, good or bad
        identify({"authorization": f"Bearer {token}", "x-authorization": ""})


def test_users_are_apart_by_subject_and_by_issuer() -> None:
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
    "algorithm none": (lambda: by_hand({"alg": "none", "kid": "rsa"}), "InvalidAlgorithmError"),
    "algorithm None": (lambda: by_hand({"alg": "None", "kid": "rsa"}), "InvalidAlgorithmError"),
    "algorithms": (lambda: by_hand({"alg": ["RS256"], "kid": "rsa"}), "InvalidAlgorithmError"),
    "no algorithm": (lambda: by_hand({"kid": "rsa"}), "InvalidAlgorithmError"),
    "public key as secret": (with_public_key_as_secret, "InvalidAlgorithmError"),
    "algorithm not listed": (lambda: signed(RSA, "RS512"), "InvalidAlgorithmError"),
    "algorithm not the key's": (lambda: signed(RSA, "RS256", "rsa for PS256"), "InvalidAlgorithmError"),
    "EC algorithm, RSA key": (lambda: signed(EC, "ES256"), "InvalidKeyError"),
    "RSA algorithm, EC key": (lambda: signed(RSA, "RS256", "ec"), "InvalidKeyError"),
    "key on another curve": (lambda: by_hand({"alg": "ES256", "kid": "ec 384"}), "InvalidKeyError"),
    "key too short": (lambda: by_hand({"alg": "RS256", "kid": "short"}), "InvalidKeyError"),
    "secret in the key set": (lambda: signed(RSA, "RS256", "secret"), "InvalidKeyError"),
    "broken key": (lambda: signed(RSA, "RS256", "broken"), "InvalidKeyError"),
    "not a key": (lambda: signed(RSA, "RS256", "not a key"), "InvalidKeyError"),
    "unknown key": (lambda: signed(key_id="unknown"), "UnknownKey"),
    "no key id": (lambda: by_hand({"alg": "RS256"}), "InvalidKeyError"),
    "number as key id": (lambda: by_hand({"alg": "RS256", "kid": 7}), "InvalidTokenError"),
    "somebody else's signature": (lambda: signed(OTHER), "InvalidSignatureError"),
    "no signature": (lambda: by_hand({"alg": "RS256", "kid": "rsa"}), "InvalidSignatureError"),
    "something behind it": (lambda: signed() + "A", "InvalidSignatureError"),
    "padding": (lambda: f"{signed()}==", "NoToken"),
    "two": (lambda: f"{signed()},{signed()}", "NoToken"),
    "critical extension": (lambda: by_hand({"alg": "RS256", "kid": "rsa", "crit": ["exp"]}), "InvalidTokenError"),
    "claims elsewhere": (
        lambda: by_hand({"alg": "RS256", "kid": "rsa", "b64": False, "crit": ["b64"]}),
        "DecodeError",
    ),
    "garbage": (lambda: "garbage", "DecodeError"),
    "three parts": (lambda: "a.b.c", "DecodeError"),
    "nothing": (lambda: "", "NoToken"),
    "half a character": (lambda: "\ud83d", "NoToken"),
    "not ASCII": (lambda: "é", "NoToken"),
    "deep": (lambda: base64.b64encode(b'[{"":' * 1000).decode().rstrip("=") + ".e30.e30", "DecodeError"),
    "as long as may be": (lambda: "a" * MAX_LENGTH, "DecodeError"),
    "longer, but good": (lambda: signed(padding="a" * MAX_LENGTH), "TokenTooLong"),
    "1 MB": (lambda: "a" * 1024 * 1024, "TokenTooLong"),
}


@pytest.mark.parametrize(("token", "logged"), REFUSED.values(), ids=REFUSED)
def test_any_other_is_refused_and_only_the_log_says_why(token: Callable[[], str], logged: str) -> None:
    assert reason(token()) == logged


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic {}", "Bearer\t{}", "Token {}", "{}"])
def test_without_a_bearer_token_nobody_gets_in(header: str | None) -> None:
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
def test_a_changed_byte_never_lets_in_and_never_breaks_anything(changes: list[tuple[int, int, str]]) -> None:
    token = GOOD
    for place, removed, added in changes:
        token = token[:place] + added + token[place + removed :]
    if token != GOOD:
        reason(token)
