"""What a request does in its conversation: which message it answers, and which answer it replaces or continues."""

from dataclasses import dataclass

from converse_stream.http.bodies import ChatRequest
from converse_stream.memory.lookup import Memory
from converse_stream.prompts.templates import render
from converse_stream.protocol.errors import BadRequest, StorageError
from converse_stream.protocol.events import Chunk, Message, ReasoningSignature, RedactedReasoning
from converse_stream.protocol.ids import new_id, now
from converse_stream.protocol.log import Entry, encode, joined


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan for one request.

    `user_message` is the message to answer. `text` is the last turn of the prompt: the text of that message, or the
    instruction to continue. `history` has the messages before that turn. `replaces` is the answer that the new one
    replaces, and `prefix` its log, if the new answer continues it. The prefix has no signatures and no redacted
    reasoning: they are not sent to the model again, and would make the prefix too long.
    """

    user_message: Message
    text: str
    history: tuple[Message, ...]
    replaces: Message | None = None
    prefix: tuple[Entry, ...] = ()


def make_plan(request: ChatRequest, memory: Memory, gid: str, max_continued_bytes: int) -> Plan:
    """Returns the plan for a request, from what was read of its conversation.

    `gid` is the id of the new generation. An answer of more than `max_continued_bytes` cannot be continued. Raises
    BadRequest if there is no answer to regenerate or to continue, and StorageError if the history was not read in time.
    """
    if request.message is not None:
        parts = (Chunk(request.message.text),)
        user_message = Message(id=new_id(), role="user", parts=parts, created_at=now(), generation_id=gid)
        return Plan(user_message, request.message.text, memory.history)
    if "history" in memory.missing:
        raise StorageError
    match memory.history:
        case [*earlier, Message(role="user") as user_message, Message(role="assistant") as answer]:
            if request.action == "regenerate":
                return Plan(user_message, user_message.text, tuple(earlier), answer)
            unsigned = (part for part in answer.parts if not isinstance(part, (ReasoningSignature, RedactedReasoning)))
            prefix = tuple(joined(unsigned))
            if len(encode(prefix)) > max_continued_bytes:
                raise BadRequest("This answer is too long to be continued.", field="action")
            if answer.text.strip() and answer.finish_reason != "content-filter":
                return Plan(user_message, render("continue"), memory.history, answer, prefix)
    raise BadRequest("There is no answer to regenerate or to continue.", field="action")
