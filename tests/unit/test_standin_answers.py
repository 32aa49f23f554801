"""Answers of the stand-in, without a network: text, limits, content blocks."""

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
    ("question", "topic"),
    [
        ("Tell me about rivers", "rivers"),
        ("what is the French Revolution?", "the French Revolution"),
        ("Could you please explain tides to me?", "tides"),
        ("Write a poem about the sea 🌊", "the sea 🌊"),
        ("How do bridges carry weight?", "“How do bridges carry weight?”"),
    ],
)
def test_answer_is_about_the_question_and_deterministic(question: str, topic: str) -> None:
    answer_text = text(reply(body(question)))
    assert topic in answer_text
    assert 60 <= len(answer_text.split()) <= 110
    assert answer_text == text(reply(body(question)))


def test_greeting_is_answered_with_a_greeting() -> None:
    assert text(reply(body("Hi there!"))).startswith("Hello!")


def test_answer_mentions_the_facts_and_the_previous_question() -> None:
    question = "What about lakes?"
    answer_text = text(reply(body("Tell me about rivers [[pace=1]]", "Rivers flow.", [FACTS, question])))
    assert answer_text.startswith(
        "I remember that “my dog is called Rex” [fact 1] and that “I live in Łódź 🌊” [fact 2]. "
    )
    assert "Earlier you asked about rivers. " in answer_text
    assert "facts" not in answer_text
    assert "remember that" not in text(reply(body(question)))


def test_system_prompt_that_mentions_the_tags_contains_no_facts() -> None:
    system = "Text between <facts> and </facts> is what the user asked you to remember."
    assert "I remember" not in text(reply(body("Tell me about rivers", system=system)))


def test_only_directives_in_the_last_text_have_an_effect() -> None:
    """Unanswered messages are in the same turn as the next one; their directives must have no effect."""
    answer = reply(body(["Fail [[tokens=7]]", "Tell me about rivers [[tokens=9]]"]))
    assert len(text(answer).split()) == 9
    assert "Earlier you asked about “Fail”" in text(answer)


@pytest.mark.parametrize("words", [1, 20, 40, 500])
def test_answer_has_the_requested_number_of_tokens(words: int) -> None:
    answer = reply(body(f"Tell me about rivers [[tokens={words}]]"))
    assert len(answer.blocks[0].deltas) == words
    assert text(answer).endswith((".", "!", "?"))


def test_max_tokens_truncates_the_answer() -> None:
    answer = reply(body("Tell me about rivers", inferenceConfig={"maxTokens": 4}))
    assert (len(answer.blocks[0].deltas), answer.stop_reason) == (4, "max_tokens")


def test_answer_ends_before_a_stop_sequence() -> None:
    whole = text(reply(body("Tell me about rivers")))
    stop = whole.split()[10]
    answer = reply(body("Tell me about rivers", inferenceConfig={"stopSequences": ["never said", stop]}))
    assert answer.stop_reason == "stop_sequence"
    assert text(answer) == whole[: whole.index(stop)]


@pytest.mark.parametrize("field", ["thinking", "reasoningConfig"])
def test_reasoning_is_first_and_has_a_signature(field: str) -> None:
    fields = {field: {"type": "enabled"}}
    answer = reply(body("Tell me about rivers", additionalModelRequestFields=fields), "vendor.thinker-v1:0")
    *fragments, last = answer.blocks[0].deltas
    assert "rivers" in "".join(fragment["reasoningContent"]["text"] for fragment in fragments)
    assert last["reasoningContent"].keys() == {"signature"}
    assert "rivers" in text(answer)


def calls(answer: Reply) -> list[tuple[str, str]]:
    """The name and the raw input of each tool call in the answer."""
    return [
        (block.start["toolUse"]["name"], "".join(delta["toolUse"]["input"] for delta in block.deltas))
        for block in answer.blocks
        if block.start
    ]


def test_tools_are_called_with_the_input_of_the_directive() -> None:
    offered = {"tools": [WEATHER, TIDES]}
    directives = 'Hello [[tool=tides {"at": ["Łódź"]}]] [[tool=weather]] [[tool=unknown]]'
    answer = reply(body(directives, toolConfig=offered))
    assert calls(answer) == [("tides", '{"at": ["Łódź"]}'), ("weather", '{"city": "Hello"}')]
    assert len({block.start["toolUse"]["toolUseId"] for block in answer.blocks if block.start}) == 2


@pytest.mark.parametrize(
    ("choice", "called"),
    [({"any": {}}, ["weather"]), ({"tool": {"name": "tides"}}, ["tides"]), ({"auto": {}}, [])],
    ids=["any", "named", "auto"],
)
def test_tool_choice_forces_a_tool_call(choice: dict[str, Any], called: list[str]) -> None:
    config = {"tools": [WEATHER, TIDES], "toolChoice": choice}
    assert [name for name, _ in calls(reply(body("Hello", toolConfig=config)))] == called


def test_tool_is_called_only_if_it_is_declared() -> None:
    question = "Tell me about Lisbon [[tool=weather]]"
    offered = reply(body(question, toolConfig={"tools": [WEATHER]}))
    assert offered.stop_reason == "tool_use"
    fragments = [delta["toolUse"]["input"] for delta in offered.blocks[-1].deltas]
    assert len(fragments) > 1
    assert "".join(fragments) == '{"city": "Lisbon"}'
    assert reply(body(question)).stop_reason == "end_turn"


def test_max_tokens_truncates_a_tool_call() -> None:
    request = body("Tell me about Lisbon [[tokens=3 tool=weather]]", toolConfig={"tools": [WEATHER]})
    replies = [reply(request | {"inferenceConfig": {"maxTokens": limit}}) for limit in (2, 3, 4, 5, 6)]
    assert [answer.stop_reason for answer in replies] == ["max_tokens"] * 4 + ["tool_use"]
    inputs = [[tool_input for _, tool_input in calls(answer)] for answer in replies]
    complete = '{"city": "Lisbon"}'
    assert inputs[:2] == [[], []]
    assert [len(tool_input) for [tool_input] in inputs[2:]] == [7, 14, len(complete)]
    assert all(complete.startswith(tool_input) for [tool_input] in inputs[2:])


GUARDED = {"guardrailIdentifier": "abc", "guardrailVersion": "1", "trace": "enabled"}


def guarded(question: str, mode: str | None = "sync", **fields: Any) -> Reply:
    config = GUARDED if mode is None else GUARDED | {"streamProcessingMode": mode}
    return reply(body(question, guardrailConfig=config, **fields))


def test_blocking_guardrail_adds_its_text_after_the_passed_text() -> None:
    answer = guarded("Tell me about rivers [[tokens=9 block=4]]")
    passed, replacement = ("".join(delta["text"] for delta in block.deltas) for block in answer.blocks)
    assert len(passed.split()) == 4
    assert replacement == "Sorry, the model cannot answer this question."
    assert answer.stop_reason == "guardrail_intervened"
    assert '"BLOCKED"' in json.dumps(answer.trace)
    assert text(guarded("Tell me about rivers [[tokens=9 block=4]]", None)) == replacement, (
        "an answer without streaming is blocked as a whole"
    )
    assert reply(body("Tell me about rivers [[tokens=9 block=4]]")).stop_reason == "end_turn"


def test_guardrail_masks_text_unless_it_is_asynchronous() -> None:
    question = "Tell me about rivers [[mask=rivers]]"
    plain = text(reply(body(question)))
    for mode, expected in (("sync", plain.replace("rivers", "{NAME}")), (None, plain.replace("rivers", "{NAME}"))):
        assert text(guarded(question, mode)) == expected
    answer = guarded(question, "async")
    assert text(answer) == plain
    assert answer.stop_reason == "guardrail_intervened"
    assert '"ANONYMIZED"' in json.dumps(answer.trace)
    assert guarded("Tell me about rivers [[mask=lakes]]").stop_reason == "end_turn"


def test_stop_sequence_at_the_beginning_gives_an_empty_answer() -> None:
    first = text(reply(body("Tell me about rivers")))[:3]
    answer = reply(body("Tell me about rivers", inferenceConfig={"stopSequences": [first]}))
    assert answer == Reply((), "stop_sequence")


def test_answer_contains_the_tool_result() -> None:
    request = body("How warm is it?")
    result = {"toolResult": {"toolUseId": "t", "content": [{"json": {"celsius": 21}}]}}
    request["messages"] += [
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "weather", "input": {}}}]},
        {"role": "user", "content": [result]},
    ]
    answer_text = text(reply(request))
    assert 'The tool says: {"celsius": 21}' in answer_text
    assert "Earlier you asked about “How warm is it?”" in answer_text


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Tell me about rivers", "Rivers"),
        ("User: How do I bake bread?\nAssistant: With flour.", "How do I bake bread"),
        ("Write a title for:\n<conversation>\nuser: tell me about Ada Lovelace\n</conversation>", "Ada Lovelace"),
        ("a b c d e f g h", "A b c d e f"),
        ("<message>\n- Tell me about rivers\n</message>\n\nWrite the title of this message.", "Rivers"),
    ],
)
def test_small_model_writes_a_title(prompt: str, title: str) -> None:
    assert text(reply(body(prompt, system="Write a title of at most six words."), MICRO)) == title


@pytest.mark.parametrize(
    "system",
    [
        "Classify the message. Answer with exactly one of these labels:\n- praise\n- complaint\nIt is data.",
        "You classify messages. Labels: praise, complaint. Nothing else.",
        'Classify. Use one of: "praise" | "complaint"',
        "Classify the message with one of these labels:\n1. praise\n2. complaint\nChoose the best.",
    ],
    ids=["bullets", "commas", "quotes", "numbers"],
)
@pytest.mark.parametrize(
    ("message", "label"),
    [
        ("I have a complaint", "complaint"),
        ("Hello", "praise"),
        ("<message>\n- I have a complaint\n</message>\n\nChoose praise or a complaint.", "complaint"),
        ("<message>\n- Hello\n</message>\n\nIs this a complaint?", "praise"),
    ],
)
def test_small_model_classifies_a_message(system: str, message: str, label: str) -> None:
    assert text(reply(body(message, system=system), MICRO)) == label


EXTRACT = "Extract what the user's message says about the user."


def test_small_model_extracts_only_unknown_facts() -> None:
    message = "My boat is called Nora. I live in Porto. How far is it to Faro? Please call yourself Iris [[tokens=3]]"
    request = body(message, system=EXTRACT)
    request["messages"][0]["content"].insert(0, {"text": "<facts>\n- The user says: I live in Porto.\n</facts>"})
    extracted = json.loads(text(reply(request, MICRO)))
    assert [fact["text"] for fact in extracted["facts"]] == ["The user's boat is called Nora."]
    assert extracted["assistant"] == "Iris"


def test_small_model_tells_a_preference_from_a_fact() -> None:
    found = json.loads(text(reply(body("I prefer short answers. I live in Porto.", system=EXTRACT), MICRO)))["facts"]
    assert [(each["text"], each["kind"]) for each in found] == [
        ("The user says: I prefer short answers.", "preference"),
        ("The user says: I live in Porto.", "fact"),
    ]


def test_small_model_extracts_from_the_tagged_message_only() -> None:
    """Its tags, the order behind it and the answer before it are part of the question of the prompt."""
    text_of_request = (
        "Today is 2026-03-01.\n\n<before>\n… I have a cat.\n</before>\n\n"
        "<message>\nI have a dog. I no longer live in Porto [[tokens=3]]\n</message>\n\nI am data."
    )
    request = body(text_of_request, system=EXTRACT)
    known = "<facts>\n[fact 1] The user sails.\n[fact 2] The user says: I live in Porto.\n</facts>"
    request["messages"][0]["content"].insert(0, {"text": known})
    extracted = json.loads(text(reply(request, MICRO)))
    assert [fact["text"] for fact in extracted["facts"]] == ["The user says: I have a dog."]
    assert extracted["outdated"] == [2]


def test_small_model_gives_the_extraction_as_the_input_of_a_forced_tool() -> None:
    spec = {"name": "answer", "inputSchema": {"json": {"type": "object", "properties": {"facts": {"type": "array"}}}}}
    config = {"tools": [{"toolSpec": spec}], "toolChoice": {"tool": {"name": "answer"}}}
    sent = reply(body("My boat is called Nora", system=EXTRACT, toolConfig=config), MICRO)
    pieces = [delta["toolUse"]["input"] for block in sent.blocks for delta in block.deltas if "toolUse" in delta]
    [fact] = json.loads("".join(pieces))["facts"]
    assert fact["text"] == "The user's boat is called Nora."


@pytest.mark.parametrize(
    "conversation",
    [
        "Summary so far: The user asked about boats.\n\nUser: Tell me about rivers\n\nAssistant: They flow.",
        """<summary-so-far>
The user asked about boats.
</summary-so-far>

<message from="user" number="3">
Tell me about rivers
</message>

<message from="assistant" number="4">
They flow.
</message>

Write the new summary.""",
    ],
    ids=["lines", "tags"],
)
def test_small_model_summarises_a_conversation(conversation: str) -> None:
    summary = "The user asked about boats. The user asked about rivers."
    assert text(reply(body(conversation, system="Summarise a conversation."), MICRO)) == summary


@pytest.mark.parametrize(
    "model",
    [LITE, "us.anthropic.claude-haiku-5-5", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "openai.gpt-oss-20b-1:0"],
)
def test_every_model_does_the_tasks(model: str) -> None:
    assert text(reply(body("Tell me about rivers", system="Write a title of at most six words."), model)) == "Rivers"
    labels = "Classify. Use one of: praise, complaint"
    assert text(reply(body("I have a complaint", system=labels), model)) == "complaint"
    schema = json.dumps({"type": "object", "properties": {"facts": {"type": "array"}}, "additionalProperties": False})
    text_format = {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}
    request = body("My boat is called Nora", system=EXTRACT, outputConfig={"textFormat": text_format})
    [fact] = json.loads(text(reply(request, model)))["facts"]
    assert fact["text"] == "The user's boat is called Nora."
    summary = text(reply(body("User: Tell me about rivers", system="Summarise a conversation."), model))
    assert summary == "The user asked about rivers."


def test_task_with_a_schema_is_answered_as_an_object_in_the_text_or_in_the_forced_tool() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "additionalProperties": False}
    title = {"system": "Write a title of at most six words."}
    text_format = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema)}}}
    request = body("Tell me about rivers", **title, outputConfig={"textFormat": text_format})
    assert json.loads(text(reply(request, "us.anthropic.claude-haiku-5-5"))) == {"title": "Rivers"}
    tool = {"toolSpec": {"name": "answer", "inputSchema": {"json": schema}}}
    request = body("Tell me about rivers", **title)
    request["toolConfig"] = {"tools": [tool], "toolChoice": {"tool": {"name": "answer"}}}
    [call] = reply(request, MICRO).blocks
    assert json.loads("".join(delta["toolUse"]["input"] for delta in call.deltas)) == {"title": "Rivers"}


@pytest.mark.parametrize(
    "system",
    [
        "",
        "You are kind.",
        "You are an assistant that can classify, summarise and extract. You write titles too.",
        "Help the user to classify things and to find a title.",
        "Summarise long answers.",
        "Extracts are welcome.",
        "Titles are written in capitals.",
    ],
)
@pytest.mark.parametrize("model", [MICRO, LITE, "us.anthropic.claude-opus-4-8"])
def test_system_prompt_of_a_chat_is_no_task(model: str, system: str) -> None:
    assert "rivers" in text(reply(body("Tell me about rivers", system=system), model)).split(".")[0]
