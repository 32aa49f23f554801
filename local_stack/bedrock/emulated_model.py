"""The emulated model: composes an answer, then sends it at the speed of a model."""

import asyncio
import hashlib
import itertools
import json
import random
import re
from collections.abc import AsyncGenerator, Iterator, Mapping

from local_stack.bedrock import answer_text, directives, events, guardrail, signatures, tasks
from local_stack.bedrock.conversation import Conversation, directive_text, parse_conversation
from local_stack.bedrock.directives import Directives, ToolCall
from local_stack.bedrock.events import Event, Json
from local_stack.bedrock.model_table import MODELS
from local_stack.bedrock.models import ListedModel, find
from local_stack.bedrock.reply import MARKER, Block, Reply, cost, limited
from local_stack.bedrock.thinking import Form, reasoning_of
from local_stack.bedrock.usage import Meter, count

_FIRST_MS = 200
_PACE_MS = (20, 40)
# How the system prompt of a task begins. The prompt of a chat describes the assistant and does not begin like this.
_TASKS = {
    re.compile(r"write a (short )?title\b", re.IGNORECASE): tasks.title,
    re.compile(r"(you )?classify\b", re.IGNORECASE): tasks.classify,
    re.compile(r"extract\b", re.IGNORECASE): tasks.extract,
    re.compile(r"summari[sz]e (a|the) conversation\b", re.IGNORECASE): tasks.summary,
}


class EmulatedModel:
    """A `Model` that generates text without a language model. `models` are the listed models."""

    def __init__(self, models: Mapping[str, ListedModel] = MODELS) -> None:
        self._models = models
        self._meter = Meter()

    async def converse(self, model_id: str, body: Json) -> AsyncGenerator[Event, None]:
        requested = directives.parse(directive_text(body))
        model = find(model_id, self._models)
        reply = compose(model_id, body, requested, self._models)
        clock = asyncio.get_running_loop().time
        started = clock()
        due = started + (_FIRST_MS if requested.first is None else requested.first) / 1000
        await asyncio.sleep(due - clock())
        yield events.MESSAGE_START
        sent_tokens = 0
        pace = _pace(model_id, body, requested)
        for index, block in enumerate(reply.blocks):
            if block.start:
                yield Event("contentBlockStart", {"contentBlockIndex": index, "start": block.start})
            due += sum(itertools.islice(pace, block.hidden))
            sent_tokens += block.hidden
            for content in block.deltas:
                if sent_tokens:
                    due += next(pace)
                    await asyncio.sleep(due - clock())
                yield events.delta(index, content)
                sent_tokens += cost(content)
            yield events.block_stop(index)
        due += sum(itertools.islice(pace, reply.spent))
        await asyncio.sleep(due - clock())
        sent_tokens += reply.spent
        yield events.message_stop(reply.stop_reason)
        least = model.cache.least if model.cache else 1
        usage = self._meter.usage(model_id, body, sent_tokens, least=least, total_input=requested.input)
        extra = _served(body, requested) | ({"trace": reply.trace} if reply.trace else {})
        yield events.metadata(usage, round((clock() - started) * 1000), extra)


def compose(model_id: str, body: Json, requested: Directives, models: Mapping[str, ListedModel] = MODELS) -> Reply:
    """Compose the answer, cut at stop sequences and at maxTokens, and after the request's guardrail.

    `requested` are the directives of the request.
    """
    conversation = parse_conversation(body)
    config = body.get("inferenceConfig", {})
    text, stopped = _cut(_text(body, conversation, requested), config.get("stopSequences", []))
    calls = [] if stopped else _tool_calls(body, conversation, requested.tools)
    stop_reason = "stop_sequence" if stopped else "tool_use" if calls else "end_turn"
    blocks = []
    model = find(model_id, models)
    if reasoning := reasoning_of(model, body):
        thought = answer_text.generate_reasoning(conversation, reasoning.sentences)
        if model.thinking.bound and calls and conversation.tool_results:
            # Text between tool calls is reasoning since Opus 5.5:
            # https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5
            thought, text = f"{thought} {text}", ""
        ids = [block.start["toolUse"]["toolUseId"] for block in calls if block.start]
        form: Form = "redacted" if requested.redacted and model.thinking.style == "claude" else reasoning.form
        blocks.append(_reasoning(model_id, body, form, thought, ids))
    deltas = [{"text": token} for token in answer_text.tokens(text)]
    blocks.append(Block((*deltas, *([_citation(conversation)] if requested.cite else []))))
    blocks += calls
    not_empty = tuple(block for block in blocks if block.deltas)
    reply = limited(Reply(not_empty, stop_reason), config.get("maxTokens"))
    return guardrail.apply_guardrail(reply, body, requested)


def _text(body: Json, conversation: Conversation, requested: Directives) -> str:
    """Return the text of the answer: the result of a task, JSON if the request has a schema, or prose.

    The first words of a system prompt name the task.
    """
    if (result := _task_result(conversation)) is not None:
        return result
    if text_format := body.get("outputConfig", {}).get("textFormat"):
        return json.dumps(_example(json.loads(text_format["structure"]["jsonSchema"]["schema"]), conversation))
    return answer_text.generate_answer(conversation, requested.tokens)


def _task_result(conversation: Conversation) -> str | None:
    """Return the result of the task that the system prompt names, or None if it names none."""
    task = next((run for pattern, run in _TASKS.items() if pattern.match(conversation.system.lstrip())), None)
    return None if task is None else task(conversation)


def _task_input(conversation: Conversation) -> Json | None:
    """Return the result of a task as the input of a tool, or None if there is no task or its result is no object."""
    result = _task_result(conversation)
    try:
        parsed = json.loads(result or "")
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _served(body: Json, requested: Directives) -> Json:
    """Return the latency and the service tier of the answer, if the request has them.

    Above its quota, a request is served and charged as standard:
    https://docs.aws.amazon.com/bedrock/latest/userguide/latency-optimized-inference.html. For service tiers the only
    source is botocore's model: the metadata has the tier "used for serving the request".
    """
    served: Json = {name: body[name] for name in ("performanceConfig", "serviceTier") if name in body}
    standard: Json = {"performanceConfig": {"latency": "standard"}, "serviceTier": {"type": "default"}}
    return {name: standard[name] for name in served} if requested.standard else served


def _cut(text: str, stops: list[str]) -> tuple[str, bool]:
    """Return the text before the first stop sequence, and whether there was one."""
    positions = [position for stop in stops if (position := text.find(stop)) >= 0]
    return (text[: min(positions)], True) if positions else (text, False)


def _reasoning(model_id: str, body: Json, form: Form, text: str, calls: list[str]) -> Block:
    """Return the block of a reasoning with this text, before tool calls with these ids."""
    hidden = count(text)
    if form == "marker":
        return Block(({"reasoningContent": {"text": MARKER}},), hidden=hidden)
    if form == "redacted":
        data = signatures.sign(model_id, body, "", calls)
        return Block(({"reasoningContent": {"redactedContent": data}},), hidden=hidden)
    if form == "omitted":
        signature = signatures.sign(model_id, body, "", calls)
        return Block(({"reasoningContent": {"signature": signature}},), hidden=hidden)
    deltas = [{"reasoningContent": {"text": token}} for token in answer_text.tokens(text)]
    if form == "text":
        deltas.append({"reasoningContent": {"signature": signatures.sign(model_id, body, text, calls)}})
    return Block(tuple(deltas))


def _citation(conversation: Conversation) -> Json:
    topic = answer_text.topic_of(conversation.question).strip("“”")
    path = "-".join(re.findall(r"\w+", topic.lower()))
    return {
        "citation": {
            "title": f"A short guide to {topic}",
            "source": "guide",
            "sourceContent": [{"text": f"What is known about {topic}."}],
            "location": {"web": {"url": f"https://example.com/{path}", "domain": "example.com"}},
        }
    }


def _tool_calls(body: Json, conversation: Conversation, requested: tuple[ToolCall, ...]) -> list[Block]:
    """Return the tool calls: those of the directives that the request offers, and the one that `toolChoice` forces."""
    config = body.get("toolConfig", {})
    specs = [tool["toolSpec"] for tool in config.get("tools", []) if "toolSpec" in tool]
    schemas = {spec["name"]: spec["inputSchema"].get("json", {}) for spec in specs}
    calls = [call for call in requested if call.name in schemas]
    match config.get("toolChoice", {}):
        case {"tool": {"name": name}} if name not in [call.name for call in calls]:
            calls = [ToolCall(name, _task_input(conversation))]
        case {"any": _} if not calls:
            calls = [ToolCall(specs[0]["name"])]
    return [_tool_call(conversation, number, call, schemas[call.name]) for number, call in enumerate(calls)]


def _tool_call(conversation: Conversation, number: int, call: ToolCall, schema: Json) -> Block:
    """Return a tool call. Its JSON comes in fragments of a few characters. Without input, an example is generated."""
    source = json.dumps(_example(schema, conversation) if call.input is None else call.input, ensure_ascii=False)
    digest = hashlib.sha256(f"{number}{call.name}{source}{conversation.question}".encode()).hexdigest()
    fragments = [source[start : start + 7] for start in range(0, len(source), 7)]
    start = {"toolUse": {"toolUseId": f"tooluse_{digest[:22]}", "name": call.name}}
    return Block(tuple({"toolUse": {"input": fragment}} for fragment in fragments), start)


def _example(schema: Json, conversation: Conversation) -> Json:
    """Return an example of an object with this schema."""
    topic = answer_text.topic_of(conversation.question).strip("“”")
    examples = {"string": topic, "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    properties = schema.get("properties", {}).items()
    return {key: examples.get(str(value.get("type")), "") for key, value in properties if isinstance(value, dict)}


def _pace(model_id: str, body: Json, requested: Directives) -> Iterator[float]:
    """Yield the seconds before each token. By default they vary, as those of a model."""
    generator = random.Random(f"{model_id}{len(body['messages'])}")  # noqa: S311  # repeatable, not a secret
    while True:
        yield (generator.uniform(*_PACE_MS) if requested.pace is None else requested.pace) / 1000
