"""Converse's stream events of an answer that a guardrail looked at, made plain for those who read them. Pure.

https://docs.aws.amazon.com/bedrock/latest/userguide/guardrails-streaming.html
"""

from collections.abc import Iterable, Iterator
from typing import Any

from converse_stream.protocol.finish_reasons import from_bedrock

BREAK = "\n\n"  # between what passed and the guardrail's own words


def correct_stop_reason(raw: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same, but an answer in which the guardrail only masked words ends as it would have without a guardrail.

    Bedrock gives both the stop reason `guardrail_intervened`; the trace, which comes after it, tells them apart.
    """
    called = False
    stop: dict[str, Any] | None = None
    for event in raw:
        match event:
            case {"contentBlockStart": {"start": {"toolUse": _}}}:
                called = True
            case {"messageStop": {"stopReason": "guardrail_intervened"}}:
                stop = event
                continue
            case {"metadata": {"trace": {"guardrail": trace}}} if stop:
                actions = set(_actions(trace))
                if "ANONYMIZED" in actions and "BLOCKED" not in actions:
                    stop = {"messageStop": {"stopReason": "tool_use" if called else "end_turn"}}
        if stop:
            yield stop
            stop = None
        yield event
    if stop:
        yield stop


def separate_guardrail_text(raw: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same, with a break before the guardrail's own words where text had passed before them.

    They are a text block of their own, the last one. So a second text block is held back until it is known who said it;
    models say their text in one, where there are no tools.
    """
    first: int | None = None  # the index of the first text block
    held: list[dict[str, Any]] = []
    for event in raw:
        match event:
            case {"contentBlockDelta": {"delta": {"text": _}, "contentBlockIndex": index}}:
                first = index if first is None else first
                if index != first:
                    if held and held[-1]["contentBlockDelta"]["contentBlockIndex"] != index:
                        yield from held
                        held = []
                    held.append(event)
                    continue
            case {"messageStop": {"stopReason": reason}} if held:
                if from_bedrock(reason) == "content-filter":
                    index = held[0]["contentBlockDelta"]["contentBlockIndex"]
                    yield {"contentBlockDelta": {"contentBlockIndex": index, "delta": {"text": BREAK}}}
                yield from held
                held = []
            case {"contentBlockStart": _} | {"contentBlockDelta": _}:
                yield from held
                held = []
        yield event
    yield from held


def _actions(value: Any) -> Iterator[str]:
    """What the policies did, wherever in the trace it stands: BLOCKED, ANONYMIZED or NONE."""
    if isinstance(value, dict):
        if isinstance(action := value.get("action"), str):
            yield action
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _actions(each)
