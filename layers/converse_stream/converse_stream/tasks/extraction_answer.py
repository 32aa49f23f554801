"""Reads the model's answer to an extraction. Pure.

Models without structured output do not keep to the form, so everything is read whose meaning is clear: JSON among
prose, with other names for the fields, with small faults, or cut off.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import from_json

from converse_stream.protocol.fields import normalize
from converse_stream.protocol.text import well_formed

MAX_ANSWER = 6_000  # code points that are read
MAX_VALUES = 40  # places where a JSON value may begin that are tried
UNSTATED_CONFIDENCE = 0.7  # of a fact without a confidence: the model was told to leave out what it only guesses

_THINKING = re.compile(r"<(think|thinking|thought|reasoning|reflection)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_END_OF_THINKING = re.compile(r"\A.*</(?:think|thinking|thought|reasoning|reflection)>", re.DOTALL | re.IGNORECASE)
_JSON_STRING = r'"(?:[^"\\]|\\.)*"'
_ANY_STRING = rf"{_JSON_STRING}|'(?:[^'\\]|\\.)*'"  # also one of Python
_TRAILING_COMMA = re.compile(rf"({_JSON_STRING})|,(?=\s*[}}\]])", re.DOTALL)
_TOKENS = {strings: re.compile(rf"{strings}|[{{}}\[\]]", re.DOTALL) for strings in (_JSON_STRING, _ANY_STRING)}

# The names of fields, in lower case and with letters only.
_FACTS = ("facts", "userfacts", "newfacts", "extractedfacts", "memories", "preferences")
_TEXT = ("text", "fact", "content", "statement", "memory", "value", "description")
_OUTDATED = ("outdated",)
_ASSISTANT = ("assistant", "assistantname")
_CONFIDENCES = {
    "certain": 1.0,
    "veryhigh": 0.95,
    "high": 0.9,
    "medium": 0.6,
    "moderate": 0.6,
    "low": 0.3,
    "verylow": 0.1,
}


@dataclass(frozen=True, slots=True)
class AnsweredFact:
    """A fact in the answer. `confidence` is from 0 to 1, `replaces` has numbers of known facts."""

    text: str
    kind: Literal["fact", "preference"] = "fact"
    confidence: float = UNSTATED_CONFIDENCE
    replaces: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer. `outdated` has numbers of known facts; `assistant` is as the model gave it."""

    facts: tuple[AnsweredFact, ...] = ()
    outdated: tuple[int, ...] = ()
    assistant: Any = None


def read(text: str) -> Answer | None:
    """The model's answer; None if it cannot be read. An answer without facts can be read."""
    answers = [answer for value in _values(text) if (answer := _answer(value)) is not None]
    if not answers:
        return None
    return Answer(
        tuple(fact for answer in answers for fact in answer.facts),
        tuple(number for answer in answers for number in answer.outdated),
        next((answer.assistant for answer in answers if answer.assistant), None),
    )


# ---- Text to values ----


def _values(text: str) -> Iterator[Any]:
    """The objects and lists of JSON in the text, from the outside."""
    text = _END_OF_THINKING.sub("", _THINKING.sub(" ", text))[:MAX_ANSWER]
    if text.lstrip().startswith('"{'):  # JSON in a string of JSON
        text = _parsed(json.loads, text.strip()) or text
    position = 0
    for _ in range(MAX_VALUES):
        start = next((at for at in range(position, len(text)) if text[at] in "{["), None)
        if start is None:
            return
        value, end = _value_at(text, start)
        position = end if value is not None else start + 1
        if value is not None:
            yield value


def _value_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at `start`, and its end; None if there is none. If the text was cut, the complete part."""
    for strings, parsers in (
        (_JSON_STRING, (json.loads, _without_trailing_commas)),
        (_ANY_STRING, (ast.literal_eval,)),
    ):
        end = _end(text, start, _TOKENS[strings])
        for parse in parsers if end is not None else ():
            value = _parsed(parse, text[start:end])
            if isinstance(value, dict | list):
                return value, end or start
    if _end(text, start, _TOKENS[_JSON_STRING]) is None:
        complete = text[start:].rstrip("0123456789.")  # a number at the end may be the start of a longer one
        value = _parsed(lambda cut: from_json(cut, allow_partial=True), complete)
        if _answer(value) not in (None, Answer()):  # nothing complete before the cut is no answer
            return value, len(text)
    return None, start


def _end(text: str, start: int, tokens: re.Pattern[str]) -> int | None:
    """The end of the brackets that open at `start`; None if they are not closed."""
    depth = 0
    for token in tokens.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return None


def _without_trailing_commas(text: str) -> Any:
    return json.loads(_TRAILING_COMMA.sub(lambda match: match[1] or "", text), strict=False)


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


# ---- Values to an answer ----


def _answer(value: Any, depth: int = 2) -> Answer | None:
    """The answer in a value; None if the value has another meaning. `depth` objects around it are opened."""
    if isinstance(value, list):
        facts = list(_facts(value))
        return Answer(tuple(facts)) if facts or not value else None
    if not isinstance(value, dict):
        return None
    fields = {re.sub(r"[^a-z]", "", str(name).lower()): each for name, each in value.items()}
    if any(name in fields for name in (*_FACTS, *_OUTDATED, *_ASSISTANT)):
        given = [fields[name] for name in _FACTS if name in fields]
        if any(isinstance(each, str | int | float) for each in given):
            return None
        facts = [fact for each in given for fact in _facts(each if isinstance(each, list) else [each])]
        return Answer(tuple(facts), _numbers(_first(fields, _OUTDATED)), _first(fields, _ASSISTANT))
    if fact := _fact(value):
        return Answer((fact,))
    if len(value) == 1 and depth:  # such as {"result": {"facts": [...]}}
        return _answer(next(iter(value.values())), depth - 1)
    return Answer() if not value else None


def _facts(values: Sequence[Any]) -> Iterator[AnsweredFact]:
    for value in values:
        if fact := _fact(value):
            yield fact


def _fact(value: Any) -> AnsweredFact | None:
    """The fact in an object or a text; None if there is none."""
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, dict):
        return None
    fields = {re.sub(r"[^a-z]", "", str(name).lower()): each for name, each in value.items()}
    text, confidence = _first(fields, _TEXT), _confidence(fields.get("confidence"))
    text = normalize(well_formed(text)) if isinstance(text, str) else ""
    if not text or confidence is None:
        return None
    is_preference = str(fields.get("kind") or fields.get("type")).strip().lower().startswith("preference")
    kind: Literal["fact", "preference"] = "preference" if is_preference else "fact"
    return AnsweredFact(text, kind, confidence, _numbers(fields.get("replaces")))


def _first(fields: dict[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _confidence(value: Any) -> float | None:
    """A confidence from 0 to 1, also from a percentage or a word; None if it is none of these."""
    if value is None:
        return UNSTATED_CONFIDENCE
    if isinstance(value, str):
        word = re.sub(r"[^a-z]", "", value.lower())
        if word in _CONFIDENCES:
            return _CONFIDENCES[word]
        number = re.fullmatch(r"\s*(\d+(?:[.,]\d+)?)\s*(%?)\s*", value)
        if not number:
            return None
        value = float(number[1].replace(",", ".")) / (100 if number[2] else 1)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return None
    return value / 100 if value > 1 else float(value)


def _numbers(value: Any) -> tuple[int, ...]:
    """The whole numbers in a list, or in one value, such as `2` and `"[fact 2]"`."""
    numbers: list[int] = []
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str) and (digits := re.search(r"\d{1,6}", each)):
            numbers.append(int(digits[0]))
        elif isinstance(each, int | float) and not isinstance(each, bool) and each == each // 1:
            numbers.append(int(each))
    return tuple(numbers)
