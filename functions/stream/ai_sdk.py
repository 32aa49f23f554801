"""The routes of the AI SDK's `useChat`: send, regenerate and resume. Its stop is the native cancel."""

from converse_stream import service
from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.dialects.ai_sdk.frames import HEADERS, AiSdk
from converse_stream.dialects.ai_sdk.request import Question, parse_question
from converse_stream.generation.generation import Generation
from converse_stream.http.bodies import ChatRequest, Send, parse_send
from converse_stream.protocol.errors import BadRequest, ConversationBusy
from converse_stream.store.generation_record import GenerationRecord, generation_id
from exchange import Exchange
from streaming_runtime import StreamingResponse

CANCEL_SECONDS = 5.0  # that a new message waits for the end of the running generation
REPLAY_SECONDS = 600  # after its end in which an answer is sent again: the client may not have received the end


def send(exchange: Exchange) -> StreamingResponse:
    """`POST /ai/chat`: answers a new message, or the last one again; a repeated request follows the first one."""
    question = parse_question(exchange.request, exchange.app.settings)
    if question.regenerates and _is_last(exchange.app, exchange.user, question):
        started = _regenerate(exchange, question)
    else:
        chat = question.request("send")
        started = _start(exchange, chat, parse_send({"idempotency-key": question.key()}, chat))
    return exchange.stream(exchange.source(started), AiSdk(), HEADERS, exchange.after(started))


def resume(exchange: Exchange) -> StreamingResponse:
    """`GET /ai/chat/{conversation}/stream`: the whole answer from its first event; 204 when there is none."""
    record = service.latest(exchange.app, exchange.user, exchange.path_id, within=REPLAY_SECONDS)
    return exchange.stream(exchange.source(record), AiSdk(), HEADERS) if record else exchange.no_content()


def _start(exchange: Exchange, chat: ChatRequest, key: Send) -> Generation | GenerationRecord:
    """Answers a new message. The client shows one answer only, so a running generation is cancelled first."""
    app, user = exchange.app, exchange.user
    try:
        return service.start(app, user, chat, key, exchange.context)
    except ConversationBusy as busy:
        if busy.generation is None or not service.cancel_and_wait(app, user, busy.generation, CANCEL_SECONDS):
            raise
        return service.start(app, user, chat, key, exchange.context)


def _is_last(app: Container, user: User, question: Question) -> bool:
    """Whether the message is the last one of the conversation. False when it was never stored. Raises BadRequest."""
    _, recent = app.conversations.recent(user.key, question.conversation, app.settings.history_messages)
    gid = generation_id(user.key, question.key())
    messages = [message for message in recent if message.role == "user"]
    matches = [gid == message.generation_id or question.id == message.id for message in messages]
    if matches and matches[-1]:
        if messages[-1].text != question.text:
            raise BadRequest("An edited message cannot be answered again; send it as a new one.", field="messages")
        return True
    if any(matches) or question.answer:
        raise BadRequest("Only the last answer can be made again.", field="messageId")
    return False


def _regenerate(exchange: Exchange, question: Question) -> Generation | GenerationRecord:
    """Answers the last message again.

    When the request names no answer and a generation runs that is not cancelled, it is taken for a repeated request.
    """
    app, user, chat = exchange.app, exchange.user, question.request("regenerate")
    headers = {"idempotency-key": question.key(question.answer)} if question.answer else {}
    try:
        return service.start(app, user, chat, parse_send(headers, chat), exchange.context)
    except ConversationBusy as busy:
        if question.answer or busy.generation is None:
            raise
        running = service.running(app, user, question.conversation, busy.generation)
        if running is None or running.cancelled:
            raise
        return running
