"""Generates docs/reference/errors.md: all error codes with status, message, and what to do."""

from collections.abc import Mapping, Sequence
from inspect import getdoc

from tools.reference import product
from tools.reference.markdown import block, code, codes, page, paired, sentence, table

INTRODUCTION = """\
An error before the first byte of an answer has the status of its code and this JSON body. An error after that is the
[`error` event](events.md#error) of the stream, and the status stays 200. `code` identifies the error and does not
change. `message` is for people and may change. `retryable` says whether the same request may succeed later."""

EXAMPLE = """\
{
  "error": {
    "code": "bad_request",
    "message": "message is required.",
    "requestId": "8f2b…",
    "retryable": false,
    "field": "message"
  }
}"""

MODELS = """\
These come as the response of an answer in one piece and of `/v1`, and otherwise in the `error` event. What the model
had said before the error is stored."""

RETRIES = """\
Wait for `Retry-After` (seconds) if the response has it, otherwise for a second, and double the pause with each
attempt. Send the same `Idempotency-Key` again: then a message that did arrive is not answered twice. Where the tables
say "varies", the time depends on the case."""

FIELDS = """\
`requestId` is also the response header `x-request-id` and is in the log of the function. Optional fields of `error`:
`field` names the field or header of the request that is wrong, `generationId` (of `conversation_busy`) the generation
that is running, `messageId` the message that holds what the model had said. Beside `error`, `conversationId` is there
if a generation had started. [`ErrorBody`](http.md#errorbody) has the exact types."""

OPENAI = """\
`/v1` answers in OpenAI's shape. `error.code` is the code of the table and `error.param` the field that is wrong.
`error.type` depends on the status. From 500 on the header `x-should-retry: false` tells OpenAI's SDKs not to repeat
the request, because the functions have already repeated it."""

OTHERS = """\
The services in front of the functions refuse some requests themselves: requests without a valid signature (with
`AuthMode=iam`), throttled requests, paths that API Gateway does not know, bodies larger than Lambda takes. Such a
response has no `error` object, so read the status only."""

ACTIONS = {
    "500 internal": "Try again. If it stays, search the log for the request id.",
    "400 bad_request": "Correct the field that `field` names.",
    "401 unauthenticated": "Send a valid token, or sign in again.",
    "403 forbidden": "Call the address of the web host, not the function's or the API's own.",
    "404 not_found": "Check the id. Do not retry.",
    "404 model_not_found": "`/v1` only: name a model that `GET /v1/models` lists.",
    "405 method_not_allowed": "Use a method that [the routes](http.md#routes) list for this path.",
    "409 conversation_busy": "Follow the running generation, cancel it, or wait for its end.",
    "409 not_active": "Nothing to do: that generation has ended, or another one runs.",
    "409 exists": "Choose another id, or use what exists. [Deleted ids](limits.md#lifetimes) stay in use for a while.",
    "409 being_erased": "Wait until `DELETE /me` has answered 204, then try again.",
    "422 idempotency_key_reused": "Use a new key for a new message.",
    "429 too_many_followers": "Close other streams of this generation. With `X-Client-Id` a tab replaces its own.",
    "429 too_many_requests": "Wait for `Retry-After`.",
    "429 too_many_generations": "Wait until one of the user's answers has ended, or cancel one.",
    "429 budget_exhausted": "Wait for the next day (UTC), or raise the budget.",
    "503 paused": "Wait. The operator has to switch new answers on again.",
    "413 too_large": "Send less. [Limits](limits.md) has the sizes.",
    "415 unsupported_media_type": "Send `Content-Type: application/json`, in UTF-8.",
    "503 storage": "Try again with the same `Idempotency-Key`.",
    "503 hand_over": "Only of background tasks, which Lambda repeats.",
    "503 flags": "Only of background tasks, which Lambda repeats.",
    "502 model_failed": "Try again, or choose another model.",
    "503 model_throttled": "Try again later, or ask AWS for a higher quota.",
    "503 model_unavailable": "Try again later.",
    "503 model_not_ready": "Try again after a few seconds.",
    "404 model_not_allowed": "Name a model that the message or `GET /models` lists.",
    "403 model_unpriced": "Operator: set the model's price in `ModelOverrides`, or the budgets in dollars to 0.",
    "502 model_access_denied": "Operator: check `ModelArns`, and the model's page in Bedrock's model catalog.",
    "502 model_end_of_life": "Operator: replace the model. See [Models](../models.md).",
    "502 model_legacy": "Operator: replace the model. See [Models](../models.md).",
    "403 key_refused": "Check the key in `X-Bedrock-Api-Key` and what it may use.",
    "502 model_not_found": "Operator: check the region, `InferenceProfile` and the id of the model.",
    "502 inference_profile_needed": "Operator: set `InferenceProfile`, or name the id of the profile as the model.",
    "502 model_invalid_request": "Change the options or the model.",
    "400 context_length_exceeded": "Shorten the message, or choose a model with a larger context window.",
    "504 model_timeout": "Try again. The parameter `ModelIdleSeconds` is the longest silence.",
    "502 model_truncated": "Try again, or `continue` the answer.",
    "502 model_connection_lost": "Try again, or `continue` the answer.",
    "502 model_corrupt": "Try again, or `continue` the answer.",
    "502 model_internal": "Try again.",
    "502 model_malformed": "Try again.",
}


def text() -> str:
    """Return the text of the page."""
    kinds = sorted(product.error_kinds(), key=lambda kind: kind.status)
    actions = paired(ACTIONS, map(_key, kinds), "errors_page.ACTIONS")
    before = [kind for kind in kinds if not issubclass(kind, product.ModelError)]
    of_models = [kind for kind in kinds if issubclass(kind, product.ModelError)]
    return page(
        "Errors",
        INTRODUCTION,
        block(EXAMPLE, "json"),
        FIELDS,
        RETRIES,
        "## Codes of requests",
        _table(before, actions),
        "## Codes of models",
        MODELS,
        _table(of_models, actions),
        "## Errors on `/v1`",
        OPENAI,
        _types(kinds),
        "## Errors of other services",
        OTHERS,
    )


def _key(kind: type[product.ChatError]) -> str:
    return f"{kind.status} {kind.code}"


def _table(kinds: Sequence[type[product.ChatError]], actions: Mapping[str, str]) -> str:
    rows = [
        (
            str(kind.status),
            code(kind.code),
            "yes" if kind.retryable else "no",
            product.retry_after(kind),
            product.example(kind).message,
            sentence(getdoc(kind) or ""),
            actions[_key(kind)],
        )
        for kind in kinds
    ]
    head = ("status", "code", "retryable", "`Retry-After`", "default message", "meaning", "what to do")
    return table(head, rows)


def _types(kinds: Sequence[type[product.ChatError]]) -> str:
    """Return a table of OpenAI's error types with their statuses."""
    types: dict[str, set[int]] = {}
    for kind in kinds:
        types.setdefault(product.openai_type(product.example(kind)), set()).add(kind.status)
    return table(("`type`", "statuses"), [(code(name), codes(sorted(found))) for name, found in types.items()])
