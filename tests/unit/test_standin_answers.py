"""What the stand-in says, without a socket: words, limits, blocks."""

import json
from typing import Any

import pytest

from local_stack.bedrock.directives import parse
from local_stack.bedrock.emulated_model import compose
from local_stack.bedrock.reply import Reply

LITE = "us.amazon.nova-lite-v1:0"
MICRO = "us.amazon.nova-micro-v1:0"
WEATHER = {
    "toolSpec": {
        "name": "weather",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
}
TIDES = {"toolSpec": {"name": "tides", "inputSchema": {"json": {"type": "object"}}}}
FACTS = "<facts>\n[fact 1] my dog is called Rex\n[fact 2] I live in Łódź 🌊\n</facts>"


def body(*turns: str | list[str], system: str = "", **fields: Any) -> dict[str, Any]:
    """A Converse request whose turns alternate, beginning with the user; a list is several content blocks."""
    messages = [
        {
            "role": ("user", "assistant")[index % 2],
            "content": [{"text": text} for text in ([turn] if isinstance(turn, str) else turn)],
        }
        for index, turn in enumerate(turns)
    ]
    return {"messages": messages, **({"system": [{"text": system}]} if system else {}), **fields}


def reply(request: dict[str, Any], model: str = LITE) -> Reply:
    return compose(model, request, parse(request["messages"][-1]["content"][-1].get("text", "")))


def text(answer: Reply) -> str:
    return "".join(delta.get("text", "") for block in answer.blocks for delta in block.deltas)


@pytest.mark.parametrize(
    ("question", "about"),
    [
        ("Tell me about rivers", "rivers"),
        ("what is the French Revolution?", "the French Revolution"),
        ("Could you please explain tides to me?", "tides"),
        ("Write a poem about the sea 🌊", "the sea 🌊"),
        ("How do bridges carry weight?", "“How do bridges carry weight?”"),
    ],
)
def test_answers_are_about_the_question(question: str, about: str) -> None:
    said = text(reply(body(question)))
    assert about in said
    assert 60 <= len(said.split()) <= 110
    assert said == text(reply(body(question)))


def test_greetings_are_answered_with_one() -> None:
    assert text(reply(body("Hi there!"))).startswith("Hello!")


def test_memory_is_visible() -> None:
    question = "What about lakes?"
    said = text(reply(body("Tell me about rivers [[pace=1]]", "Rivers flow.", [FACTS, question])))
    assert said.startswith("I remember that “my dog is called Rex” [fact 1] and that “I live in Łódź 🌊” [fact 2]. ")
    assert "Earlier you asked about rivers. " in said
    assert "facts" not in said
    assert "remember that" not in text(reply(body(question)))


def test_a_system_prompt_that_only_speaks_of_the_fence_holds_no_facts() -> None:
    system = "Text between <facts> and </facts> is what the user asked you to remember."
    assert "I remember" not in text(reply(body("Tell me about rivers", system=system)))


def test_only_the_last_text_directs() -> None:
    """Unanswered messages share a turn with the next one, and must not repeat their faults."""
    answer = reply(body(["Fail [[tokens=7]]", "Tell me about rivers [[tokens=9]]"]))
    assert len(text(answer).split()) == 9
    assert "Earlier you asked about “Fail”" in text(answer)


@pytest.mark.parametrize("words", [1, 20, 40, 500])
def test_answers_are_as_long_as_asked(words: int) -> None:
    answer = reply(body(f"Tell me about rivers [[tokens={words}]]"))
    assert len(answer.blocks[0].deltas) == words
    assert text(answer).endswith((".", "!", "?"))


def test_max_tokens_cuts() -> None:
    answer = reply(body("Tell me about rivers", inferenceConfig={"maxTokens": 4}))
    assert (len(answer.blocks[0].deltas), answer.stop_reason) == (4, "max_tokens")


def test_a_stop_sequence_ends_the_answer_before_it() -> None:
    whole = text(reply(body("Tell me about rivers")))
    stop = whole.split()[10]
    answer = reply(body("Tell me about rivers", inferenceConfig={"stopSequences": ["never said", stop]}))
    assert answer.stop_reason == "stop_sequence"
    assert text(answer) == whole[: whole.index(stop)]


@pytest.mark.parametrize("field", ["thinking", "reasoningConfig"])
def test_reasoning_comes_first_and_is_signed(field: str) -> None:
    answer = reply(body("Tell me about rivers", additionalModelRequestFields={field: {"type": "enabled"}}))
    *thoughts, last = answer.blocks[0].deltas
    assert "rivers" in "".join(thought["reasoningContent"]["text"] for thought in thoughts)
    assert last["reasoningContent"].keys() == {"signature"}
    assert "rivers" in text(answer)


def calls(answer: Reply) -> list[tuple[str, str]]:
    """The tools that the answer calls, each with its input as it was spoken."""
    return [
        (block.start["toolUse"]["name"], "".join(delta["toolUse"]["input"] for delta in block.deltas))
        for block in answer.blocks
        if block.start
    ]


def test_tools_are_called_with_the_input_that_is_given() -> None:
    offered = {"tools": [WEATHER, TIDES]}
    wish = 'Hello [[tool=tides {"at": ["Łódź"]}]] [[tool=weather]] [[tool=unknown]]'
    answer = reply(body(wish, toolConfig=offered))
    assert calls(answer) == [("tides", '{"at": ["Łódź"]}'), ("weather", '{"city": "Hello"}')]
    assert len({block.start["toolUse"]["toolUseId"] for block in answer.blocks if block.start}) == 2


@pytest.mark.parametrize(
    ("choice", "called"),
    [({"any": {}}, ["weather"]), ({"tool": {"name": "tides"}}, ["tides"]), ({"auto": {}}, [])],
    ids=["any", "named", "auto"],
)
def test_a_tool_that_the_request_insists_on_is_called(choice: dict[str, Any], called: list[str]) -> None:
    config = {"tools": [WEATHER, TIDES], "toolChoice": choice}
    assert [name for name, _ in calls(reply(body("Hello", toolConfig=config)))] == called


def test_a_tool_is_called_only_when_it_is_offered() -> None:
    question = "Tell me about Lisbon [[tool=weather]]"
    offered = reply(body(question, toolConfig={"tools": [WEATHER]}))
    assert offered.stop_reason == "tool_use"
    fragments = [delta["toolUse"]["input"] for delta in offered.blocks[-1].deltas]
    assert len(fragments) > 1
    assert "".join(fragments) == '{"city": "Lisbon"}'
    assert reply(body(question)).stop_reason == "end_turn"


def test_a_tool_call_is_cut_like_text() -> None:
    request = body("Tell me about Lisbon [[tokens=3 tool=weather]]", toolConfig={"tools": [WEATHER]})
    replies = [reply(request | {"inferenceConfig": {"maxTokens": limit}}) for limit in (2, 3, 4, 5, 6)]
    assert [answer.stop_reason for answer in replies] == ["max_tokens"] * 4 + ["tool_use"]
    said = [[given for _, given in calls(answer)] for answer in replies]
    whole = '{"city": "Lisbon"}'
    assert said[:2] == [[], []]
    assert [len(given) for [given] in said[2:]] == [7, 14, len(whole)]
    assert all(whole.startswith(given) for [given] in said[2:])


GUARDED = {"guardrailIdentifier": "abc", "guardrailVersion": "1", "trace": "enabled"}


def guarded(question: str, mode: str | None = "sync", **fields: Any) -> Reply:
    config = GUARDED if mode is None else GUARDED | {"streamProcessingMode": mode}
    return reply(body(question, guardrailConfig=config, **fields))


def test_a_guardrail_that_stops_an_answer_does_so_behind_what_passed() -> None:
    answer = guarded("Tell me about rivers [[tokens=9 block=4]]")
    passed, own = ("".join(delta["text"] for delta in block.deltas) for block in answer.blocks)
    assert len(passed.split()) == 4
    assert own == "Sorry, the model cannot answer this question."
    assert answer.stop_reason == "guardrail_intervened"
    assert '"BLOCKED"' in json.dumps(answer.trace)
    assert text(guarded("Tell me about rivers [[tokens=9 block=4]]", None)) == own, "one piece is stopped as a whole"
    assert reply(body("Tell me about rivers [[tokens=9 block=4]]")).stop_reason == "end_turn"


def test_a_guardrail_masks_unless_it_looks_later() -> None:
    question = "Tell me about rivers [[mask=rivers]]"
    plain = text(reply(body(question)))
    for mode, said in (("sync", plain.replace("rivers", "{NAME}")), (None, plain.replace("rivers", "{NAME}"))):
        assert text(guarded(question, mode)) == said
    answer = guarded(question, "async")
    assert text(answer) == plain
    assert answer.stop_reason == "guardrail_intervened"
    assert '"ANONYMIZED"' in json.dumps(answer.trace)
    assert guarded("Tell me about rivers [[mask=lakes]]").stop_reason == "end_turn"


def test_an_answer_of_which_nothing_is_left() -> None:
    first = text(reply(body("Tell me about rivers")))[:3]
    answer = reply(body("Tell me about rivers", inferenceConfig={"stopSequences": [first]}))
    assert answer == Reply((), "stop_sequence")


def test_a_tool_s_result_is_used() -> None:
    request = body("How warm is it?")
    result = {"toolResult": {"toolUseId": "t", "content": [{"json": {"celsius": 21}}]}}
    request["messages"] += [
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "weather", "input": {}}}]},
        {"role": "user", "content": [result]},
    ]
    said = text(reply(request))
    assert 'The tool says: {"celsius": 21}' in said
    assert "Earlier you asked about “How warm is it?”" in said


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Tell me about rivers", "Rivers"),
        ("User: How do I bake bread?\nAssistant: With flour.", "How do I bake bread"),
        ("Write a title for:\n<conversation>\nuser: tell me about Ada Lovelace\n</conversation>", "Ada Lovelace"),
        ("a b c d e f g h", "A b c d e f"),
    ],
)
def test_the_small_model_writes_titles(prompt: str, title: str) -> None:
    assert text(reply(body(prompt, system="Write a title of at most six words."), MICRO)) == title


@pytest.mark.parametrize(
    "system",
    [
        "Classify the message. Answer with exactly one of these labels:\n- praise\n- complaint\nIt is data.",
        "You classify messages. Labels: praise, complaint. Nothing else.",
        'Classify. Use one of: "praise" | "complaint"',
    ],
    ids=["bullets", "commas", "quotes"],
)
@pytest.mark.parametrize(("message", "label"), [("I have a complaint", "complaint"), ("Hello", "praise")])
def test_the_small_model_classifies(system: str, message: str, label: str) -> None:
    assert text(reply(body(message, system=system), MICRO)) == label


EXTRACT = "Extract what the user's message says about the user."


def test_the_small_model_extracts_what_is_not_known() -> None:
    message = "My boat is called Nora. I live in Porto. How far is it to Faro? Please call yourself Iris [[tokens=3]]"
    request = body(message, system=EXTRACT)
    request["messages"][0]["content"].insert(0, {"text": "<facts>\n- The user says: I live in Porto.\n</facts>"})
    found = json.loads(text(reply(request, MICRO)))
    assert [fact["text"] for fact in found["facts"]] == ["The user's boat is called Nora."]
    assert found["assistant"] == "Iris"


def test_the_small_model_sums_up() -> None:
    said = "Summary so far: The user asked about boats.\n\nUser: Tell me about rivers\n\nAssistant: They flow."
    summary = "The user asked about boats. The user asked about rivers."
    assert text(reply(body(said, system="Summarise a conversation."), MICRO)) == summary


def test_the_small_model_also_chats() -> None:
    assert "rivers" in text(reply(body("Tell me about rivers", system="You are kind."), MICRO)).split(".")[0]
