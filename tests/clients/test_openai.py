"""OpenAI's SDKs and LangChain against the running stack, through its one host; nothing on their side is changed."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from converse_stream.dialects import sse
from converse_stream.dialects.openai import frames as dialect
from converse_stream.protocol.errors import (
    ChatError,
    Forbidden,
    StorageError,
    TooManyFollowers,
    Unauthenticated,
)
from converse_stream.protocol.events import (
    Chunk,
    Complete,
    Event,
    Message,
    Start,
    Timing,
    Usage,
)
from converse_stream.protocol.log import PositionedEvent
from tests.clients.openai.sdk import HERE, SDK, Heard, Node, python
from tests.clients.test_httpx_sse import ALPHABET, served
from tests.e2e.chat import Person
from tests.stack import ROOT, RunningStack
from tests.unit.test_dialects import CASES

pytestmark = pytest.mark.clients

QUICK = "[[pace=1 first=0]]"
LISBON = '[[tool=weather {"city": "Lisbon"}]]'
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather now", "parameters": SCHEMA}}
TIDES = {"type": "function", "function": {"name": "tides"}}

JAVASCRIPT = pytest.mark.skipif(
    not (HERE.parent / "node_modules/openai").exists(), reason="npm is not here, nor the JavaScript clients"
)


@pytest.fixture(scope="module", params=["python", pytest.param("node", marks=JAVASCRIPT)])
def sdk(request: pytest.FixtureRequest) -> Iterator[SDK]:
    if request.param == "python":
        yield python
        return
    node = Node()
    yield node
    node.close()


class Caller:
    """Somebody of their own with an SDK in its default settings: it repeats what it takes for worth it."""

    def __init__(self, stack: RunningStack, sdk: SDK) -> None:
        self._stack = stack
        self._sdk = sdk
        self.person = Person(stack)

    def __call__(self, call: str, *messages: Any, **fields: Any) -> Heard:
        """A text is the user's; the last one is answered quickly."""
        listed = [{"role": "user", "content": each} if isinstance(each, str) else each for each in messages]
        if listed and isinstance(messages[-1], str):
            listed[-1]["content"] += f" {QUICK}"
        body = {"model": "nova-lite", **({"messages": listed} if listed else {}), **fields}
        return self._sdk(call, f"{self._stack.host}/v1", self.person.headers, 2, body)

    def asked(self, text: str) -> list[dict[str, Any]]:
        """The requests that the model got with this text."""
        return [each for each in self._stack.requests() if text in json.dumps(each["body"])]


@pytest.fixture
def caller(stack: RunningStack, sdk: SDK) -> Iterator[Caller]:
    caller = Caller(stack, sdk)
    with caller.person:
        yield caller


def test_models(caller: Caller) -> None:
    listed = caller("models").text.split()
    assert listed == sorted(listed)
    assert {"nova-lite", "claude-haiku"} <= set(listed)
    assert caller("model").text == "nova-lite"
    unknown = caller("model", model="gpt-9").error
    assert unknown is not None
    assert (unknown["kind"], unknown["status"], unknown["code"]) == ("NotFoundError", 404, "model_not_found")


def test_a_streamed_answer_is_the_whole_one(caller: Caller) -> None:
    system = {"role": "system", "content": "Be kind."}
    history = ["Tell me about rivers", {"role": "assistant", "content": "They flow."}, "Tell me about lakes"]
    whole = caller("whole", system, *history)
    assert "Earlier you asked about rivers." in whole.text
    streamed = caller("streamed", system, *history, stream_options={"include_usage": True})
    assert (streamed.text, streamed.finish) == (whole.text, whole.finish) == (whole.text, "stop")
    assert streamed.pieces > 20
    for heard in (whole, streamed):
        assert heard.usage is not None
        assert heard.usage["total_tokens"] == heard.usage["prompt_tokens"] + heard.usage["completion_tokens"]
    assert streamed.usage["prompt_tokens"] == whole.usage["prompt_tokens"]  # type: ignore[index]  # looked at above
    assert streamed.usage["prompt_tokens_details"]["cached_tokens"] > 0  # type: ignore[index]  # the same
    assert caller("streamed", "Hello").usage is None


def test_nothing_is_stored(caller: Caller) -> None:
    assert caller("streamed", "Tell me about rivers").finish == "stop"
    assert caller("whole", "Tell me about rivers").finish == "stop"
    assert caller.person.conversations() == []


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_tools_there_and_back(caller: Caller, call: str) -> None:
    question = f"How is it? {LISBON} [[tool=tides]]"
    asked = caller(call, question, tools=[WEATHER, TIDES])
    assert [(each["name"], json.loads(each["given"])) for each in asked.calls] == [
        ("weather", {"city": "Lisbon"}),
        ("tides", {}),
    ]
    assert asked.finish == "tool_calls"
    said = {
        "role": "assistant",
        "content": asked.text,
        "tool_calls": [
            {"id": each["id"], "type": "function", "function": {"name": each["name"], "arguments": each["given"]}}
            for each in asked.calls
        ],
    }
    results = [{"role": "tool", "tool_call_id": each["id"], "content": f"<{each['name']}>"} for each in asked.calls]
    answered = caller(call, question, said, *results, tools=[WEATHER, TIDES], max_tokens=25)
    assert "The tool says: <weather> The tool says: <tides>" in answered.text
    assert answered.calls == []


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_which_tools_are_called(caller: Caller, call: str) -> None:
    def called(text: str, **fields: Any) -> list[str]:
        return [each["name"] for each in caller(call, text, tools=[WEATHER, TIDES], **fields).calls]

    assert called("Hello") == []
    assert called(f"{LISBON} {LISBON}", parallel_tool_calls=False) == ["weather"]
    assert called(LISBON, tool_choice="none") == []
    assert called("Hello", tool_choice="required") == ["weather"]
    assert called("Hello", tool_choice={"type": "function", "function": {"name": "tides"}}) == ["tides"]


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_options(caller: Caller, call: str) -> None:
    short = caller(call, "Tell me about rivers", max_completion_tokens=3)
    assert (len(short.text.split()), short.finish) == (3, "length")
    stopped = caller(call, "Tell me about rivers", stop="rivers", temperature=0.5)
    assert stopped.finish == "stop"
    assert "rivers" not in stopped.text


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_reasoning_comes_apart_and_stays_out_of_answers_to_tools(caller: Caller, call: str) -> None:
    claude = {"model": "claude-haiku", "reasoning_effort": "low", "tools": [WEATHER]}
    asked = caller(call, f"Hello {LISBON}", **claude)
    assert asked.reasoning.startswith("The question is about")
    assert asked.reasoning not in asked.text
    function = {"name": "weather", "arguments": asked.calls[0]["given"]}
    said = {
        "role": "assistant",
        "content": asked.text,
        "reasoning_content": asked.reasoning,
        "tool_calls": [{"id": asked.calls[0]["id"], "type": "function", "function": function}],
    }
    result = {"role": "tool", "tool_call_id": asked.calls[0]["id"], "content": "mild"}
    answered = caller(call, "Hello", said, result, **claude, max_tokens=15)
    assert (answered.reasoning, answered.error) == ("", None)
    assert "The tool says: mild" in answered.text


@pytest.mark.parametrize("call", ["whole", "streamed"])
@pytest.mark.parametrize(
    ("fields", "kind", "status", "code", "param"),
    [
        ({"model": "gpt-9"}, "NotFoundError", 404, "model_not_found", "model"),
        ({"n": 3}, "BadRequestError", 400, "bad_request", "n"),
        ({"max_tokens": 9_000}, "BadRequestError", 400, "bad_request", "max_completion_tokens"),
        ({"reasoning_effort": "low"}, "BadRequestError", 400, "bad_request", "reasoning_effort"),
        ({"user": "a" * 2_100_000}, "APIStatusError", 413, "too_large", "body"),
    ],
    ids=["model", "n", "max_tokens", "reasoning", "size"],
)
def test_refusals_are_typed(
    caller: Caller, call: str, fields: dict[str, Any], kind: str, status: int, code: str, param: str
) -> None:
    error = caller(call, "Hello", **fields).error
    assert error is not None
    assert (error["status"], error["code"], error["param"]) == (status, code, param)
    assert error["kind"] in {kind, "APIError"}  # Node's package has no class for 413
    assert error["type"] == "invalid_request_error"
    assert "options." not in error["message"]


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_a_model_s_refusal_is_a_status_and_is_not_repeated(caller: Caller, call: str) -> None:
    text = f"{caller.person.headers['x-dev-user']} {call} [[fault=throttle]]"
    error = caller(call, text).error
    assert error is not None
    assert (error["kind"], error["status"], error["code"]) == ("InternalServerError", 503, "model_throttled")
    assert len(caller.asked(text)) == 6  # three times each of the model and its fallback, by our own policy


def test_a_fault_in_the_middle_is_an_error_behind_what_was_said(caller: Caller) -> None:
    heard = caller("streamed", "Tell me about rivers [[fault=exception at=9]]")
    assert len(heard.text.split()) == 9
    assert heard.error is not None
    assert (heard.error["kind"], heard.error["code"], heard.finish) == ("APIError", "model_internal", None)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Unauthenticated(), "AuthenticationError"),
        (Forbidden(), "PermissionDeniedError"),
        (TooManyFollowers(), "RateLimitError"),
        (StorageError(), "InternalServerError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_error_is_typed(sdk: SDK, failure: ChatError, kind: str) -> None:
    body = json.dumps(dialect.error(failure)).encode()
    with served(body, 1, status=failure.status, media_type="application/json") as base:
        error = sdk("whole", base, {}, 0, {"model": "m", "messages": []}).error
    assert error is not None
    assert (error["kind"], error["status"], error["code"]) == (kind, failure.status, failure.code)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_fixtures_say_the_same_to_it(sdk: SDK, case: Path) -> None:
    expected = json.loads((case / "answer.json").read_text(encoding="utf-8"))
    with served((case / "openai.sse").read_bytes(), 3) as base:
        heard = sdk("streamed", base, {}, 0, {"model": "m", "messages": []})
    assert heard.reasoning == expected["reasoning"]
    if case.name != "rollback":  # a completion is read once, from its begin
        assert heard.text == expected["text"]
    calls = [(each["id"], each["name"], json.loads(each["given"])) for each in heard.calls]
    assert calls == [(each["id"], each["name"], each["input"]) for each in expected["tools"]]
    assert (heard.error or {}).get("code") == expected.get("error")
    assert (heard.finish is None) == (heard.error is not None)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_megabyte_cut_anywhere_arrives_byte_for_byte(sdk: SDK, seed: int) -> None:
    letters = random.Random(seed)  # noqa: S311  # reproducible, not a secret
    pieces = ["".join(letters.choices(ALPHABET, k=letters.randint(1, 400))) for _ in range(4_000)]
    message = Message("m", "user", (), "")
    end = Complete("stop", message, message, Usage(), Timing(0))
    speaker = dialect.OpenAI(0)
    events: list[Event] = [Start("", "", "g", "m"), *map(Chunk, pieces), end]
    heartbeat = f"{sse.HEARTBEAT}{speaker.comment_end}"
    body = heartbeat.join(speaker.encode(PositionedEvent(each, 0)) for each in events)
    text = "".join(pieces)
    assert len(text.encode()) > 1_000_000
    with served(body.encode(), seed) as base:
        assert sdk("streamed", base, {}, 0, {"model": "m", "messages": []}).text == text


def snippets(language: str) -> list[str]:
    section = (ROOT / "docs/clients.md").read_text(encoding="utf-8").split("\n## OpenAI SDKs and LangChain\n")[1]
    return re.findall(rf"```{language}\n(.*?)```", section.split("\n## ")[0], re.DOTALL)


def said(*command: str) -> str:
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout


def test_the_python_snippets_in_the_documents_run(stack: RunningStack) -> None:
    head = f'URL, REGION = "{stack.host}", "eu-central-1"\n'
    plain, chain, signed = snippets("python")
    signed += 'print(next(Signed().auth_flow(httpx2.Request("POST", URL, json={}))).headers["authorization"])'
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda script: said(sys.executable, "-c", head + script), (plain, chain, signed))
    rivers, porto, listed = answers
    assert "rivers" in rivers
    assert "Porto" in porto
    models, header = listed.splitlines()
    assert "nova-lite" in models
    assert header.startswith("AWS4-HMAC-SHA256 Credential=test/")


@JAVASCRIPT
def test_the_javascript_snippet_in_the_documents_runs(stack: RunningStack) -> None:
    (script,) = snippets("js")
    assert "rivers" in said("node", "--input-type=module", "--eval", f'const URL = "{stack.host}";\n{script}')


# LangChain


@tool
def weather(city: str) -> str:
    """The weather in a city now."""
    return f"It is mild in {city}."


class Place(BaseModel):
    """A place that was named."""

    city: str


@pytest.fixture
def chain(stack: RunningStack) -> Iterator[ChatOpenAI]:
    with Person(stack) as person:
        yield ChatOpenAI(
            model="nova-lite", base_url=f"{stack.host}/v1", api_key=SecretStr("none"), default_headers=person.headers
        )


def test_langchain_invokes_and_streams(chain: ChatOpenAI) -> None:
    whole = chain.invoke(f"Tell me about rivers {QUICK}")
    assert "rivers" in str(whole.content)
    pieces = list(chain.stream(f"Tell me about rivers {QUICK}", stream_usage=True))
    streamed = AIMessageChunk(content="")
    for piece in pieces:
        streamed += piece
    assert streamed.content == whole.content
    assert len(pieces) > 20
    assert isinstance(whole, AIMessage)
    assert streamed.usage_metadata is not None
    assert whole.usage_metadata is not None
    assert streamed.usage_metadata["total_tokens"] == whole.usage_metadata["total_tokens"]


def test_langchain_binds_tools(chain: ChatOpenAI) -> None:
    bound = chain.bind_tools([weather])
    question = HumanMessage(f"How is it? {LISBON} {QUICK}")
    asked = bound.invoke([question])
    assert [(call["name"], call["args"]) for call in asked.tool_calls] == [("weather", {"city": "Lisbon"})]
    results: list[ToolMessage] = [weather.invoke(call) for call in asked.tool_calls]
    answered = bound.invoke([question, asked, *results], max_tokens=25)
    assert "The tool says: It is mild in Lisbon." in str(answered.content)


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_langchain_gets_a_structure(chain: ChatOpenAI, method: Literal["function_calling", "json_schema"]) -> None:
    structured = chain.with_structured_output(Place, method=method)
    assert structured.invoke(f"Tell me about Lisbon {QUICK}") == Place(city="Lisbon")
