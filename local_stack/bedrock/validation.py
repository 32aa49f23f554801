"""Validates requests like Bedrock, for the mistakes that our code could make.

Types, limits and names are checked with botocore's model of the service. The rules between fields are written here,
with Bedrock's messages.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

from local_stack.bedrock import directives
from local_stack.bedrock.conversation import directive_text, text_of
from local_stack.bedrock.errors import invalid, model_error, service
from local_stack.bedrock.events import Json
from local_stack.bedrock.model_rules import check_available, check_request
from local_stack.bedrock.model_table import MODELS
from local_stack.bedrock.models import ListedModel, find, is_claude
from local_stack.bedrock.signatures import check_signatures
from local_stack.bedrock.thinking_rules import check_thinking
from local_stack.bedrock.usage import input_tokens

MAX_CACHE_POINTS = 4
_UNSUPPORTED = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems"}
    | {"uniqueItems", "minProperties", "maxProperties", "patternProperties", "propertyNames", "contains", "not", "if"}
)
_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_MODEL_ID = re.compile(r"((us|us-gov|eu|apac|jp|au|ca|global)\.)?[a-z0-9-]+\.[a-z0-9][a-z0-9.:-]*")
# ARNs whose last part is not the name of a model: profiles of an application, and models of an account.
_OWN_MODEL = re.compile(
    r"arn:aws(-[a-z-]+)?:bedrock:[a-z0-9-]+:\d{12}:"
    r"(application-inference-profile|provisioned-model|imported-model|custom-model|custom-model-deployment)/[\w.:/-]+"
)
_START = "A conversation must start with a user message. Try again with a conversation that starts with a user message."
_ALTERNATE = (
    "A conversation must alternate between user and assistant roles. "
    "Make sure the conversation alternates between user and assistant roles and try again."
)


def check_model(model_id: str) -> None:
    """Raises BedrockError if the text is not a model id, the id of an inference profile, or an ARN."""
    if not _MODEL_ID.fullmatch(model_id.rpartition("/")[2]) and not _OWN_MODEL.fullmatch(model_id):
        raise invalid("The provided model identifier is invalid.")


def check_converse(
    operation: str,
    model_id: str,
    body: Any,
    region: str | None = None,
    models: Mapping[str, ListedModel] = MODELS,
) -> None:
    """Raises BedrockError for a request of Converse or ConverseStream that Bedrock would refuse in `region`.

    None is a region in which the model id is valid. `models` are the listed models.
    """
    check_model(model_id)
    if "embed" in model_id:
        raise invalid("This action doesn't support the model that you provided. Try again with a supported model.")
    check_available(model_id, region, models)
    _check_shape("bedrock-runtime", operation, {"modelId": model_id}, body)
    _check_messages(body.get("messages", []))
    _check_cache_points(body)
    _check_schemas(body)
    _check_tools(body)
    model = find(model_id, models)
    _check_schema(body, supported=model.schema)
    _check_guardrail(body)
    if is_claude(model_id):
        _check_claude_tools(body)
        if any(not stop.strip() for stop in body.get("inferenceConfig", {}).get("stopSequences", [])):
            raise invalid("stop_sequences: each stop sequence must contain non-whitespace")
    check_request(operation, model_id, body, _input_tokens(body), models)
    check_thinking(model_id, model, body)
    check_signatures(model_id, model, body)


def check_retrieve(knowledge_base: str, body: Any) -> None:
    """Raises BedrockError for a request of Retrieve that Bedrock would refuse."""
    _check_shape("bedrock-agent-runtime", "Retrieve", {"knowledgeBaseId": knowledge_base}, body)


def _check_shape(name: str, operation: str, path: Json, body: Any) -> None:
    shape = service(name).operation_model(operation).input_shape
    if not isinstance(body, dict) or shape is None:
        raise invalid("The request body is not a JSON object.")
    report = ParamValidator().validate({**path, **body}, shape)
    if report.has_errors():
        raise invalid(report.generate_report())
    for violation in _constraints(body, shape, ""):
        raise invalid(f"1 validation error detected: {violation}")


def _check_messages(messages: list[Json]) -> None:
    if not messages or messages[0]["role"] != "user":
        raise invalid(_START)
    for position, message in enumerate(messages):
        if message["role"] != ("user", "assistant")[position % 2]:
            raise invalid(_ALTERNATE)
        where = f"messages.{position}"
        if not message["content"]:
            raise invalid(f"The content field in the Message object at {where} is empty. Add a ContentBlock object.")
        for index, block in enumerate(message["content"]):
            text = text_of(block)
            if text is not None and not text.strip():
                raise invalid(
                    f"The text field in the ContentBlock object at {where}.content.{index} is blank. "
                    "Add text to the text field, and try again."
                )


def _check_cache_points(body: Json) -> None:
    lists = [body.get("system", []), body.get("toolConfig", {}).get("tools", [])]
    lists += [message["content"] for message in body["messages"]]
    points = sum("cachePoint" in block for blocks in lists for block in blocks)
    if points > MAX_CACHE_POINTS:
        raise invalid(f"A maximum of {MAX_CACHE_POINTS} cache points can be provided. Found {points}.")
    if any(blocks and "cachePoint" in blocks[0] for blocks in lists):
        raise invalid("A cache point must follow the content that is to be cached.")


def _input_tokens(body: Json) -> int:
    """Return the length of the input: that of the directive, or the number of words."""
    requested = directives.parse(directive_text(body)).input
    return input_tokens(body) if requested is None else requested


def _check_schemas(body: Json) -> None:
    """Check Bedrock's rule for all models. The message is from code-yeongyu/senpi issue 1947."""
    for number, schema in _schemas(body):
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise invalid(
                f"The value at toolConfig.tools.{number}.toolSpec.inputSchema.json.type must be one of the following: "
                "object."
            )


def _check_claude_tools(body: Json) -> None:
    """Check Claude's rules for tools, with its messages.

    Schemas: senpi issue 1947 and aws-solutions-library-samples/accelerated-intelligent-document-processing-on-aws issue
    709; only the properties at the root are checked. Ids: anthropics/claude-code issue 28515.
    """
    for number, schema in _schemas(body):
        if schema.keys() & {"oneOf", "allOf", "anyOf"}:
            raise model_error(
                f"tools.{number}.custom.input_schema: "
                "input_schema does not support oneOf, allOf, or anyOf at the top level"
            )
        properties = schema.get("properties", {})
        if not isinstance(properties, dict):
            raise model_error(f"tools.{number}.custom.input_schema: JSON schema is invalid.")
        if not all(map(_PROPERTY.fullmatch, properties)):
            raise model_error(
                f"tools.{number}.custom.input_schema.properties: Property keys should match pattern "
                "'^[a-zA-Z0-9_.-]{1,64}$'"
            )
    seen: set[str] = set()
    for position, message in enumerate(body["messages"]):
        for index, block in enumerate(message["content"]):
            identity = block.get("toolUse", {}).get("toolUseId")
            if identity in seen:
                raise model_error(f"messages.{position}.content.{index}: `tool_use` ids must be unique")
            seen |= {identity} - {None}


def _schemas(body: Json) -> Iterator[tuple[int, Any]]:
    """Yield the number and the input schema of each tool."""
    for number, tool in enumerate(body.get("toolConfig", {}).get("tools", [])):
        if "toolSpec" in tool:
            yield number, tool["toolSpec"]["inputSchema"].get("json")


def _check_tools(body: Json) -> None:
    """Check tool calls and results. The message after a call has its result, and no others. Inputs are objects."""
    config = body.get("toolConfig", {})
    names = {tool["toolSpec"]["name"] for tool in config.get("tools", []) if "toolSpec" in tool}
    chosen = config.get("toolChoice", {}).get("tool", {}).get("name")
    if chosen is not None and chosen not in names:
        raise invalid(f"The tool {chosen} in toolConfig.toolChoice is not one of toolConfig.tools.")
    called: list[str] = []
    for position, message in enumerate(body["messages"]):
        where = f"messages.{position}.content"
        results = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        if missing := [call_id for call_id in called if call_id not in results]:
            raise invalid(f"Expected toolResult blocks at {where} for the following Ids: {', '.join(missing)}")
        if len(results) > len(called):
            raise invalid(
                f"The number of toolResult blocks at {where} exceeds the number of toolUse blocks of previous turn."
            )
        uses = [block["toolUse"] for block in message["content"] if "toolUse" in block]
        # The message: double16/Cyber-AutoAgent-ng issue 27, BerriAI/litellm issue 20048.
        for kind, ids in (("toolUse", [use["toolUseId"] for use in uses]), ("toolResult", results)):
            if duplicates := [call_id for call_id, times in Counter(ids).items() if times > 1]:
                raise invalid(f"The {kind} blocks at {where} contain duplicate Ids: {', '.join(duplicates)}")
        if any(not isinstance(use["input"], dict) for use in uses):
            raise invalid(f"The format of the value at {where}.toolUse.input is invalid. Provide a json object.")
        if (uses or results) and not config:
            raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        called = [use["toolUseId"] for use in uses]


def _check_schema(body: Json, *, supported: bool) -> None:
    """Check the schema of structured output."""
    schema = body.get("outputConfig", {}).get("textFormat", {}).get("structure", {}).get("jsonSchema", {}).get("schema")
    if schema is None:
        return
    if not supported:
        raise invalid("This model doesn't support the outputConfig.textFormat field. Remove it and try again.")
    try:
        parsed = json.loads(schema)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise invalid("The schema in outputConfig.textFormat is not a valid JSON schema.")
    for violation in _unsupported(parsed):
        raise invalid(f"output_config.format.schema: {violation}")


def _check_guardrail(body: Json) -> None:
    guardrail = body.get("guardrailConfig")
    if guardrail is not None and not (guardrail.get("guardrailIdentifier") and guardrail.get("guardrailVersion")):
        raise invalid("The guardrail identifier and version must both be given.")


def _unsupported(schema: Json) -> Iterator[str]:
    """Yield a message for each feature of a schema that Claude's structured output does not support, as reported."""
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        yield "For 'object' type, 'additionalProperties' must be explicitly set to false"
    if "oneOf" in schema:
        yield "Schema type 'oneOf' is not supported"
    if schema.get("minItems", 0) not in (0, 1):
        yield "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    if keywords := sorted(schema.keys() & _UNSUPPORTED):
        yield f"For '{kind}' type, properties {', '.join(keywords)} are not supported"
    children = [*schema.get("anyOf", []), *schema.get("allOf", []), *([schema["items"]] if "items" in schema else [])]
    for name in ("properties", "$defs", "definitions"):
        children += schema.get(name, {}).values()
    for child in children:
        yield from _unsupported(child)


def _constraints(value: Any, shape: Shape, where: str) -> Iterator[str]:
    """Yield a message for each value that violates a maximum, a pattern or an enum. botocore does not check these."""
    if isinstance(shape, StructureShape):
        if not shape.is_document_type:
            for name, member in value.items():
                yield from _constraints(member, shape.members[name], f"{where}.{name}")
    elif isinstance(shape, ListShape):
        for index, member in enumerate(value):
            yield from _constraints(member, shape.member, f"{where}.{index}")
    elif isinstance(shape, MapShape):
        for name, member in value.items():
            yield from _constraints(member, shape.value, f"{where}.{name}")
    else:
        violation = f"Value '{value}' at '{where[1:]}' failed to satisfy constraint: Member must"
        if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
            yield f"{violation} satisfy enum value set: [{', '.join(shape.enum)}]"
        pattern = shape.metadata.get("pattern")
        if pattern is not None and not re.fullmatch(pattern, value):
            yield f"{violation} satisfy regular expression pattern: {pattern}"
        limit = shape.metadata.get("max")
        if limit is not None and (len(value) if isinstance(value, str | bytes) else value) > limit:
            yield f"{violation} be at most {limit}{' characters long' if isinstance(value, str) else ''}"
