"""Generates docs/reference/limits.md: rates, budgets, sizes, times and lifetimes with their defaults."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tools.reference import api, product, template
from tools.reference.markdown import code, page, table

INTRODUCTION = """\
Defaults of a new deployment; the local stack has the same. "Set by" names the [parameter](parameters.md) or, in
capitals, the [variable](parameters.md#variables-without-a-parameter) that changes a limit. Without either it is fixed
in the code."""

RATES = """\
These limits are for requests that start an answer, and for `POST /prompt/preview`. Reading, resuming and cancelling
are not limited by the functions. The functions answer `429` with the code and `Retry-After`. API Gateway answers
`429` itself, without a code."""

BUDGETS = """\
A day begins at 00:00 UTC. 0 means no limit. A new answer is refused with `budget_exhausted` when a budget is used up.
An answer that reaches a budget ends with `finishReason: budget`. Answers that run at the same time do not see each
other's use, so a day can exceed its budget by up to one remaining budget for each answer that ran in parallel.
Requests with their own Bedrock key do not count for the budgets in US dollars."""

SIZES = """\
Larger requests are refused with `too_large` or `bad_request`. [The types of all fields](http.md#bodies) have further
limits. Characters are Unicode code points."""

PROMPT = """\
What does not fit is left out, the oldest messages first. [`POST /prompt/preview`](http.md#post-promptpreview) shows
the result."""


@dataclass(frozen=True)
class Limit:
    """A row. `set_by` is a parameter or a variable. `code` is the error code if the limit is exceeded."""

    text: str
    value: str
    set_by: str = ""
    code: str = ""


def text() -> str:
    """Return the text of the page."""
    return page(
        "Limits",
        INTRODUCTION,
        "## Rates",
        RATES,
        _table(_rates()),
        "## Budgets",
        BUDGETS,
        _table(_budgets()),
        "## Sizes of requests",
        SIZES,
        _table(_sizes()),
        "## Sizes of answers",
        _table(_answers()),
        "## Prompt",
        PROMPT,
        _table(_prompt()),
        "## Time",
        _table(_times()),
        "## Lifetimes",
        _table(_lifetimes()),
    )


def _table(limits: Iterable[Limit]) -> str:
    rows = [
        (each.text, each.value, code(each.set_by) if each.set_by else "", each.code and code(each.code))
        for each in limits
    ]
    return table(("limit", "default", "set by", "code"), rows)


def _parameter(text: str, name: str, unit: str = "", code: str = "") -> Limit:
    """Return the row of a limit that is a parameter of the template."""
    return Limit(text, _value(template.default(name), unit), name, code)


def _setting(text: str, name: str, unit: str = "", code: str = "") -> Limit:
    """Return the row of a limit that is a setting without a parameter."""
    return Limit(text, _value(product.Settings.model_fields[name.lower()].default, unit), name, code)


def _value(value: Any, unit: str = "") -> str:
    if unit == "bytes":
        return _bytes(value)
    number = "none" if value == "" else f"{value:,}".removesuffix(".0")
    return f"{number} {unit}".strip()


def _bytes(number: int) -> str:
    for size, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if number % size == 0:
            return f"{number // size:,} {name}"
    return f"{number:,} bytes"


def _seconds(number: float) -> str:
    """Return a time as text with a suitable unit."""
    for size, name in ((24 * 3600, "days"), (3600, "hours"), (60, "minutes")):
        if number >= 2 * size and number % size == 0:
            return f"{number // size:,.0f} {name}"
    return f"{number:,g} s"


def _field(schema: str, *path: str) -> Any:
    """Return the schema of a request's property without `null`."""
    schema_part: Any = api.document()["components"]["schemas"][schema]["properties"][path[0]]
    schema_part = next((each for each in schema_part.get("anyOf", ()) if each != {"type": "null"}), schema_part)
    for key in path[1:]:
        schema_part = schema_part[key]
    return schema_part


def _rates() -> Iterable[Limit]:
    requests, generations = "too_many_requests", "too_many_generations"
    yield _parameter("new answers of a user, per minute on average", "UserRequestsPerMinute", code=requests)
    yield _parameter("new answers of a user, at once", "UserBurst", code=requests)
    yield _parameter("new answers of an IP address, per minute on average", "AddressRequestsPerMinute", code=requests)
    yield _parameter("new answers of an IP address, at once", "AddressBurst", code=requests)
    yield _parameter("running answers of a user", "UserGenerations", code=generations)
    yield Limit("streams that follow one generation", str(product.FOLLOWERS), code="too_many_followers")
    yield _parameter("requests through API Gateway, per second on average", "GatewayRequestsPerSecond")
    yield _parameter("requests through API Gateway, at once", "GatewayBurst")
    gateway = template.resolved().http_api
    for route in ("GET /health", "GET /openapi.json"):
        if gateway and (throttle := gateway.route_throttles.get(route)):
            yield Limit(f"{code(route)} through API Gateway", f"{throttle.rate:g} per second, {throttle.burst} at once")
    yield _parameter("reserved concurrency of the stream function", "StreamConcurrency")
    yield _parameter("reserved concurrency of the converse function", "ConverseConcurrency")


def _budgets() -> Iterable[Limit]:
    exhausted = "budget_exhausted"
    yield _parameter("tokens of a user in a day, input and output", "UserDayTokens", code=exhausted)
    yield _parameter("US dollars of a user in a day, by the catalog's prices", "UserDayUsd", code=exhausted)
    yield _parameter("tokens of the deployment in a day", "DayTokens", code=exhausted)
    yield _parameter("US dollars of the deployment in a day", "DayUsd", code=exhausted)


def _sizes() -> Iterable[Limit]:
    large, bad = "too_large", "bad_request"
    yield _setting("body of a request", "MAX_BODY_BYTES", "bytes", large)
    yield _setting("body on `/v1`", "MAX_COMPLETION_BYTES", "bytes", large)
    yield Limit("body on `/ai`", _bytes(product.AI_SDK_BODY_BYTES), code=large)
    yield _setting("message", "MAX_MESSAGE_CHARS", "characters", large)
    yield Limit("messages in a request of `/v1`", _value(_field("CompletionRequest", "messages", "maxItems")), code=bad)
    yield Limit("tools in a request of `/v1`", _value(_field("CompletionRequest", "tools", "maxItems")), code=bad)
    yield Limit("stop sequences", _value(_field("Options", "stop", "maxItems")), code=bad)
    yield Limit("stop sequence", f"{_field('Options', 'stop', 'items', 'maxLength')} characters", code=bad)
    yield Limit("title of a conversation", f"{_field('NewConversation', 'title', 'maxLength')} characters", code=bad)
    yield Limit("`name` of the profile", f"{_field('NewProfile', 'name', 'maxLength')} characters", code=bad)
    yield Limit("`about` of the profile", _value(_field("NewProfile", "about", "maxLength"), "characters"), code=bad)
    yield _setting("fact", "MAX_FACT_CHARS", "characters", large)
    yield _setting("facts of a user", "MAX_FACTS", code=bad)
    yield Limit("token and Bedrock key together", _bytes(product.CREDENTIALS_LIMIT), code=bad)
    yield Limit("body that Lambda takes and returns in one piece", "6 MB")


def _answers() -> Iterable[Limit]:
    most = _field("Options", "maxTokens", "maximum")
    yield Limit("`maxTokens`", f"{most:,}, and the model's own limit", code="bad_request")
    yield Limit("output tokens without `maxTokens`", _value(product.DEFAULT_OUTPUT_TOKENS))
    efforts = ", ".join(f"{code(effort)} {tokens:,}" for effort, tokens in product.REASONING_TOKENS.items())
    yield Limit("additional tokens for `reasoning`", efforts)
    yield _setting("stored answer; a longer one ends with `length`", "MAX_ANSWER_BYTES", "bytes")
    yield _setting("stored answer that `continue` accepts", "MAX_CONTINUED_BYTES", "bytes", "bad_request")
    yield Limit("attempts at each model before the next fallback is asked", str(product.MODEL_ATTEMPTS))


def _prompt() -> Iterable[Limit]:
    yield _setting("messages of the conversation", "HISTORY_MESSAGES")
    yield _parameter("tokens for messages of the conversation", "HistoryTokens")
    yield _parameter("tokens for facts", "FactsTokens")
    yield _parameter("tokens for passages of documents", "DocumentsTokens")


def _times() -> Iterable[Limit]:
    margin = product.Settings.model_fields["deadline_margin_seconds"].default
    stream = template.default("StreamTimeout")
    cold = "history and facts, if connections may have to be opened"
    yield Limit(
        f"streamed answer: `StreamTimeout` less {margin:g} s for storing it", f"{stream - margin:g} s", "StreamTimeout"
    )
    yield Limit("answer in one piece through API Gateway", *_buffered())
    yield _parameter("timeout of the converse function", "ConverseTimeout", "s")
    yield Limit("API Gateway waits for the function", "30 s")
    yield _parameter("silence of the model", "ModelIdleSeconds", "s", "model_timeout")
    yield Limit("`/v1` waits for the model before the stream begins, at most", _seconds(product.OPENAI_OPENING_SECONDS))
    yield _parameter("looking up history and facts", "MemoryMilliseconds", "ms")
    yield _setting(f"looking up {cold}", "COLD_MEMORY_MILLISECONDS", "ms")
    yield _parameter("searching documents", "DocumentsMilliseconds", "ms")
    yield Limit("silence of a stream before a comment is sent", _seconds(product.HEARTBEAT_SECONDS))
    yield Limit("stream with a cursor, at most", _seconds(product.ATTACH_SECONDS))
    yield Limit("from a cancellation to the end of the answer, at most", _seconds(product.CANCEL_SECONDS))
    yield Limit(
        "`POST /ai/chat` waits for the end of the previous answer, at most",
        _seconds(product.AI_SDK_STOP_SECONDS),
        "",
        "conversation_busy",
    )
    yield Limit("`DELETE /me`, at least", _seconds(product.ERASE_SECONDS))


def _buffered() -> tuple[str, str]:
    name = "BUFFERED_TURN_SECONDS"
    return f"{template.variables()[name][1]} s", name


def _lifetimes() -> Iterable[Limit]:
    yield Limit("log of a generation, for resuming and for its `Idempotency-Key`", _seconds(product.LOG_SECONDS))
    yield Limit(
        "`GET /ai/chat/{conversation}/stream` after the end of an answer", _seconds(product.AI_SDK_REPLAY_SECONDS)
    )
    yield Limit("conversation that stays busy after its environment ended, at most", _seconds(product.LEASE_SECONDS))
    yield Limit("id of a deleted conversation that cannot be used again", _seconds(product.DELETED_ID_SECONDS))
    yield _parameter("conversations after their last change; 0 keeps them", "RetentionDays", "days")
    yield _parameter("logs in CloudWatch", "LogRetentionDays", "days")
