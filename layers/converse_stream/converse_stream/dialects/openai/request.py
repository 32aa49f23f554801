"""The body of OpenAI's `POST /v1/chat/completions`.

https://platform.openai.com/docs/api-reference/chat/create. We accept the fields that have a meaning here, and other
fields with a value that has no effect. All other fields are refused, with their name.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from converse_stream.http.request import HttpRequest
from converse_stream.http.validation import check_json, refusal
from converse_stream.protocol.fields import MAX_LENGTH, Body, Document, ReadableText, Schema
from converse_stream.protocol.options import Effort
from converse_stream.settings import Settings


class _Body(Body):
    """Field names in snake_case, as in this protocol."""

    model_config = ConfigDict(alias_generator=None)


class Part(_Body):
    """Text; images, audio and files are refused by their type."""

    type: Literal["text"]
    text: ReadableText


def _parts(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _choice(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


Parts = Annotated[list[Part], Field(max_length=1_000), BeforeValidator(_parts, json_schema_input_type=str | list[Part])]
Label = Annotated[str, StringConstraints(max_length=512)]
ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
CallId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Stops = Annotated[list[Stop], Field(max_length=4)]
Zero = Annotated[float, Field(ge=0, le=0)]


class SystemMessage(_Body):
    """Instructions. They are moved to the start of the prompt."""

    role: Literal["system", "developer"]
    content: Parts
    name: Label | None = None


class UserMessage(_Body):
    """A message of the user. `name` is ignored: Bedrock has no names of participants."""

    role: Literal["user"]
    content: Parts
    name: Label | None = None


class CalledFunction(_Body):
    """A function with its arguments: a JSON object as text."""

    name: ToolName
    arguments: Annotated[str, StringConstraints(max_length=MAX_LENGTH)]


class Call(_Body):
    """A tool call of the model."""

    id: CallId
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(_Body):
    """An earlier answer, as we sent it, or as an SDK repeats it with all of its fields.

    The fields of reasoning may have any value: other services send them in other forms. Of `reasoning_details`, what
    this service sent is used, and the rest is ignored.
    """

    role: Literal["assistant"]
    content: Parts | None = None
    tool_calls: Annotated[list[Call], Field(max_length=128)] | None = None
    reasoning_details: Any = None
    reasoning_content: Any = None  # not sent to the model: models require reasoning with a signature
    reasoning: Any = None
    name: Label | None = None
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None


class ToolMessage(_Body):
    """The result of a tool."""

    role: Literal["tool"]
    content: Parts
    tool_call_id: CallId
    name: Label | None = None


Message: TypeAlias = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class Function(_Body):
    """A tool of the client. `strict` is not enforced."""

    name: ToolName
    description: ReadableText | None = None
    parameters: Document | None = None
    strict: bool | None = None


class FunctionTool(_Body):
    """A tool of the only supported type."""

    type: Literal["function"]
    function: Function


class ChosenFunction(_Body):
    """A tool by its name."""

    name: ToolName


class ToolChoice(_Body):
    """auto, none, required, or one function."""

    type: Literal["auto", "none", "required", "function"]
    function: ChosenFunction | None = None


Choice: TypeAlias = Literal["auto", "none", "required"] | ToolChoice  # the forms in a request


class StreamOptions(_Body):
    """`include_obfuscation` is accepted and ignored: there is no padding."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class TextFormat(_Body):
    """Text without a schema."""

    type: Literal["text"]


class AnswerSchema(_Body):
    """A schema of the answer. `strict` is ignored: it is always taken as true."""

    name: ToolName
    description: ReadableText | None = None
    json_schema: Schema = Field(alias="schema")
    strict: bool | None = None


class SchemaFormat(_Body):
    """JSON of a schema. JSON without a schema is refused: no model supports it."""

    type: Literal["json_schema"]
    json_schema: AnswerSchema


class CompletionRequest(_Body):
    """`POST /v1/chat/completions`."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1, le=200_000)
    max_tokens: int | None = Field(default=None, ge=1, le=200_000)
    temperature: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    stop: Annotated[Stops | None, BeforeValidator(_list, json_schema_input_type=Stop | Stops | None)] = None
    reasoning_effort: Effort | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128)] | None = None
    tool_choice: Annotated[ToolChoice | None, BeforeValidator(_choice, json_schema_input_type=Choice | None)] = None
    parallel_tool_calls: bool | None = None
    response_format: Annotated[TextFormat | SchemaFormat, Field(discriminator="type")] | None = None
    service_tier: Literal["auto", "default", "priority", "flex"] | None = None

    # Accepted and not used.
    user: Label | None = None
    safety_identifier: Label | None = None
    metadata: Annotated[dict[Label, Label], Field(max_length=16)] | None = None
    prompt_cache_key: Label | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)

    # Accepted with the value that has no effect.
    n: Literal[1] | None = None
    store: Literal[False] | None = None
    logprobs: Literal[False] | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None


def parse(request: HttpRequest, settings: Settings) -> CompletionRequest:
    """The parsed body. Raises UnsupportedMediaType, TooLarge, and BadRequest with the first wrong field."""
    body = request.json_body(settings.max_completion_bytes)
    check_json(body)
    try:
        return CompletionRequest.model_validate_json(body)
    except ValidationError as error:
        raise refusal([_named(each) for each in error.errors(include_url=False, include_input=False)]) from None


def _named(error: Any) -> dict[str, Any]:
    """The error with the path of the request's field: pydantic adds the tag of a union to it, and omits a wrong tag."""
    match error["loc"]:
        case ("response_format",):
            return {**error, "loc": ("response_format", "type")}
        case ("response_format", _, *field):
            return {**error, "loc": ("response_format", *field)}
        case ("messages", number):
            return {**error, "loc": ("messages", number, "role")}
        case ("messages", number, _, *field):
            return {**error, "loc": ("messages", number, *field)}
    return dict(error)
