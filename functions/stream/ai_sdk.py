"""The routes of the AI SDK's `useChat`: send, regenerate and resume. Its stop is our cancel."""

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

STOPPING = 5.0  # seconds that a new question waits for the end of the answer before it
RECENT = 600  # seconds in which an answer that has ended is replayed: its client may not have seen the end


def send(exchange: Exchange) -> StreamingResponse:
    """`POST /ai/chat`: a new turn, the last one again, or what an earlier try of the same request started."""
    question = parse_question(exchange.request, exchange.app.settings)
    if question.regenerates and _is_last(exchange.app, exchange.user, question):
        started = _again(exchange, question)
    else:
        chat = question.request("send")
        started = _asked(exchange, chat, parse_send({"idempotency-key": question.key()}, chat))
    return exchange.stream(exchange.source(started), AiSdk(), HEADERS, exchange.after(started))


def resume(exchange: Exchange) -> StreamingResponse:
    """`GET /ai/chat/{conversation}/stream`: the whole answer from its begin; 204 where nothing is to be seen."""
    record = service.latest(exchange.app, exchange.user, exchange.named, within=RECENT)
    return exchange.stream(exchange.source(record), AiSdk(), HEADERS) if record else exchange.nothing()


def _asked(exchange: Exchange, chat: ChatRequest, key: Send) -> Generation | GenerationRecord:
    """The answer to a new question. Its client listens to nothing else, so an answer still being made is stopped."""
    app, user = exchange.app, exchange.user
    try:
        return service.start(app, user, chat, key, exchange.context)
    except ConversationBusy as busy:
        if busy.generation is None or not service.cancel_and_wait(app, user, busy.generation, STOPPING):
            raise
        return service.start(app, user, chat, key, exchange.context)


def _is_last(app: Container, user: User, question: Question) -> bool:
    """Whether it is the conversation's last; not, when its first send never arrived. Raises BadRequest."""
    _, recent = app.conversations.recent(user.key, question.conversation, app.settings.history_messages)
    sent = generation_id(user.key, question.key())
    users = [each for each in recent if each.role == "user"]
    asked = [sent == each.generation_id or question.id == each.id for each in users]
    if asked and asked[-1]:
        if users[-1].text != question.text:
            raise BadRequest("An edited message cannot be answered again; send it as a new one.", field="messages")
        return True
    if any(asked) or question.answer:
        raise BadRequest("Only the last answer can be made again.", field="messageId")
    return False


def _again(exchange: Exchange, question: Question) -> Generation | GenerationRecord:
    """Where no answer is named, a wish while one is being made is taken for the same wish, unless that was stopped."""
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
