"""OpenAI's SDKs and LangChain, unmodified, against the web host of the local stack."""

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
from openai import OpenAI
from pydantic import BaseModel, SecretStr

from converse_stream.dialects import sse
from converse_stream.dialects.openai import frames as dialect
from converse_stream.protocol.errors import ChatError, Forbidden, StorageError, TooManyFollowers, Unauthenticated
from converse_stream.protocol.events import Chunk, Complete, Event, Message, Start, Timing, Usage
from converse_stream.protocol.log import PositionedEvent
from tests.clients.openai.sdk import HERE, SDK, Node, SdkResult, python
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
    not (HERE.parent / "node_modules/openai").exists(),
    reason="needs the packages of tests/clients",
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
    """A new user with an SDK that has its default settings, so it retries some errors."""

    def __init__(self, stack: RunningStack, sdk: SDK) -> None:
        self._stack = stack
        self._sdk = sdk
        self.person = Person(stack)

    def __call__(self, call: str, *messages: Any, **fields: Any) -> SdkResult:
        """Calls the SDK. A `str` is a user message; the last one gets a quick answer."""
        listed = [{"role": "user", "content": message} if isinstance(message, str) else message for message in messages]
        if listed and isinstance(messages[-1], str):
            listed[-1]["content"] += f" {QUICK}"
        body = {"model": "nova-lite", **({"messages": listed} if listed else {}), **fields}
        return self._sdk(call, f"{self._stack.host}/v1", self.person.headers, 2, body)

    def model_requests(self, text: str) -> list[dict[str, Any]]:
        """Returns the requests to the model that contain this text."""
        return [each for each in self._stack.requests() if text in json.dumps(each["body"])]


@pytest.fixture
def caller(stack: RunningStack, sdk: SDK) -> Iterator[Caller]:
    caller = Caller(stack, sdk)
    with caller.person:
        yield caller


def test_models_are_listed_and_an_unknown_model_is_not_found(caller: Caller) -> None:
    listed = caller("models").text.split()
    assert listed == sorted(listed)
    assert {"nova-lite", "claude-haiku"} <= set(listed)
    assert caller("model").text == "nova-lite"
    unknown = caller("model", model="gpt-9").error
    assert unknown is not None
    assert (unknown["kind"], unknown["status"], unknown["code"]) == ("NotFoundError", 404, "model_not_found")


def test_streamed_answer_equals_the_buffered_answer(caller: Caller) -> None:
    system = {"role": "system", "content": "Be kind. " * 600}  # long enough to be cached
    history = ["Tell me about rivers", {"role": "assistant", "content": "They flow."}, "Tell me about lakes"]
    whole = caller("whole", system, *history)
    assert "Earlier you asked about rivers." in whole.text
    streamed = caller("streamed", system, *history, stream_options={"include_usage": True})
    assert (streamed.text, streamed.finish) == (whole.text, whole.finish) == (whole.text, "stop")
    assert streamed.chunk_count > 20
    for result in (whole, streamed):
        assert result.usage is not None
        assert result.usage["total_tokens"] == result.usage["prompt_tokens"] + result.usage["completion_tokens"]
    assert streamed.usage["prompt_tokens"] == whole.usage["prompt_tokens"]  # type: ignore[index]  # checked above
    assert streamed.usage["prompt_tokens_details"]["cached_tokens"] > 0  # type: ignore[index]  # checked above
    assert caller("streamed", "Hello").usage is None


def test_completions_store_no_conversation(caller: Caller) -> None:
    assert caller("streamed", "Tell me about rivers").finish == "stop"
    assert caller("whole", "Tell me about rivers").finish == "stop"
    assert caller.person.conversations() == []


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_tool_calls_are_returned_and_tool_results_are_used(caller: Caller, call: str) -> None:
    question = f"How is it? {LISBON} [[tool=tides]]"
    first = caller(call, question, tools=[WEATHER, TIDES])
    assert [(each["name"], json.loads(each["arguments"])) for each in first.calls] == [
        ("weather", {"city": "Lisbon"}),
        ("tides", {}),
    ]
    assert first.finish == "tool_calls"
    assistant = {
        "role": "assistant",
        "content": first.text,
        "tool_calls": [
            {"id": each["id"], "type": "function", "function": {"name": each["name"], "arguments": each["arguments"]}}
            for each in first.calls
        ],
    }
    results = [{"role": "tool", "tool_call_id": each["id"], "content": f"<{each['name']}>"} for each in first.calls]
    second = caller(call, question, assistant, *results, tools=[WEATHER, TIDES], max_tokens=25)
    assert "The tool says: <weather> The tool says: <tides>" in second.text
    assert second.calls == []


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_tool_choice_decides_which_tools_are_called(caller: Caller, call: str) -> None:
    def called(text: str, **fields: Any) -> list[str]:
        return [each["name"] for each in caller(call, text, tools=[WEATHER, TIDES], **fields).calls]

    assert called("Hello") == []
    assert called(f"{LISBON} {LISBON}", parallel_tool_calls=False) == ["weather"]
    assert called(LISBON, tool_choice="none") == []
    assert called("Hello", tool_choice="required") == ["weather"]
    assert called("Hello", tool_choice={"type": "function", "function": {"name": "tides"}}) == ["tides"]


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_max_tokens_and_stop_sequences_end_the_answer(caller: Caller, call: str) -> None:
    short = caller(call, "Tell me about rivers", max_completion_tokens=3)
    assert (len(short.text.split()), short.finish) == (3, "length")
    stopped = caller(call, "Tell me about rivers", stop="rivers", temperature=0.5)
    assert stopped.finish == "stop"
    assert "rivers" not in stopped.text


CLAUDE: dict[str, Any] = {"model": "claude-haiku", "reasoning_effort": "low", "tools": [WEATHER]}


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_signed_reasoning_is_sent_back_with_the_results_of_its_calls(caller: Caller, call: str) -> None:
    first = caller(call, f"Hello {LISBON}", **CLAUDE)
    [block] = first.details
    assert (block["type"], block["text"], block["index"]) == ("reasoning.text", first.reasoning, 0)
    function = {"name": "weather", "arguments": first.calls[0]["arguments"]}
    assistant = {
        "role": "assistant",
        "content": first.text,
        "reasoning_content": first.reasoning,
        "reasoning_details": first.details,
        "tool_calls": [{"id": first.calls[0]["id"], "type": "function", "function": function}],
    }
    result = {"role": "tool", "tool_call_id": first.calls[0]["id"], "content": "mild"}
    second = caller(call, f"Hello {LISBON} {QUICK}", assistant, result, **CLAUDE, max_tokens=15)
    assert second.error is None
    assert second.reasoning
    request = caller.model_requests(first.calls[0]["id"])[-1]
    sent = {"reasoningText": {"text": block["text"], "signature": block["signature"]}}
    assert request["body"]["messages"][1]["content"][0] == {"reasoningContent": sent}
    assert caller(call, "Hello", **{**CLAUDE, "tools": None}).details == []


def test_message_of_the_python_sdk_keeps_signed_reasoning(stack: RunningStack) -> None:
    """Also in `stream`, the helper of the SDK that joins the chunks of a message."""
    question: dict[str, Any] = {"role": "user", "content": f"Hello {LISBON} {QUICK}"}
    with (
        Person(stack) as person,
        OpenAI(base_url=f"{stack.host}/v1", api_key="none", default_headers=person.headers) as client,
    ):
        create: Any = client.chat.completions.create
        stream: Any = client.chat.completions.stream
        with stream(messages=[question], **CLAUDE) as events:
            joined = events.get_final_completion().choices[0].message
        message = create(messages=[question], **CLAUDE).choices[0].message
        for kept in (message.model_dump(), message.to_dict(), joined.model_dump(), joined.to_dict()):
            [block] = kept["reasoning_details"]
            assert block["text"] == kept["reasoning_content"]
            for call in kept["tool_calls"]:
                call.pop("index", None)  # `stream` adds these fields, and does not remove them again
                call["function"].pop("parsed_arguments", None)
            kept.pop("parsed", None)
            result = {"role": "tool", "tool_call_id": kept["tool_calls"][0]["id"], "content": "mild"}
            answer = create(messages=[question, kept, result], **CLAUDE).choices[0].message
            assert answer.reasoning_content


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_reasoning_is_separate_and_absent_after_tool_results(caller: Caller, call: str) -> None:
    """If the client does not send the signed reasoning back."""
    first = caller(call, f"Hello {LISBON}", **CLAUDE)
    assert first.reasoning.startswith("The question is about")
    assert first.reasoning not in first.text
    function = {"name": "weather", "arguments": first.calls[0]["arguments"]}
    assistant = {
        "role": "assistant",
        "content": first.text,
        "reasoning_content": first.reasoning,
        "tool_calls": [{"id": first.calls[0]["id"], "type": "function", "function": function}],
    }
    result = {"role": "tool", "tool_call_id": first.calls[0]["id"], "content": "mild"}
    second = caller(call, "Hello", assistant, result, **CLAUDE, max_tokens=15)
    assert (second.reasoning, second.error) == ("", None)
    assert "The tool says: mild" in second.text


@pytest.mark.parametrize("call", ["whole", "streamed"])
@pytest.mark.parametrize(
    ("fields", "kind", "status", "code", "param"),
    [
        ({"model": "gpt-9"}, "NotFoundError", 404, "model_not_found", "model"),
        ({"n": 3}, "BadRequestError", 400, "bad_request", "n"),
        ({"max_tokens": 9_000}, "BadRequestError", 400, "bad_request", "max_completion_tokens"),
        ({"reasoning_effort": "extreme"}, "BadRequestError", 400, "bad_request", "reasoning_effort"),
        ({"user": "a" * 2_100_000}, "APIStatusError", 413, "too_large", "body"),
    ],
    ids=["model", "n", "max_tokens", "reasoning", "size"],
)
def test_rejected_requests_raise_the_sdk_s_exceptions(
    caller: Caller, call: str, fields: dict[str, Any], kind: str, status: int, code: str, param: str
) -> None:
    error = caller(call, "Hello", **fields).error
    assert error is not None
    assert (error["status"], error["code"], error["param"]) == (status, code, param)
    assert error["kind"] in {kind, "APIError"}  # Node's package has no class for 413
    assert error["type"] == "invalid_request_error"
    assert "options." not in error["message"]


@pytest.mark.parametrize("call", ["whole", "streamed"])
def test_throttled_model_is_503_and_the_sdk_does_not_retry(caller: Caller, call: str) -> None:
    text = f"{caller.person.headers['x-dev-user']} {call} [[fault=throttle]]"
    error = caller(call, text).error
    assert error is not None
    assert (error["kind"], error["status"], error["code"]) == ("InternalServerError", 503, "model_throttled")
    assert len(caller.model_requests(text)) == 6  # three attempts each of the model and its fallback


def test_model_fault_in_a_stream_is_an_error_after_the_partial_text(caller: Caller) -> None:
    result = caller("streamed", "Tell me about rivers [[fault=exception at=9]]")
    assert len(result.text.split()) == 9
    assert result.error is not None
    assert (result.error["kind"], result.error["code"], result.finish) == ("APIError", "model_internal", None)


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
def test_each_error_status_raises_the_sdk_s_exception(sdk: SDK, failure: ChatError, kind: str) -> None:
    body = json.dumps(dialect.error(failure)).encode()
    with served(body, 1, status=failure.status, media_type="application/json") as base:
        error = sdk("whole", base, {}, 0, {"model": "m", "messages": []}).error
    assert error is not None
    assert (error["kind"], error["status"], error["code"]) == (kind, failure.status, failure.code)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fixtures_have_the_recorded_answer(sdk: SDK, case: Path) -> None:
    expected = json.loads((case / "answer.json").read_text(encoding="utf-8"))
    with served((case / "openai.sse").read_bytes(), 3) as base:
        result = sdk("streamed", base, {}, 0, {"model": "m", "messages": []})
    assert result.reasoning == expected["reasoning"]
    if case.name != "rollback":  # completions cannot be resumed, so they have no rollback
        assert result.text == expected["text"]
    calls = [(each["id"], each["name"], json.loads(each["arguments"])) for each in result.calls]
    assert calls == [(each["id"], each["name"], each["input"]) for each in expected["tools"]]
    assert (result.error or {}).get("code") == expected.get("error")
    assert (result.finish is None) == (result.error is not None)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_megabyte_in_random_pieces_arrives_unchanged(sdk: SDK, seed: int) -> None:
    letters = random.Random(seed)  # noqa: S311  # reproducible, not a secret
    pieces = ["".join(letters.choices(ALPHABET, k=letters.randint(1, 400))) for _ in range(4_000)]
    message = Message("m", "user", (), "")
    end = Complete("stop", message, message, Usage(), Timing(0))
    frames = dialect.OpenAI(0)
    events: list[Event] = [Start("", "", "g", "m"), *map(Chunk, pieces), end]
    heartbeat = f"{sse.HEARTBEAT}{frames.comment_end}"
    body = heartbeat.join(frames.encode(PositionedEvent(each, 0)) for each in events)
    text = "".join(pieces)
    assert len(text.encode()) > 1_000_000
    with served(body.encode(), seed) as base:
        assert sdk("streamed", base, {}, 0, {"model": "m", "messages": []}).text == text


def snippets(language: str) -> list[str]:
    """Returns the code blocks of the section on OpenAI SDKs in docs/clients.md."""
    section = (ROOT / "docs/clients.md").read_text(encoding="utf-8").split("\n## OpenAI SDKs and LangChain\n")[1]
    return re.findall(rf"```{language}\n(.*?)```", section.split("\n## ")[0], re.DOTALL)


def output_of(*command: str) -> str:
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout


def test_documented_python_snippets_run(stack: RunningStack) -> None:
    head = f'URL, REGION = "{stack.host}", "eu-central-1"\n'
    plain, chain, signed = snippets("python")
    signed += 'print(next(Signed().auth_flow(httpx2.Request("POST", URL, json={}))).headers["authorization"])'
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda script: output_of(sys.executable, "-c", head + script), (plain, chain, signed))
    rivers, porto, listed = answers
    assert "rivers" in rivers
    assert "Porto" in porto
    models, header = listed.splitlines()
    assert "nova-lite" in models
    assert header.startswith("AWS4-HMAC-SHA256 Credential=test/")


@JAVASCRIPT
def test_documented_javascript_snippet_runs(stack: RunningStack) -> None:
    (script,) = snippets("js")
    assert "rivers" in output_of("node", "--input-type=module", "--eval", f'const URL = "{stack.host}";\n{script}')


# LangChain


@tool
def weather(city: str) -> str:
    """The weather in a city now."""
    return f"It is mild in {city}."


class Place(BaseModel):
    """A place in the text."""

    city: str


@pytest.fixture
def chain(stack: RunningStack) -> Iterator[ChatOpenAI]:
    with Person(stack) as person:
        yield ChatOpenAI(
            model="nova-lite", base_url=f"{stack.host}/v1", api_key=SecretStr("none"), default_headers=person.headers
        )


def test_langchain_stream_equals_invoke(chain: ChatOpenAI) -> None:
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


def test_langchain_calls_a_bound_tool_and_uses_its_result(chain: ChatOpenAI) -> None:
    bound = chain.bind_tools([weather])
    question = HumanMessage(f"How is it? {LISBON} {QUICK}")
    first = bound.invoke([question])
    assert [(call["name"], call["args"]) for call in first.tool_calls] == [("weather", {"city": "Lisbon"})]
    results: list[ToolMessage] = [weather.invoke(call) for call in first.tool_calls]
    second = bound.invoke([question, first, *results], max_tokens=25)
    assert "The tool says: It is mild in Lisbon." in str(second.content)


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_langchain_returns_structured_output(
    chain: ChatOpenAI, method: Literal["function_calling", "json_schema"]
) -> None:
    structured = chain.with_structured_output(Place, method=method)
    assert structured.invoke(f"Tell me about Lisbon {QUICK}") == Place(city="Lisbon")
