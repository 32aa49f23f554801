"""Parses the directives in a user's message, which choose the answer of the Bedrock emulator, and its faults.

    [[tokens=200 pace=20 first=100]]    words in the answer; milliseconds between them; milliseconds before the first
    [[cite]]                            a citation
    [[block]]                           the guardrail blocks the request, if the request has a guardrail for this text
    [[block=9]]                         the guardrail blocks the answer after 9 words
    [[mask=rivers]]                     the guardrail replaces this word of the answer by {NAME}
    [[standard]]                        served with standard latency and the default tier, whatever was requested
    [[redacted]]                        Claude's reasoning as redacted content
    [[input=100001]]                    the number of input tokens, cached ones included
    [[tool=NAME {"city": "Łódź"}]]      a call of this tool, if the request offers it; the input is optional
    [[fault=NAME at=5 times=1 ms=500 code=throttlingException]]

Directives are part of the request, so concurrent requests do not affect each other. Faults can also be random.
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
# The model does not support the request, or the account may not call the model.
REFUSALS = ("refuse-stream", "refuse-system", "too-long", "no-profile", "end-of-life", "legacy")
# Faults that pass. The others depend on the caller or the model and are permanent.
RANDOM_FAULTS = ("throttle", "unavailable", "not-ready", "stall-headers", *STREAM_FAULTS)

_BLOCK = re.compile(r"\[\[([^\[\]{}]*)(\{.*?\})?\s*\]\]", re.DOTALL)  # words, and optionally the input of a tool
_KEYS = frozenset(
    {"tokens", "pace", "first", "cite", "block", "mask", "standard", "redacted", "input"}
    | {"tool", "fault", "at", "times", "ms", "code"}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one request.

    `at`: tokens before the fault. `times`: number of requests with this text that get the fault; None is all.
    `ms`: milliseconds of a stall; None is until the client disconnects. `code`: of an exception in the stream.
    """

    name: str
    at: int
    times: int | None
    ms: int | None
    code: str

    def __post_init__(self) -> None:
        if self.name not in {*HTTP_FAULTS, *STREAM_FAULTS, *REFUSALS, "stall-headers"}:
            raise BedrockError("ValidationException", f"The Bedrock emulator has no fault {self.name!r}.")
        if self.code not in EXCEPTIONS:
            raise BedrockError("ValidationException", f"ConverseStream has no exception {self.code!r}.")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. If `input` is None, an input is generated from the tool's schema."""

    name: str
    input: Json | None = None


@dataclass(frozen=True, slots=True)
class Directives:
    """The directives of a text.

    `tokens`: words of the answer. `pace` and `first`: milliseconds; None is the usual time of a model. `block_after`:
    words before the guardrail blocks the answer. `mask`: the word to mask. `input`: the number of input tokens.
    """

    tokens: int | None
    pace: int | None
    first: int | None
    cite: bool
    tools: tuple[ToolCall, ...]
    fault: Fault | None
    block_after: int | None = None
    mask: str | None = None
    standard: bool = False
    redacted: bool = False
    input: int | None = None


def parse(text: str) -> Directives:
    """Parse the directives in a text. Raises BedrockError (ValidationException) for an invalid fault or number."""
    fields: dict[str, str] = {}
    tools: list[ToolCall] = []
    try:
        for block in _BLOCK.finditer(text):
            fields |= (pairs := _pairs(block))
            if "tool" in pairs:
                tools.append(ToolCall(pairs["tool"], json.loads(block[2]) if block[2] else None))
        return Directives(
            tokens=_number(fields, "tokens"),
            pace=_number(fields, "pace"),
            first=_number(fields, "first"),
            cite="cite" in fields,
            tools=tuple(tools),
            fault=_fault(fields) if "fault" in fields else None,
            block_after=_number(fields, "block") if fields.get("block") else None,
            mask=fields.get("mask"),
            standard="standard" in fields,
            redacted="redacted" in fields,
            input=_number(fields, "input"),
        )
    except ValueError as error:
        raise BedrockError("ValidationException", f"Invalid directive for the Bedrock emulator: {error}.") from error


def is_blocked(text: str) -> bool:
    """Return whether a guardrail blocks a request with this text."""
    return any(_pairs(block).get("block") == "" for block in _BLOCK.finditer(text))


def strip(text: str) -> str:
    """Return the text without its directives."""
    return _BLOCK.sub(lambda block: "" if _pairs(block) else block[0], text).strip()


def random_fault(rate: float, seed: int, number: int) -> Fault | None:
    """Return the fault of a request, or None. The same rate (0 to 1), seed and number give the same fault."""
    # Chance for tests, not for secrets.
    chance = random.Random(f"{seed}:{number}")  # noqa: S311  # the same faults each time, not a secret
    if chance.random() >= rate:
        return None
    return Fault(
        chance.choice(RANDOM_FAULTS), chance.randrange(40), times=None, ms=None, code=chance.choice(EXCEPTIONS)
    )


def _pairs(block: re.Match[str]) -> dict[str, str]:
    """Return the keys and values of a block. Empty if it has other words: then it is not a directive but text."""
    pairs = {key: value for key, _, value in (word.partition("=") for word in block[1].split())}
    return pairs if pairs.keys() <= _KEYS and (block[2] is None or "tool" in pairs) else {}


def _fault(fields: dict[str, str]) -> Fault:
    at, ms = _number(fields, "at"), _number(fields, "ms")
    if fields["fault"] == "slow-first":
        at, ms = at or 0, 5_000 if ms is None else ms
    code = fields.get("code", "modelStreamErrorException")
    return Fault(fields["fault"], 5 if at is None else at, _number(fields, "times"), ms, code)


def _number(fields: dict[str, str], key: str) -> int | None:
    return int(fields[key]) if key in fields else None
