"""OpenAI's messages and options as ours: the caller keeps the conversation, and the prompt is all there is of it."""

import json
from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Any, Literal

from pydantic_core import from_json

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
from converse_stream.prompts.prompt import (
    Content,
    Prompt,
    PromptMessage,
    ToolResult,
    ToolSpec,
    ToolUse,
)
from converse_stream.prompts.templates import fenced
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.fields import is_document
from converse_stream.protocol.options import Options

MAX_ID = 64  # characters of a call's


def prompt(body: CompletionRequest) -> Prompt:
    """What the model is to read. Raises BadRequest, which names the field."""
    system = [_text(message.content) for message in body.messages if isinstance(message, SystemMessage)]
    tools, choice = _tools(body)
    *history, turn = _turns(body.messages)
    built = Prompt("\n\n".join(filter(str.strip, system)), tuple(history), "", turn, tools, choice)
    return built if tools else _without_tools(built)


def options(body: CompletionRequest, built: Prompt) -> Options:
    """How the model should answer. Raises BadRequest."""
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise BadRequest("max_tokens cannot go with max_completion_tokens.", field="max_tokens")
    reasoning = None if body.reasoning_effort == "none" else body.reasoning_effort
    if reasoning and built.tool_choice:
        raise BadRequest(
            "reasoning_effort cannot go with a tool_choice that asks for a call.", field="reasoning_effort"
        )
    if any(isinstance(content, ToolResult) for content in built.turn.content):
        reasoning = None  # models want the thought behind their call again, signed: this protocol has no place for it
    wishes = {
        "max_tokens": body.max_completion_tokens or body.max_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "stop": body.stop,
        "reasoning": reasoning,
        "service_tier": body.service_tier if body.service_tier in {"priority", "flex"} else None,
        "answer_schema": body.response_format.json_schema.json_schema
        if isinstance(body.response_format, SchemaFormat)
        else None,
    }
    return Options().model_copy(update=wishes)


def _tools(body: CompletionRequest) -> tuple[tuple[ToolSpec, ...], str | None]:
    """The tools, none where none may be called, and the choice as a prompt has it."""
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
    """The schema of a tool's input, of type object as Bedrock wants it. Raises BadRequest for one of another type."""
    if parameters is None:
        return {"type": "object", "properties": {}}
    if parameters.get("type", "object") != "object":
        field = f"tools.{number}.function.parameters"
        raise BadRequest(f"{field} must be of type object.", field=field)
    return {"type": "object", **parameters}


def _turns(messages: Sequence[Message]) -> list[PromptMessage]:
    """Turns by alternating sides: neighbours of one side joined, each call answered in the turn behind it.

    Models want each call's id once in a conversation; callers' models are not all so strict. An id that came before is
    given a number, the same one each time that the conversation is sent.
    """
    turns: list[PromptMessage] = []
    taken: set[str] = set()  # ids of calls
    waiting: dict[str, list[str]] = {}  # our ids of the calls without an answer, by the caller's
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        content: list[Content] = []
        if waiting and not isinstance(message, (ToolMessage, SystemMessage)):
            raise BadRequest(f"{where}.role must be tool: there are calls without an answer.", field=f"{where}.role")
        match message:
            case SystemMessage():
                continue
            case UserMessage():
                said = _text(message.content)
                if not said.strip():
                    raise BadRequest(f"{where}.content is blank.", field=f"{where}.content")
                content = [said]
            case AssistantMessage():
                said = _text(message.content or [])
                content = [said] if said.strip() else []
                for at, call in enumerate(message.tool_calls or []):
                    identity = _unique(call.id, taken)
                    taken.add(identity)
                    waiting.setdefault(call.id, []).append(identity)
                    content.append(_use(call, identity, f"{where}.tool_calls.{at}"))
            case ToolMessage():
                if message.tool_call_id not in waiting:
                    field = f"{where}.tool_call_id"
                    raise BadRequest(f"{field} names no call that waits for an answer.", field=field)
                identity = waiting[message.tool_call_id].pop(0)
                if not waiting[message.tool_call_id]:
                    del waiting[message.tool_call_id]
                content = [ToolResult(identity, _text(message.content).strip() or "(nothing)")]
        role: Literal["user", "assistant"] = "assistant" if isinstance(message, AssistantMessage) else "user"
        if not turns and role == "assistant":
            raise BadRequest("The first message but for the system's must be the user's.", field=f"{where}.role")
        if turns and turns[-1].role == role:
            turns[-1] = PromptMessage(role, (*turns[-1].content, *content))
        elif content:
            turns.append(PromptMessage(role, tuple(content)))
    if not turns or turns[-1].role == "assistant":
        last = f"messages.{len(messages) - 1}.role"
        raise BadRequest("The last message must be the user's or a tool's.", field=last)
    return turns


def _unique(identity: str, taken: Container[str]) -> str:
    """The id, with a number if it is taken; still no longer than Bedrock lets it be."""
    numbered = (f"{identity[: MAX_ID - len(end)]}{end}" for end in (f"-{number}" for number in count(2)))
    return next(each for each in chain([identity], numbered) if each not in taken)


def _use(call: Call, identity: str, where: str) -> ToolUse:
    field = f"{where}.function.arguments"
    try:
        given = from_json(call.function.arguments or "{}", allow_inf_nan=False)
    except ValueError:
        given = None
    if not isinstance(given, dict) or not is_document(given):
        raise BadRequest(f"{field} is not a JSON object, nests too deep, or has a number out of range.", field=field)
    return ToolUse(identity, call.function.name, given)


def _without_tools(built: Prompt) -> Prompt:
    """Calls and answers in words: Bedrock takes them as such only where the tools are declared."""

    def told(turn: PromptMessage) -> PromptMessage:
        return replace(turn, content=tuple(map(_told, turn.content)))

    return replace(built, history=tuple(map(told, built.history)), turn=told(built.turn))


def _told(content: Content) -> str:
    match content:
        case ToolUse(_, name, given):
            return f"(Tool {name} called with {json.dumps(given, ensure_ascii=False)})"
        case ToolResult(_, output):
            return fenced("tool-output", [("-", output)])
        case text:
            return text


def _text(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts)
