"""The emulated model: composes an answer, then sends it at the speed of a model."""

import asyncio
import base64
import hashlib
import json
import random
import re
from collections.abc import AsyncGenerator, Iterator

from local_stack.bedrock import answer_text, directives, events, guardrail, tasks
from local_stack.bedrock.conversation import Conversation, directive_text, parse_conversation
from local_stack.bedrock.directives import Directives, ToolCall
from local_stack.bedrock.events import Event, Json
from local_stack.bedrock.reply import Block, Reply, cost, limited
from local_stack.bedrock.usage import Meter

_FIRST_MS = 200
_PACE_MS = (20, 40)
_TASKS = {"classif": tasks.classify, "title": tasks.title, "extract": tasks.extract, "summari": tasks.summary}
_TASK = re.compile(rf"\b({'|'.join(_TASKS)})", re.IGNORECASE)
_REASONING_FIELDS = ("thinking", "reasoningConfig", "reasoning_config")


class EmulatedModel:
    """A `Model` that generates text without a language model."""

    def __init__(self) -> None:
        self._meter = Meter()

    async def converse(self, model_id: str, body: Json) -> AsyncGenerator[Event, None]:
        requested = directives.parse(directive_text(body))
        reply = compose(model_id, body, requested)
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
            for content in block.deltas:
                if sent_tokens:
                    due += next(pace)
                    await asyncio.sleep(due - clock())
                yield events.delta(index, content)
                sent_tokens += cost(content)
            yield events.block_stop(index)
        yield events.message_stop(reply.stop_reason)
        usage = self._meter.usage(model_id, body, sent_tokens)
        extra = _served(body, requested) | ({"trace": reply.trace} if reply.trace else {})
        yield events.metadata(usage, round((clock() - started) * 1000), extra)


def compose(model_id: str, body: Json, requested: Directives) -> Reply:
    """Compose the answer, cut at stop sequences and at maxTokens, and after the request's guardrail.

    `requested` are the directives of the request.
    """
    conversation = parse_conversation(body)
    config = body.get("inferenceConfig", {})
    text, stopped = _cut(_text(model_id, body, conversation, requested), config.get("stopSequences", []))
    blocks = []
    if _reasoning_enabled(body):
        blocks.append(_reasoning(conversation))
    deltas = [{"text": token} for token in answer_text.tokens(text)]
    blocks.append(Block((*deltas, *([_citation(conversation)] if requested.cite else []))))
    calls = [] if stopped else _tool_calls(body, conversation, requested.tools)
    stop_reason = "stop_sequence" if stopped else "tool_use" if calls else "end_turn"
    blocks += calls
    not_empty = tuple(block for block in blocks if block.deltas)
    reply = limited(Reply(not_empty, stop_reason), config.get("maxTokens"))
    return guardrail.apply_guardrail(reply, body, requested)


def _text(model_id: str, body: Json, conversation: Conversation, requested: Directives) -> str:
    """Return the text of the answer: JSON if the request has a schema, the result of a task, or prose.

    A task is a request to the small model. The first sentence of its system prompt names the task.
    """
    if text_format := body.get("outputConfig", {}).get("textFormat"):
        return json.dumps(_example(json.loads(text_format["structure"]["jsonSchema"]["schema"]), conversation))
    if "nova-micro" in model_id:
        task = _TASK.search(conversation.system.partition(".")[0])
        if task:
            return _TASKS[task[1].lower()](conversation)
    return answer_text.generate_answer(conversation, requested.tokens)


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


def _reasoning_enabled(body: Json) -> bool:
    fields = body.get("additionalModelRequestFields") or {}
    return any(fields.get(name, {}).get("type") == "enabled" for name in _REASONING_FIELDS)


def _reasoning(conversation: Conversation) -> Block:
    text = answer_text.generate_reasoning(conversation)
    signature = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    deltas = [{"reasoningContent": {"text": token}} for token in answer_text.tokens(text)]
    return Block((*deltas, {"reasoningContent": {"signature": signature}}))


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
            calls = [ToolCall(name)]
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
