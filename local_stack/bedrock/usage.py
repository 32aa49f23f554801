"""Counts tokens. A token is a word."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from local_stack.bedrock.events import Json

MAX_PREFIXES = 10_000


def count(value: Any) -> int:
    """Count the words in all strings of a JSON value."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, dict):
        return sum(map(count, value.values()))
    if isinstance(value, list):
        return sum(map(count, value))
    return 0


def input_tokens(body: Json) -> int:
    """Count the input tokens of a Converse request."""
    return sum(count(block) for block in _blocks(body) if "cachePoint" not in block)


class Meter:
    """Counts the tokens of requests. Emulates prompt caching: it stores the prefixes before cache points."""

    def __init__(self) -> None:
        self._prefixes: set[bytes] = set()

    def usage(self, model_id: str, body: Json, output_tokens: int) -> Json:
        """Return Bedrock's TokenUsage. `inputTokens` does not include cached tokens."""
        digest = hashlib.sha256(model_id.encode())
        total = read = cached = 0
        for block in _blocks(body):
            if "cachePoint" in block:
                cached = total
                if digest.digest() in self._prefixes:
                    read = total
                elif len(self._prefixes) < MAX_PREFIXES:
                    self._prefixes.add(digest.digest())
            else:
                digest.update(json.dumps(block, sort_keys=True).encode())
                total += count(block)
        return {
            "inputTokens": total - cached,
            "outputTokens": output_tokens,
            "totalTokens": total + output_tokens,
            "cacheReadInputTokens": read,
            "cacheWriteInputTokens": cached - read,
        }


def _blocks(body: Json) -> Iterator[Json]:
    """Yield the blocks that the model reads, in this order: tools, system, messages."""
    yield from body.get("toolConfig", {}).get("tools", [])
    yield from body.get("system", [])
    for message in body["messages"]:
        yield from message["content"]
