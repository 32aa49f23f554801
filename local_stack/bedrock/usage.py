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

    def usage(
        self, model_id: str, body: Json, output_tokens: int, *, least: int = 1, total_input: int | None = None
    ) -> Json:
        """Return Bedrock's TokenUsage. `inputTokens` does not include cached tokens.

        `least`: tokens of the shortest prefix that is cached. `total_input`: the number to report instead of the
        counted one; the cached tokens are a part of it.
        """
        digest = hashlib.sha256(model_id.encode())
        total = read = cached = 0
        written, with_ttl = {"5m": 0, "1h": 0}, False
        for block in _blocks(body):
            if "cachePoint" not in block:
                digest.update(json.dumps(block, sort_keys=True).encode())
                total += count(block)
                continue
            with_ttl = with_ttl or "ttl" in block["cachePoint"]
            if total < least:
                continue
            if digest.digest() in self._prefixes:
                read, written = total, {"5m": 0, "1h": 0}
            else:
                written[block["cachePoint"].get("ttl", "5m")] += total - cached
                if len(self._prefixes) < MAX_PREFIXES:
                    self._prefixes.add(digest.digest())
            cached = total
        total = max(cached, total if total_input is None else total_input)
        usage: Json = {
            "inputTokens": total - cached,
            "outputTokens": output_tokens,
            "totalTokens": total + output_tokens,
            "cacheReadInputTokens": read,
            "cacheWriteInputTokens": cached - read,
        }
        if with_ttl:
            usage["cacheDetails"] = [
                {"ttl": ttl, "inputTokens": tokens} for ttl, tokens in reversed(written.items()) if tokens
            ]
        return usage


def _blocks(body: Json) -> Iterator[Json]:
    """Yield the blocks that the model reads, in this order: tools, system, messages."""
    yield from body.get("toolConfig", {}).get("tools", [])
    yield from body.get("system", [])
    for message in body["messages"]:
        yield from message["content"]
