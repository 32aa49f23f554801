"""What a user's message may ask of the stand-in: its pace, and faults.

    [[tokens=200 pace=20 first=100]]    words in the answer; ms between tokens; ms before the first
    [[cite]]                            a citation
    [[block]]                           the guardrail stops the request, if it has one that judges this text
    [[block=9]]                         the guardrail stops the answer after 9 words, if the request has one
    [[mask=rivers]]                     the guardrail puts {NAME} in the place of this word of the answer
    [[standard]]                        served with standard latency and by the default tier, whatever was asked for
    [[tool=NAME {"city": "Łódź"}]]      a call of that tool, if the request offers it; its input made up if not given
    [[fault=NAME at=5 times=1 ms=500 code=throttlingException]]

Each request carries its own, so that concurrent ones do not disturb each other. Faults can also come at random.
"""

import json
import random
import re
from dataclasses import dataclass

from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Json

HTTP_FAULTS = {
    "throttle": "ThrottlingException",
    "unavailable": "ServiceUnavailableException",
    "not-ready": "ModelNotReadyException",
    "access-denied": "AccessDeniedException",
    "invalid": "ValidationException",
}
STREAM_FAULTS = ("stall", "cut", "truncate", "reset", "bad-crc", "exception", "no-stop", "split", "slow-first")
EXCEPTIONS = (
    "internalServerException",
    "modelStreamErrorException",
    "validationException",
    "throttlingException",
    "serviceUnavailableException",
)
REFUSALS = ("refuse-stream", "refuse-system", "too-long", "no-profile")  # of what the model cannot take
# Others say something about the caller or the model, and do not come and go.
RANDOM_FAULTS = ("throttle", "unavailable", "not-ready", "stall-headers", *STREAM_FAULTS)

_BLOCK = re.compile(r"\[\[([^\[\]{}]*)(\{.*?\})?\s*\]\]", re.DOTALL)  # words, and then perhaps a tool's input
_KEYS = frozenset(
    {"tokens", "pace", "first", "cite", "block", "mask", "standard", "tool", "fault", "at", "times", "ms", "code"}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one request.

    `at`: after that many tokens. `times`: only the first so many requests with the same last message. `ms`: how long
    a stall lasts; None: until the client closes. `code`: of an in-stream exception.
    """

    name: str
    at: int
    times: int | None
    ms: int | None
    code: str

    def __post_init__(self) -> None:
        if self.name not in {*HTTP_FAULTS, *STREAM_FAULTS, *REFUSALS, "stall-headers"}:
            raise BedrockError("ValidationException", f"The stand-in knows no fault {self.name!r}.")
        if self.code not in EXCEPTIONS:
            raise BedrockError("ValidationException", f"ConverseStream has no exception {self.code!r}.")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool to call; `input` is None for one that is made up from the tool's schema."""

    name: str
    input: Json | None = None


@dataclass(frozen=True, slots=True)
class Directives:
    """`pace` and `first` are milliseconds; None: as a model would. `block_after` is words of the answer."""

    tokens: int | None
    pace: int | None
    first: int | None
    cite: bool
    tools: tuple[ToolCall, ...]
    fault: Fault | None
    block_after: int | None = None
    mask: str | None = None
    standard: bool = False


def parse(text: str) -> Directives:
    """The directives in a text. Raises BedrockError (ValidationException) for a fault or a number that is none."""
    found: dict[str, str] = {}
    tools: list[ToolCall] = []
    try:
        for block in _BLOCK.finditer(text):
            found |= (pairs := _pairs(block))
            if "tool" in pairs:
                tools.append(ToolCall(pairs["tool"], json.loads(block[2]) if block[2] else None))
        return Directives(
            tokens=_number(found, "tokens"),
            pace=_number(found, "pace"),
            first=_number(found, "first"),
            cite="cite" in found,
            tools=tuple(tools),
            fault=_fault(found) if "fault" in found else None,
            block_after=_number(found, "block") if found.get("block") else None,
            mask=found.get("mask"),
            standard="standard" in found,
        )
    except ValueError as error:
        raise BedrockError("ValidationException", f"The stand-in was given {error}.") from error


def blocked(text: str) -> bool:
    """Whether a guardrail is to stop a request with this text."""
    return any(_pairs(block).get("block") == "" for block in _BLOCK.finditer(text))


def strip(text: str) -> str:
    """The text without its directives."""
    return _BLOCK.sub(lambda block: "" if _pairs(block) else block[0], text).strip()


def random_fault(rate: float, seed: int, number: int) -> Fault | None:
    """The fault of the request with that number, for the given rate (0 to 1) and seed."""
    # Chance for tests, not for secrets.
    chance = random.Random(f"{seed}:{number}")  # noqa: S311  # the same faults each time, not a secret
    if chance.random() >= rate:
        return None
    return Fault(
        chance.choice(RANDOM_FAULTS), chance.randrange(40), times=None, ms=None, code=chance.choice(EXCEPTIONS)
    )


def _pairs(block: re.Match[str]) -> dict[str, str]:
    """The words of a block by key; empty when it holds anything else and so is the user's own text."""
    pairs = {key: value for key, _, value in (word.partition("=") for word in block[1].split())}
    return pairs if pairs.keys() <= _KEYS and (block[2] is None or "tool" in pairs) else {}


def _fault(found: dict[str, str]) -> Fault:
    at, ms = _number(found, "at"), _number(found, "ms")
    if found["fault"] == "slow-first":
        at, ms = at or 0, 5_000 if ms is None else ms
    code = found.get("code", "modelStreamErrorException")
    return Fault(found["fault"], 5 if at is None else at, _number(found, "times"), ms, code)


def _number(found: dict[str, str], key: str) -> int | None:
    return int(found[key]) if key in found else None
