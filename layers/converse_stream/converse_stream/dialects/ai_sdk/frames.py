"""The UI message stream of the npm package `ai`, versions 5 to 7, as its `useChat` reads it.

https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol. The first releases of version 5 fail at an unknown chunk, at an
unknown field and at `null`. So only known chunks and fields are sent; other data is sent as metadata of the message.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from converse_stream.dialects import native, sse
from converse_stream.protocol.events import TERMINAL, Chunk, Citation, Complete, Error, Event, Reasoning, Start, Tool
from converse_stream.protocol.log import PositionedEvent

HEADERS = {**sse.HEADERS, "x-vercel-ai-ui-message-stream": "v1"}
MAX_BODY_BYTES = 4 * 1024 * 1024  # the client sends all messages in each request; Lambda accepts 6 MB


class AiSdk:
    """The chunks of one message, in one step. At the end of the message all parts are closed.

    This dialect has no rollback, and needs none: its clients always read from the start of the log, so they have never
    received more than the table has.
    """

    comment_end = "\n"

    def __init__(self) -> None:
        self._open: tuple[str, str] | None = None  # kind and id of the open part
        self._parts = 0

    def encode(self, positioned: PositionedEvent) -> str:
        """The chunks of the event, as frames."""
        frames = "".join(map(sse.data, self._chunks(positioned.event)))
        return frames + sse.DONE if isinstance(positioned.event, TERMINAL) else frames

    def unfinished_end(self) -> str:
        """An error: a client would take any other end for the end of the answer."""
        chunks = [*self._closing(), {"type": "error", "errorText": "The answer is still being made."}]
        return "".join(map(sse.data, chunks)) + sse.DONE

    def _chunks(self, event: Event) -> Iterator[dict[str, Any]]:
        match event:
            case Start():
                fields = native.start_fields(event)
                yield {"type": "start", "messageId": fields.pop("messageId"), "messageMetadata": fields}
                yield {"type": "start-step"}
            case Chunk(content):
                yield from self._delta("text", content)
            case Reasoning(content):
                yield from self._delta("reasoning", content)
            case Citation():
                yield _source(self._new_id("source"), event)
            case Tool():
                yield from self._end_of_part()  # later text comes after the tool
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

    def _delta(self, kind: str, content: str) -> Iterator[dict[str, Any]]:
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
    """The chunk of a citation. Fields that the chunk does not have are sent as `providerMetadata`."""
    fields = {name: value for name, value in asdict(citation).items() if value is not None}
    title, url = fields.pop("title", None), fields.pop("url", None)
    if url:
        chunk = {"type": "source-url", "sourceId": source, "url": url, "title": title}
    else:
        file = fields.pop("document", None)
        names = {"title": title or file or citation.quote or "", "filename": file}
        chunk = {"type": "source-document", "sourceId": source, "mediaType": "text/plain", **names}
    chunk["providerMetadata"] = {"bedrock": fields} if fields else None
    return {name: value for name, value in chunk.items() if value is not None}


def _tool(tool: Tool) -> dict[str, Any]:
    """The chunk of a tool. The server runs it, and the types of the front end do not have it (`dynamic`)."""
    common = {"toolCallId": tool.id, "providerExecuted": True, "dynamic": True}
    match tool.state:
        case "call":
            arguments = json.loads(tool.input or "{}")
            return {"type": "tool-input-available", "toolName": tool.name, "input": arguments, **common}
        case "result":
            return {"type": "tool-output-available", "output": json.loads(tool.output or "null"), **common}
        case "error":
            return {"type": "tool-output-error", "errorText": tool.error or "The tool failed.", **common}
