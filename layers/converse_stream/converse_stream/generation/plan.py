"""What a request comes to, in the light of what was said before."""

from dataclasses import dataclass

from converse_stream.http.bodies import ChatRequest
from converse_stream.memory.lookup import Memory
from converse_stream.prompts.templates import render
from converse_stream.protocol.errors import BadRequest, StorageError
from converse_stream.protocol.events import Chunk, Message
from converse_stream.protocol.ids import new_id, now
from converse_stream.protocol.log import Entry, encode


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request comes to: the question, its history, and the answer that is replaced or gone on with."""

    asked: Message
    text: str
    history: tuple[Message, ...]
    replaces: Message | None = None
    prefix: tuple[Entry, ...] = ()


def make_plan(request: ChatRequest, memory: Memory, gid: str, longest: int) -> Plan:
    """`longest` is the bytes of an answer that may be gone on with. Raises BadRequest and StorageError."""
    if request.message is not None:
        parts = (Chunk(request.message.text),)
        asked = Message(id=new_id(), role="user", parts=parts, created_at=now(), generation_id=gid)
        return Plan(asked, request.message.text, memory.history)
    if "history" in memory.missing:
        raise StorageError
    match memory.history:
        case [*before, Message(role="user") as asked, Message(role="assistant") as last]:
            if request.action == "regenerate":
                return Plan(asked, asked.text, tuple(before), last)
            if len(encode(last.parts)) > longest:
                raise BadRequest("This answer is too long to be continued.", field="action")
            if last.text.strip() and last.finish_reason != "content-filter":
                return Plan(asked, render("continue"), memory.history, last, last.parts)
    raise BadRequest("There is no answer to go on from.", field="action")
