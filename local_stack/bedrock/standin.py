"""The built-in model: composes a whole answer, then says it at a model's pace."""

import asyncio
import base64
import hashlib
import json
import random
import re
from collections.abc import AsyncGenerator, Iterator

from local_stack.bedrock import conversation, directives, events, guardrail, tasks, texts
from local_stack.bedrock.conversation import Conversation
from local_stack.bedrock.directives import Directives, ToolCall
from local_stack.bedrock.events import Event, Json
from local_stack.bedrock.reply import Block, Reply, cost, limited
from local_stack.bedrock.usage import Meter

_FIRST_MS = 200
_PACE_MS = (20, 40)
_JOBS = {"classif": tasks.classify, "title": tasks.title, "extract": tasks.extract, "summari": tasks.summary}
_JOB = re.compile(rf"\b({'|'.join(_JOBS)})", re.IGNORECASE)
_REASONING_FIELDS = ("thinking", "reasoningConfig", "reasoning_config")


class StandIn:
    """A `Model` without a model."""

    def __init__(self) -> None:
        self._meter = Meter()

    async def converse(self, model_id: str, body: Json) -> AsyncGenerator[Event, None]:
        wish = directives.parse(conversation.directive_text(body))
        reply = compose(model_id, body, wish)
        clock = asyncio.get_running_loop().time
        started = clock()
        due = started + (_FIRST_MS if wish.first is None else wish.first) / 1000
        await asyncio.sleep(due - clock())
        yield events.MESSAGE_START
        spoken = 0
        pace = _pace(model_id, body, wish)
        for index, block in enumerate(reply.blocks):
            if block.start:
                yield Event("contentBlockStart", {"contentBlockIndex": index, "start": block.start})
            for content in block.deltas:
                if spoken:
                    due += next(pace)
                    await asyncio.sleep(due - clock())
                yield events.delta(index, content)
                spoken += cost(content)
            yield events.block_stop(index)
        yield events.message_stop(reply.stop_reason)
        usage = self._meter.usage(model_id, body, spoken)
        told = _served(body, wish) | ({"trace": reply.trace} if reply.trace else {})
        yield events.metadata(usage, round((clock() - started) * 1000), told)


def compose(model_id: str, body: Json, wish: Directives) -> Reply:
    """The whole answer, cut at the stop sequences and at maxTokens, as far as a guardrail lets it through."""
    talk = conversation.read(body)
    config = body.get("inferenceConfig", {})
    text, stopped = _until(_text(model_id, body, talk, wish), config.get("stopSequences", []))
    blocks = []
    if _wants_reasoning(body):
        blocks.append(_reasoning(talk))
    said = [{"text": token} for token in texts.tokens(text)]
    blocks.append(Block((*said, *([_citation(talk)] if wish.cite else []))))
    calls = [] if stopped else _tools(body, talk, wish.tools)
    stop_reason = "stop_sequence" if stopped else "tool_use" if calls else "end_turn"
    blocks += calls
    spoken = tuple(block for block in blocks if block.deltas)
    return guardrail.judged(limited(Reply(spoken, stop_reason), config.get("maxTokens")), body, wish)


def _text(model_id: str, body: Json, talk: Conversation, wish: Directives) -> str:
    """An answer, in JSON where a schema asks for it, or what a task asks for.

    Tasks are prompts to the small model whose first sentence says what they want.
    """
    if text_format := body.get("outputConfig", {}).get("textFormat"):
        return json.dumps(_made_up(json.loads(text_format["structure"]["jsonSchema"]["schema"]), talk))
    if "nova-micro" in model_id:
        wanted = _JOB.search(talk.system.partition(".")[0])
        if wanted:
            return _JOBS[wanted[1].lower()](talk)
    return texts.speak(talk, wish.tokens)


def _served(body: Json, wish: Directives) -> Json:
    """How the request was served: latency and tier are told where they were asked for.

    Above its quota a request is served, and charged, as standard:
    https://docs.aws.amazon.com/bedrock/latest/userguide/latency-optimized-inference.html. That a tier comes down in the
    same way rests on botocore's model alone, in which the metadata has the tier "used for serving the request".
    """
    told: Json = {name: body[name] for name in ("performanceConfig", "serviceTier") if name in body}
    standard: Json = {"performanceConfig": {"latency": "standard"}, "serviceTier": {"type": "default"}}
    return {name: standard[name] for name in told} if wish.standard else told


def _until(text: str, stops: list[str]) -> tuple[str, bool]:
    """The text before the first stop sequence, and whether there was one."""
    found = [position for stop in stops if (position := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


def _wants_reasoning(body: Json) -> bool:
    fields = body.get("additionalModelRequestFields") or {}
    return any(fields.get(name, {}).get("type") == "enabled" for name in _REASONING_FIELDS)


def _reasoning(talk: Conversation) -> Block:
    thought = texts.think(talk)
    signature = base64.b64encode(hashlib.sha256(thought.encode()).digest()).decode()
    deltas = [{"reasoningContent": {"text": token}} for token in texts.tokens(thought)]
    return Block((*deltas, {"reasoningContent": {"signature": signature}}))


def _citation(talk: Conversation) -> Json:
    topic = texts.subject(talk.question).strip("“”")
    path = "-".join(re.findall(r"\w+", topic.lower()))
    return {
        "citation": {
            "title": f"A short guide to {topic}",
            "source": "guide",
            "sourceContent": [{"text": f"What is known about {topic}."}],
            "location": {"web": {"url": f"https://example.com/{path}", "domain": "example.com"}},
        }
    }


def _tools(body: Json, talk: Conversation, wishes: tuple[ToolCall, ...]) -> list[Block]:
    """Calls of the tools that are wished for and offered, and of the one that the request insists on."""
    config = body.get("toolConfig", {})
    specs = [tool["toolSpec"] for tool in config.get("tools", []) if "toolSpec" in tool]
    schemas = {spec["name"]: spec["inputSchema"].get("json", {}) for spec in specs}
    calls = [wish for wish in wishes if wish.name in schemas]
    match config.get("toolChoice", {}):
        case {"tool": {"name": name}} if name not in [call.name for call in calls]:
            calls = [ToolCall(name)]
        case {"any": _} if not calls:
            calls = [ToolCall(specs[0]["name"])]
    return [_tool(talk, number, call, schemas[call.name]) for number, call in enumerate(calls)]


def _tool(talk: Conversation, number: int, call: ToolCall, schema: Json) -> Block:
    """A call with plausible input, unless its own is given; the JSON in fragments of a few characters."""
    source = json.dumps(_made_up(schema, talk) if call.input is None else call.input, ensure_ascii=False)
    digest = hashlib.sha256(f"{number}{call.name}{source}{talk.question}".encode()).hexdigest()
    fragments = [source[start : start + 7] for start in range(0, len(source), 7)]
    start = {"toolUse": {"toolUseId": f"tooluse_{digest[:22]}", "name": call.name}}
    return Block(tuple({"toolUse": {"input": fragment}} for fragment in fragments), start)


def _made_up(schema: Json, talk: Conversation) -> Json:
    """A plausible object of that schema."""
    examples = {"string": texts.subject(talk.question).strip("“”"), "integer": 1, "number": 1.5, "boolean": True}
    examples |= {"array": [], "object": {}}
    properties = schema.get("properties", {}).items()
    return {key: examples.get(str(value.get("type")), "") for key, value in properties if isinstance(value, dict)}


def _pace(model_id: str, body: Json, wish: Directives) -> Iterator[float]:
    """Seconds between tokens."""
    # A steady pace would look like a machine's; this is no secret.
    chance = random.Random(f"{model_id}{len(body['messages'])}")  # noqa: S311  # the same, not a secret
    while True:
        yield (chance.uniform(*_PACE_MS) if wish.pace is None else wish.pace) / 1000
