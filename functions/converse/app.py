"""Every answer in one piece: API Gateway's routes, and the tasks that are invoked directly."""

from collections.abc import Mapping
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream import service, tasks
from converse_stream.auth import ANONYMOUS, User
from converse_stream.container import Container
from converse_stream.dialects import buffered, native
from converse_stream.http import cursors
from converse_stream.http.bodies import (
    CancelRequest,
    ChatRequest,
    ConversationChange,
    NewConversation,
    NewFact,
    NewProfile,
    ProfileChange,
    check_chat,
    parse_send,
)
from converse_stream.http.request import (
    ID,
    HttpRequest,
    check_origin,
    error_body,
    json_bytes,
)
from converse_stream.http.validation import check_json, check_text, parse, refusal
from converse_stream.protocol.errors import (
    ChatError,
    DeletionUnfinished,
    ErasureInProgress,
    NotFound,
)
from converse_stream.protocol.ids import new_id
from converse_stream.store.conversations import Conversation
from converse_stream.store.facts import Fact, Profile
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.telemetry import (
    hide_unexpected_errors,
    log_caller,
    log_refusal,
    logger,
)

app = Container.from_environment()
resolver = APIGatewayHttpResolver(enable_validation=True, debug=False)

JSON = {"content-type": "application/json"}
NO_HEADERS: Mapping[str, str] = {}
OPEN = frozenset({"/health", "/openapi.json"})
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=300)]
Id = Annotated[str, Path(pattern=ID)]


@logger.inject_lambda_context(clear_state=True, log_event=False)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers an HTTP event, or runs a task: `{"task": "title" | "classify" | "learn" | "erase", ...}`."""
    if isinstance(event, dict) and "task" in event:
        seconds = context.get_remaining_time_in_millis() / 1000 - 1
        with hide_unexpected_errors():
            return tasks.run(event, app, seconds)
    request_id = context.aws_request_id
    try:
        request = HttpRequest.from_event(event)
        check_origin(request, app.settings)
        caller = ANONYMOUS if request.path in OPEN else app.authenticate(request, context)
        log_caller(caller.key, request.path)
        body = b""
        if request.raw_body and request.method in {"POST", "PUT", "PATCH"}:
            body = request.json_body(app.settings.max_body_bytes)
            check_json(body)
        resolver.append_context(  # type: ignore[no-untyped-call]  # Powertools ships it untyped
            user=caller, context=context, headers=request.headers, body=body
        )
        response = resolver.resolve(request.as_event(body), context)
        response["headers"]["x-request-id"] = request_id
        return response
    except (ErasureInProgress, DeletionUnfinished) as error:  # it may have broken off
        app.deletion.dispatch(caller.key, error.conversation)
        return _refused(error, request_id)
    except ChatError as error:
        return _refused(error, request_id)
    except Exception:
        logger.exception("a request failed")
        return _refused(ChatError(), request_id)


def _refused(error: ChatError, request_id: str) -> dict[str, Any]:
    log_refusal(error)
    return {
        "statusCode": error.status,
        "headers": {**JSON, "cache-control": "no-store", "x-request-id": request_id, **error.headers},
        "body": error_body(error, request_id).decode(),
    }


def reply(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Response[str]:
    """A JSON answer that no cache keeps."""
    return Response(status, "application/json", json_bytes(body).decode(), {"cache-control": "no-store", **headers})


def user() -> str:
    """The key of who asks."""
    authenticated: User = resolver.context["user"]
    return authenticated.key


@resolver.exception_handler(RequestValidationError)  # type: ignore[untyped-decorator]  # Powertools' own
def _invalid(error: RequestValidationError) -> Response[str]:
    wrong = [{**each, "loc": each["loc"][1:]} for each in error.errors()]  # without "body", "query" or "path"
    raise NotFound if error.errors()[0]["loc"][0] == "path" else refusal(wrong)


@resolver.not_found
def _nothing(_: NotFoundError) -> Response[str]:
    raise NotFound


@resolver.post("/chat")
def chat(body: ChatRequest) -> Response[str]:
    """Sends a message and answers it in one piece, within API Gateway's patience."""
    check_chat(body, app.settings)
    who, context, headers = resolver.context["user"], resolver.context["context"], resolver.context["headers"]
    patience = app.settings.buffered_turn_seconds
    started = service.start(app, who, body, parse_send(headers, body), context, max_seconds=patience)
    source = (
        service.follow(app, who, started, context, max_seconds=patience)
        if isinstance(started, GenerationRecord)
        else started
    )
    status, answer = buffered.answer(source)
    app.learning.dispatch(who, started)  # before the answer, because nothing runs after it
    return reply(answer, status, {"retry-after": "2"} if status == 202 else {})


@resolver.post("/prompt/preview")
def preview(body: ChatRequest) -> Response[str]:
    """What the model would be sent for this message, and roughly how many tokens that is. It is not sent."""
    shown = service.preview(app, resolver.context["user"], check_chat(body, app.settings))
    asked = shown.completion
    operation, request = app.models.request(asked.prompt, asked.model, asked.options, stream=asked.stream)
    return reply(
        {
            "model": asked.model,
            "operation": operation,
            "request": request,
            "tokens": asked.token_counts,
            "totalTokens": asked.tokens,
            "contextWindow": app.models[asked.model].context_window,
            "missing": shown.missing,
        }
    )


@resolver.post("/chat/<conversation>/cancel")
@resolver.post("/ai/chat/<conversation>/stop")
def cancel(conversation: Id) -> Response[str]:
    """Stops the answer that is being made; a body `{"generationId"}` stops only that one."""
    body = resolver.context["body"]
    asked = parse(CancelRequest, body) if body else CancelRequest()
    service.cancel(app, resolver.context["user"], conversation, asked.generation_id)
    return reply({"status": "accepted"}, 202)


@resolver.post("/conversations")
def create_conversation(body: NewConversation) -> Response[str]:
    """A conversation before its first message."""
    return reply(_conversation(app.conversations.create(user(), body.id or new_id(), body.title)), 201)


@resolver.get("/conversations/<conversation>")
def conversation(conversation: Id) -> Response[str]:
    """One conversation; `active` names the answer that is being made."""
    known = app.conversations.get(user(), conversation)
    if known.deleted or known.updated_at is None:
        raise known.missing()
    running = service.running(app, resolver.context["user"], conversation)
    active = running.gid if running and running.status == "run" else None
    return reply(_conversation(known) | ({"active": active} if active else {}))


@resolver.patch("/conversations/<conversation>")
def rename(conversation: Id, body: ConversationChange) -> Response[str]:
    """Gives it a title."""
    return reply(_conversation(app.conversations.rename(user(), conversation, body.title)))


@resolver.delete("/conversations/<conversation>")
def delete(conversation: Id) -> Response[str]:
    """Removes it with everything in it, and stops an answer that is being made. 202 when that takes longer."""
    return _deleted(conversation)


@resolver.get("/conversations")
def conversations(limit: Limit = 50, cursor: Cursor = None) -> Response[str]:
    """The user's conversations, newest change first."""
    before = cursors.read_change(cursor) if cursor else None
    page, more = app.conversations.page(user(), limit=limit, before=before)
    listed = [_conversation(each) for each in page]
    return reply({"conversations": listed} | ({"cursor": cursors.write(*more)} if more else {}))


@resolver.get("/conversations/<conversation>/messages")
def messages(conversation: Id, limit: Limit = 50, cursor: Cursor = None) -> Response[str]:
    """The newest messages of a conversation, oldest first; `cursor` leads to older ones."""
    before = cursors.read_seq(cursor) if cursor else None
    page, older = app.conversations.messages(user(), conversation, limit=limit, before=before)
    listed = [native.message(each) for each in page]
    return reply({"messages": listed} | ({"cursor": cursors.write(older)} if older else {}))


@resolver.get("/memory")
def memory() -> Response[str]:
    """What the assistant remembers of the user."""
    facts = app.facts.all(user())
    return reply({"facts": [_fact(fact) for fact in facts]})


@resolver.post("/memory")
def remember(body: NewFact) -> Response[str]:
    """Adds a fact."""
    text = check_text(body.text, app.settings.max_fact_chars, "text")
    fact = app.facts.add(user(), text, body.kind, limit=app.settings.max_facts)
    return reply(_fact(fact), 201)


@resolver.delete("/memory/<fact>")
def forget(fact: Id) -> Response[str]:
    """Forgets a fact."""
    app.facts.delete(user(), fact)
    return Response(204, body="")


@resolver.get("/profile")
def profile() -> Response[str]:
    """How the user is addressed, what the assistant is called, and whether it learns from what they say."""
    return reply(_profile(app.facts.profile(user())))


@resolver.put("/profile")
def set_profile(body: NewProfile) -> Response[str]:
    """Replaces the profile; `learning` stays as it is where nothing is said about it."""
    given = body.name, body.assistant_name, body.about
    return reply(_profile(app.facts.set_profile(user(), *given, learning=body.learning)))


@resolver.patch("/profile")
def change_profile(body: ProfileChange) -> Response[str]:
    """Changes what is given: null takes a text away, and what is not named stays as it is."""
    return reply(_profile(app.facts.change_profile(user(), **body.model_dump(exclude_unset=True))))


@resolver.delete("/me")
def erase() -> Response[str]:
    """Erases the user: conversations, facts and profile. 202 when that takes longer; call again to know its end."""
    return _deleted(None)


@resolver.get("/health")
def health() -> Response[str]:
    """Whether the function runs and is configured."""
    return reply({"status": "ok"})


@resolver.get("/openapi.json")
def openapi() -> Response[str]:
    """Every route of both functions as OpenAPI."""
    from converse_stream.openapi import document

    return Response(200, "application/json", document.text(), {"cache-control": "no-store"})


def _deleted(conversation: str | None) -> Response[str]:
    """What the user deletes, all of theirs for None: 202 where that goes on as a task."""
    done = app.deletion.run(user(), conversation, app.settings.buffered_turn_seconds)
    return Response(204, body="") if done else reply({"status": "accepted"}, 202, {"retry-after": "1"})


def _conversation(known: Conversation) -> dict[str, Any]:
    title = {"title": known.name} if known.name else {}
    return {"id": known.id, "updatedAt": known.updated_at, **title}


def _fact(fact: Fact) -> dict[str, Any]:
    confidence = {} if fact.confidence is None else {"confidence": fact.confidence}
    return {
        "id": fact.id,
        "text": fact.text,
        "kind": fact.kind,
        "source": fact.source,
        "createdAt": fact.created_at,
        **confidence,
    }


def _profile(known: Profile) -> dict[str, Any]:
    fields = {"name": known.name, "assistantName": known.assistant_name, "about": known.about}
    return {name: value for name, value in fields.items() if value is not None} | {"learning": known.learning}
