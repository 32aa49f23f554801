"""The history in the requests to Bedrock, and what clients are told about it."""

from typing import Any

from tests.e2e.chat import Person

SHORT = "[[tokens=5 pace=1 first=1]]"
LONG = "[[tokens=14000 pace=0 first=0]]"  # an answer of more tokens than the whole history may have
CAPABLE: dict[str, Any] = {"model": "claude-haiku", "options": {"maxTokens": 20_000}}
PASTE = "A line of a pasted log. " * 1_100


def sent_texts(person: Person) -> list[str]:
    """The text of each message in the last request to Bedrock."""
    messages = person.stack.requests()[-1]["body"]["messages"]
    return [" ".join(block["text"] for block in each["content"] if "text" in block) for each in messages]


def history_progress(events: list[dict[str, Any]]) -> list[str]:
    return [each["detail"] for each in events if each["type"] == "progress" and each["stage"] == "history"]


def test_long_answer_is_continued_with_its_question_and_its_end(person: Person) -> None:
    sent = person.send(f"Tell me about rivers {LONG}", **CAPABLE)
    answer = sent.text
    continued = person.request_action("continue", sent.start["conversationId"])
    question, kept, instruction = sent_texts(person)
    assert question.startswith("Tell me about rivers")
    assert kept.endswith(answer[-1_000:].strip())
    assert "characters are left out" in kept
    assert instruction.endswith("Repeat nothing, and do not comment on it.")
    assert history_progress(continued.events) == ["long messages shortened"]


def test_long_message_is_shortened_in_the_next_prompt_and_left_out_later(person: Person) -> None:
    sent = person.send(f"Read this: {PASTE} Which line matters? {LONG}", **CAPABLE)
    conversation = sent.start["conversationId"]
    body: dict[str, Any] = {"conversationId": conversation}
    assert history_progress(person.send(SHORT, **body).events) == ["long messages shortened"]
    paste = sent_texts(person)[0]
    assert paste.startswith("Read this: A line")
    assert "Which line matters?" in paste
    buffered = person.send_buffered(SHORT, **body).json()
    assert buffered["missing"] == ["earlier messages"]
    assert "Earlier messages of this conversation are not shown to you." in sent_texts(person)[-1]
    assert len(sent_texts(person)) == 3
    preview = person.http.post(f"{person.stack.gateway}/prompt/preview", json={"message": {"text": "x"}, **body})
    assert preview.json()["missing"] == ["earlier messages"]


def test_real_usage_of_the_last_answer_corrects_the_estimate(person: Person) -> None:
    opening = "Tell me about rivers. " * 100
    sent = person.send(f"{opening}{SHORT}")
    body = {"message": {"text": "x"}, "conversationId": sent.start["conversationId"]}
    preview = f"{person.stack.gateway}/prompt/preview"
    estimated = person.http.post(preview, json=body).json()["totalTokens"]
    used = round(person.http.post(preview, json=body).json()["totalTokens"] * 1.5)
    person.send(f"{opening}[[tokens=5 pace=1 first=1 input={used}]]", conversationId=sent.start["conversationId"])
    corrected = person.http.post(preview, json=body).json()["totalTokens"]
    assert corrected > estimated * 1.5


def test_tool_loop_of_a_caller_reads_the_results_from_the_cache(person: Person) -> None:
    tool = {"type": "function", "function": {"name": "search"}}
    messages: list[Any] = [{"role": "user", "content": "Search the documents. [[tokens=3 tool=search pace=1 first=1]]"}]
    body = {"model": "nova-lite", "tools": [tool], "messages": messages}
    usages = []
    for number in range(4):
        answer = person.http.post(f"{person.stack.url}/v1/chat/completions", json=body).json()
        usages.append(answer["usage"])
        if number == 3:
            break
        call = {"id": f"call{number}", "type": "function", "function": {"name": "search", "arguments": "{}"}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        result = f"result {number}: " + "the river is cold. " * 300 + "[[tokens=3 pace=1 first=1]]"
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    assert cached[:2] == [0, 0]
    assert cached[3] > usages[2]["prompt_tokens"] * 0.95, "all that the request before had"
