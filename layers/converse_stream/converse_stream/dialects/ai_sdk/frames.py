"""The UI message stream of the npm package `ai`, versions 5 to 7, as its `useChat` sends and reads it.

https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol. The first releases of version 5 end with an error at a chunk or a
field that they do not know, and at `null`. So only what they know is sent; the rest goes into the message's metadata.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from converse_stream.dialects import native, sse
from converse_stream.protocol.events import (
    TERMINAL,
    Chunk,
    Citation,
    Complete,
    Error,
    Event,
    Reasoning,
    Start,
    Tool,
)
from converse_stream.protocol.log import PositionedEvent

HEADERS = {**sse.HEADERS, "x-vercel-ai-ui-message-stream": "v1"}
MAX_BODY_BYTES = 4 * 1024 * 1024  # the client sends all its messages each time; Lambda takes 6 MB


class AiSdk:
    """Chunks of one message, in one step. Whatever ends it, no part is left open.

    A rollback has no words here, and needs none: a reader of this dialect always begins at the log's begin, where
    nobody has seen more than the table holds.
    """

    comment_end = "\n"

    def __init__(self) -> None:
        self._open: tuple[str, str] | None = None  # kind and id of the part that is being spoken
        self._parts = 0

    def encode(self, placed: PositionedEvent) -> str:
        """The event's chunks, as frames."""
        frames = "".join(map(sse.data, self._chunks(placed.event)))
        return frames + sse.DONE if isinstance(placed.event, TERMINAL) else frames

    def cut(self) -> str:
        """An error: any other end would look like the answer's."""
        chunks = [*self._closing(), {"type": "error", "errorText": "The answer is still being made."}]
        return "".join(map(sse.data, chunks)) + sse.DONE

    def _chunks(self, event: Event) -> Iterator[dict[str, Any]]:
        match event:
            case Start():
                known = native.opening(event)
                yield {"type": "start", "messageId": known.pop("messageId"), "messageMetadata": known}
                yield {"type": "start-step"}
            case Chunk(content):
                yield from self._said("text", content)
            case Reasoning(content):
                yield from self._said("reasoning", content)
            case Citation():
                yield _source(self._new_id("source"), event)
            case Tool():
                yield from self._end_of_part()  # what is said next stands behind the tool
                yield _tool(event)
            case Complete():
                yield from self._closing()
                answer = native.message(event.ai_message)
                yield _metadata({name: answer[name] for name in ("finishReason", "model", "usage") if name in answer})
                yield {"type": "abort" if event.finish_reason == "cancelled" else "finish"}
            case Error():
                yield from self._closing()
                error = native.to_json(event)
                del error["type"]
                yield _metadata({"error": error})
                yield {"type": "error", "errorText": event.message}

    def _said(self, kind: str, content: str) -> Iterator[dict[str, Any]]:
        if self._open is None or self._open[0] != kind:
            yield from self._end_of_part()
            self._open = kind, self._new_id(kind)
            yield {"type": f"{kind}-start", "id": self._open[1]}
        yield {"type": f"{kind}-delta", "id": self._open[1], "delta": content}

    def _end_of_part(self) -> Iterator[dict[str, Any]]:
        if self._open is not None:
            kind, part = self._open
            self._open = None
            yield {"type": f"{kind}-end", "id": part}

    def _closing(self) -> Iterator[dict[str, Any]]:
        yield from self._end_of_part()
        yield {"type": "finish-step"}

    def _new_id(self, kind: str) -> str:
        self._parts += 1
        return f"{kind}-{self._parts}"


def _metadata(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message-metadata", "messageMetadata": fields}


def _source(source: str, citation: Citation) -> dict[str, Any]:
    """What such a chunk has no field for goes along as the provider's metadata."""
    said = {name: value for name, value in asdict(citation).items() if value is not None}
    title, url = said.pop("title", None), said.pop("url", None)
    if url:
        chunk = {"type": "source-url", "sourceId": source, "url": url, "title": title}
    else:
        file = said.pop("document", None)
        named = {"title": title or file or citation.quote or "", "filename": file}
        chunk = {"type": "source-document", "sourceId": source, "mediaType": "text/plain", **named}
    chunk["providerMetadata"] = {"bedrock": said} if said else None
    return {name: value for name, value in chunk.items() if value is not None}


def _tool(tool: Tool) -> dict[str, Any]:
    """Executed by us, and unknown to the front end's types."""
    common = {"toolCallId": tool.id, "providerExecuted": True, "dynamic": True}
    match tool.state:
        case "call":
            arguments = json.loads(tool.input or "{}")
            return {"type": "tool-input-available", "toolName": tool.name, "input": arguments, **common}
        case "result":
            return {"type": "tool-output-available", "output": json.loads(tool.output or "null"), **common}
        case "error":
            return {"type": "tool-output-error", "errorText": tool.error or "The tool failed.", **common}
