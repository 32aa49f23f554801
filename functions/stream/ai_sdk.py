"""The routes of the AI SDK's `useChat`: send, regenerate and resume. Its stop is our cancel."""

from functools import partial

from aws_lambda_powertools.utilities.typing import LambdaContext

from chat.application import Application
from chat.auth import User
from chat.dialects import sse
from chat.dialects.ai_sdk import HEADERS, AiSdk, Question, parse_question
from chat.errors import BadRequest, ConversationBusy
from chat.http import HttpRequest
from chat.requests import client_of, send_of
from chat.store.head import Head, generation_id
from chat.turn import Turn
from streaming_runtime import StreamingResponse

RECENT = 600  # seconds in which an answer that has ended is replayed: its client may not have seen the end


def send(
    app: Application, request: HttpRequest, user: User, context: LambdaContext, headers: dict[str, str]
) -> StreamingResponse:
    """`POST /ai/chat`: a new turn, the last one again, or what an earlier try of the same request started."""
    question = parse_question(request, app.settings)
    if question.regenerates and _is_last(app, user, question):
        begun = _again(app, user, question, context)
    else:
        chat = question.request("send")
        begun = app.start(user, chat, send_of({"idempotency-key": question.key()}, chat), context)
    source = app.follow(user, begun, context, client=client_of(request.headers)) if isinstance(begun, Head) else begun
    after = [partial(app.learning.hand_over, user, begun)]
    return StreamingResponse(sse.frames(source, AiSdk()), headers=HEADERS | headers, after=after)


def resume(
    app: Application,
    request: HttpRequest,
    user: User,
    context: LambdaContext,
    conversation: str,
    headers: dict[str, str],
) -> StreamingResponse:
    """`GET /ai/chat/{conversation}/stream`: the whole answer from its begin; 204 where nothing is to be seen."""
    head = app.latest(user, conversation, within=RECENT)
    if head is None:
        return StreamingResponse([], status=204, headers=headers)
    source = app.follow(user, head, context, client=client_of(request.headers))
    source.attach()
    return StreamingResponse(sse.frames(source, AiSdk()), headers=HEADERS | headers)


def _is_last(app: Application, user: User, question: Question) -> bool:
    """Whether it is the conversation's last; not, when its first send never arrived. Raises BadRequest."""
    _, recent = app.conversations.recent(user.key, question.conversation, app.settings.history_messages)
    sent = generation_id(user.key, question.key())
    asked = [sent == each.generation_id or question.id == each.id for each in recent if each.role == "user"]
    if asked and asked[-1]:
        return True
    if any(asked) or question.answer:
        raise BadRequest("Only the last answer can be made again.", field="messageId")
    return False


def _again(app: Application, user: User, question: Question, context: LambdaContext) -> Turn | Head:
    """Where no answer is named, a wish while one is being made is taken for the same wish, unless that was stopped."""
    chat = question.request("regenerate")
    headers = {"idempotency-key": question.key(question.answer)} if question.answer else {}
    try:
        return app.start(user, chat, send_of(headers, chat), context)
    except ConversationBusy as busy:
        if question.answer or busy.generation is None:
            raise
        running = app.running(user, question.conversation, busy.generation)
        if running is None or running.cancelled:
            raise
        return running
