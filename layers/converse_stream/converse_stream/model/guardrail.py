"""Corrects the stream events of an answer that a guardrail has checked. Pure.

https://docs.aws.amazon.com/bedrock/latest/userguide/guardrails-streaming.html
"""

from collections.abc import Iterable, Iterator
from typing import Any

from converse_stream.protocol.finish_reasons import from_bedrock

BREAK = "\n\n"  # between the model's text and the guardrail's message


def correct_stop_reason(raw: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same events. If the guardrail has only masked words, the stop reason is the one without a guardrail.

    Bedrock sends the stop reason `guardrail_intervened` for a masked and for a stopped answer. The trace comes after it
    and shows which one it is.
    """
    has_tool_call = False
    stop: dict[str, Any] | None = None
    for event in raw:
        match event:
            case {"contentBlockStart": {"start": {"toolUse": _}}}:
                has_tool_call = True
            case {"messageStop": {"stopReason": "guardrail_intervened"}}:
                stop = event
                continue
            case {"metadata": {"trace": {"guardrail": trace}}} if stop:
                actions = set(_actions(trace))
                if "ANONYMIZED" in actions and "BLOCKED" not in actions:
                    stop = {"messageStop": {"stopReason": "tool_use" if has_tool_call else "end_turn"}}
        if stop:
            yield stop
            stop = None
        yield event
    if stop:
        yield stop


def separate_guardrail_text(raw: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same events, with a break between the model's text and the guardrail's message.

    The guardrail's message is a separate text block, the last one. So a second text block is held back until its source
    is known. Without tools, the text of a model is one block.
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
    """The actions of the policies, anywhere in the trace: BLOCKED, ANONYMIZED or NONE."""
    if isinstance(value, dict):
        if isinstance(action := value.get("action"), str):
            yield action
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _actions(each)
