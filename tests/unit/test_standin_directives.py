"""The directives of the stand-in in a user message."""

import pytest

from local_stack.bedrock.directives import RANDOM_FAULTS, Directives, Fault, ToolCall, parse, random_fault, strip
from local_stack.bedrock.errors import BedrockError

NONE = Directives(tokens=None, pace=None, first=None, cite=False, tools=(), fault=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Tell me about rivers", NONE, id="none"),
        pytest.param("[[a wiki link]] and [[tokens]d]", NONE, id="other-brackets"),
        pytest.param("a [[tokens=200 pace=20]] b [[first=0]]", Directives(200, 20, 0, False, (), None), id="pace"),
        pytest.param('[[{"a": 1}]] [[big {"a": 1}]]', NONE, id="other-json"),
        pytest.param("[[cite]]", Directives(None, None, None, True, (), None), id="citation"),
        pytest.param(
            '[[tool=tides pace=1]] [[tool=weather {"at": [["Łódź"], {"x": {}}]} ]]',
            Directives(
                None, 1, None, False, (ToolCall("tides"), ToolCall("weather", {"at": [["Łódź"], {"x": {}}]})), None
            ),
            id="tools",
        ),
    ],
)
def test_directives_are_parsed(text: str, expected: Directives) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("fault=throttle", Fault("throttle", 5, None, None, "modelStreamErrorException"), id="defaults"),
        pytest.param(
            "fault=exception at=0 times=2 ms=9 code=throttlingException",
            Fault("exception", 0, 2, 9, "throttlingException"),
            id="all-options",
        ),
        pytest.param("fault=slow-first", Fault("slow-first", 0, None, 5_000, "modelStreamErrorException"), id="slow"),
    ],
)
def test_fault_is_parsed_with_its_options(text: str, fault: Fault) -> None:
    assert parse(f"Hello [[{text}]]").fault == fault


@pytest.mark.parametrize(
    "text", ["fault=thortle", "fault=exception code=ThrottlingException", "pace=fast", "tokens", "tool=a {b}"]
)
def test_unknown_directive_is_refused(text: str) -> None:
    with pytest.raises(BedrockError) as caught:
        parse(f"[[{text}]]")
    assert caught.value.code == "ValidationException"


def test_strip_removes_only_the_directives() -> None:
    assert strip('About [[rivers]] please [[pace=1 fault=cut]] [[tool=a {"b": []}]]') == "About [[rivers]] please"


def test_random_faults_follow_the_rate_and_the_seed() -> None:
    def drawn(rate: float, seed: int) -> list[Fault | None]:
        return [random_fault(rate, seed, number) for number in range(300)]

    assert drawn(0.0, 1) == [None] * 300
    assert drawn(0.2, 1) == drawn(0.2, 1) != drawn(0.2, 2)
    assert 30 <= sum(fault is not None for fault in drawn(0.2, 1)) <= 90
    assert {fault.name for fault in drawn(1.0, 1) if fault} == set(RANDOM_FAULTS)
