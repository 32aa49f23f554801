"""Converts OpenAI's messages and options to ours. The client stores the conversation, so each request has all of it."""

import json
from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Any, Literal

from pydantic_core import from_json

from converse_stream.dialects.openai.reasoning import blocks
from converse_stream.dialects.openai.request import (
    AssistantMessage,
    Call,
    CompletionRequest,
    Message,
    Part,
    SchemaFormat,
    SystemMessage,
    ToolChoice,
    ToolMessage,
    UserMessage,
)
from converse_stream.prompts.prompt import Content, Prompt, PromptMessage, ToolResult, ToolSpec, ToolUse
from converse_stream.prompts.reasoning import REASONING, without_earlier_reasoning
from converse_stream.prompts.templates import fenced
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.fields import is_document
from converse_stream.protocol.options import Options

MAX_ID = 64  # characters of the id of a tool call


def prompt(body: CompletionRequest) -> Prompt:
    """The prompt of the request. Raises BadRequest, with the field."""
    system = [_text(message.content) for message in body.messages if isinstance(message, SystemMessage)]
    tools, choice = _tools(body)
    turns = _turns(body.messages)
    prefill = "".join(turns.pop().texts) if turns[-1].role == "assistant" else ""
    *history, turn = turns
    system_text = "\n\n".join(filter(str.strip, system))
    built = Prompt(system_text, tuple(history), "", turn, tools, choice, prefill=prefill)
    return without_earlier_reasoning(built) if tools else _without_tools(built)


def options(body: CompletionRequest) -> Options:
    """The options of the request. Raises BadRequest."""
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise BadRequest("max_tokens cannot go with max_completion_tokens.", field="max_tokens")
    fields = {
        "max_tokens": body.max_completion_tokens or body.max_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "stop": body.stop,
        "reasoning": body.reasoning_effort,
        "service_tier": body.service_tier if body.service_tier in {"priority", "flex"} else None,
        "answer_schema": body.response_format.json_schema.json_schema
        if isinstance(body.response_format, SchemaFormat)
        else None,
    }
    return Options().model_copy(update=fields)


def _tools(body: CompletionRequest) -> tuple[tuple[ToolSpec, ...], str | None]:
    """The tools, empty if the model must not call any, and the `tool_choice` of a prompt."""
    functions = [tool.function for tool in body.tools or []]
    names = [function.name for function in functions]
    if len(set(names)) < len(names):
        raise BadRequest("tools has two of one name.", field="tools")
    choice = body.tool_choice or ToolChoice(type="auto")
    if choice.type == "none":
        return (), None
    if choice.type == "required" and not names:
        raise BadRequest("tool_choice asks for a call, and there are no tools.", field="tool_choice")
    if choice.type == "function" and (choice.function is None or choice.function.name not in names):
        raise BadRequest("tool_choice does not name one of tools.", field="tool_choice.function.name")
    tools = tuple(
        ToolSpec(each.name, each.description or "", _schema(each.parameters, number))
        for number, each in enumerate(functions)
    )
    return tools, choice.function.name if choice.function else "any" if choice.type == "required" else None


def _schema(parameters: dict[str, Any] | None, number: int) -> dict[str, Any]:
    """The schema of a tool's input. Raises BadRequest if it is not of type object, which Bedrock requires."""
    if parameters is None:
        return {"type": "object", "properties": {}}
    if parameters.get("type", "object") != "object":
        field = f"tools.{number}.function.parameters"
        raise BadRequest(f"{field} must be of type object.", field=field)
    return {"type": "object", **parameters}


def _turns(messages: Sequence[Message]) -> list[PromptMessage]:
    """Turns with alternating roles: adjacent messages of one role are joined. An answer may have begun in the last one.

    Each tool call has a result in the next turn. Bedrock requires that the id of a tool call is unique in a
    conversation, and other APIs do not. A repeated id gets a number; it is the same number each time that the
    conversation is sent.
    """
    turns: list[PromptMessage] = []
    used_ids: set[str] = set()  # of calls
    pending: dict[str, list[str]] = {}  # the unique ids of the calls without a result, by the request's id
    for number, message in enumerate(messages):
        field = f"messages.{number}"
        content: list[Content] = []
        if pending and not isinstance(message, (ToolMessage, SystemMessage)):
            raise BadRequest(f"{field}.role must be tool: there are calls without an answer.", field=f"{field}.role")
        match message:
            case SystemMessage():
                continue
            case UserMessage():
                text = _text(message.content)
                if not text.strip():
                    raise BadRequest(f"{field}.content is blank.", field=f"{field}.content")
                content = [text]
            case AssistantMessage():
                text = _text(message.content or [])
                content = [text] if text.strip() else []
                for index, call in enumerate(message.tool_calls or []):
                    call_id = _unique(call.id, used_ids)
                    used_ids.add(call_id)
                    pending.setdefault(call.id, []).append(call_id)
                    content.append(_tool_use(call, call_id, f"{field}.tool_calls.{index}"))
                content = [*blocks(message.reasoning_details), *content] if content else []
            case ToolMessage():
                if message.tool_call_id not in pending:
                    field = f"{field}.tool_call_id"
                    raise BadRequest(f"{field} names no call that waits for an answer.", field=field)
                call_id = pending[message.tool_call_id].pop(0)
                if not pending[message.tool_call_id]:
                    del pending[message.tool_call_id]
                content = [ToolResult(call_id, _text(message.content).strip() or "(nothing)")]
        role: Literal["user", "assistant"] = "assistant" if isinstance(message, AssistantMessage) else "user"
        if not turns and role == "assistant":
            raise BadRequest("The first message but for the system's must be the user's.", field=f"{field}.role")
        if turns and turns[-1].role == role:
            # Models accept reasoning only at the start of a message.
            added = (each for each in content if not isinstance(each, REASONING))
            turns[-1] = PromptMessage(role, (*turns[-1].content, *added))
        elif content:
            turns.append(PromptMessage(role, tuple(content)))
    if not turns or pending:
        last = f"messages.{len(messages) - 1}.role"
        raise BadRequest("The last message must not have calls without an answer.", field=last)
    return turns


def _unique(call_id: str, used_ids: Container[str]) -> str:
    """The id, with a number if it is already used. It is not longer than Bedrock allows."""
    numbered = (f"{call_id[: MAX_ID - len(suffix)]}{suffix}" for suffix in (f"-{number}" for number in count(2)))
    return next(each for each in chain([call_id], numbered) if each not in used_ids)


def _tool_use(call: Call, call_id: str, call_field: str) -> ToolUse:
    field = f"{call_field}.function.arguments"
    try:
        arguments = from_json(call.function.arguments or "{}", allow_inf_nan=False)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict) or not is_document(arguments):
        raise BadRequest(f"{field} is not a JSON object, nests too deep, or has a number out of range.", field=field)
    return ToolUse(call_id, call.function.name, arguments)


def _without_tools(built: Prompt) -> Prompt:
    """The prompt with tool calls and results as text: Bedrock accepts them only if the request declares the tools.

    Reasoning is left out, because its calls are not there any more.
    """

    def as_text(turn: PromptMessage) -> PromptMessage:
        texts = (_content_text(content) for content in turn.content if not isinstance(content, REASONING))
        return replace(turn, content=tuple(texts))

    return replace(built, history=tuple(map(as_text, built.history)), turn=as_text(built.turn))


def _content_text(content: str | ToolUse | ToolResult) -> str:
    match content:
        case ToolUse(_, name, arguments):
            return f"(Tool {name} called with {json.dumps(arguments, ensure_ascii=False)})"
        case ToolResult(_, output):
            return fenced("tool-output", [("-", output)])
        case text:
            return text


def _text(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts)
