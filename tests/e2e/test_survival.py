"""Durable answers: resumed clients, cancellation, repeated sends, and environments that die."""

import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.chat import Person, StreamedAnswer, text_of
from tests.stack import RunningStack


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "the condition is not true in time"
        time.sleep(0.02)
    return result


def follow_to_the_end(person: Person, conversation: str, received: StreamedAnswer) -> str:
    """Resumes until the end of the answer. Returns the text that the client has received."""
    text = received.text
    while True:
        rest = person.resume(conversation, received.cursor)
        text += rest.text
        if rest.kinds[-1] in {"complete", "error"}:
            return text
        rest.cursor = rest.cursor or received.cursor
        received = rest


@pytest.mark.parametrize("seed", range(4))
def test_a_resumed_client_receives_every_token_once(stack: RunningStack, seed: int) -> None:
    """Five disconnects per seed, concurrently, during answers of 1000 tokens."""
    cuts = random.Random(seed)  # noqa: S311  # reproducible

    def resume_after_disconnect(number: int, at: int) -> None:
        with Person(stack) as person:
            conversation = f"cut-{seed}-{number:04}"
            text = f"Tell me about river {number} 🌊 [[tokens=1000 pace=8 first=50]]"
            received = person.send_and_disconnect(text, at, conversationId=conversation)
            received_text = follow_to_the_end(person, conversation, received)
            stored = until(lambda: person.messages(conversation)[1:], 20)
            assert received_text == text_of(stored[0])
            assert len(received_text.split()) == 1000

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(resume_after_disconnect, range(5), [cuts.randint(1, 900) for _ in range(5)]))


def test_two_followers_receive_the_same_text_as_the_sender(person: Person) -> None:
    answers: list[StreamedAnswer] = []
    sending = threading.Thread(
        target=lambda: answers.append(person.send("[[tokens=150 pace=20 first=50]] rivers", conversationId="followed"))
    )
    sending.start()
    until(lambda: any(item["id"] == "followed" for item in person.conversations()))
    with ThreadPoolExecutor(2) as pool:
        followed = list(pool.map(lambda _: person.resume("followed"), range(2)))
    sending.join()
    for answer in followed:
        assert answer.kinds[0] == "start"
        assert answer.kinds[-1] == "complete"
        assert answer.text == answers[0].text
        assert answer.start["messageId"] == answers[0].start["messageId"]


def test_an_ended_answer_can_be_resumed(person: Person) -> None:
    received = person.send_and_disconnect("[[tokens=50 pace=2 first=1]] rivers", 10, conversationId="ended-answer")
    until(lambda: person.messages("ended-answer")[1:])
    rest = person.resume("ended-answer", received.cursor)
    assert rest.kinds[-1] == "complete"
    assert received.text + rest.text == text_of(rest.end["aiMessage"])
    assert rest.end["usage"]["basis"] == "exact"


def test_resume_works_with_a_slow_table(stack: RunningStack) -> None:
    with Person(stack) as person:
        stack.faults(table={"delayMs": 150})
        try:
            received = person.send_and_disconnect(
                "[[tokens=120 pace=20 first=50]] rivers", 40, conversationId="slow-table"
            )
            received_text = follow_to_the_end(person, "slow-table", received)
        finally:
            stack.faults(table={"delayMs": 0})
        assert received_text == text_of(person.messages("slow-table")[-1])


@pytest.mark.xdist_group("survival-failing-table")
@pytest.mark.parametrize(
    ("path", "last"),
    [
        ("/chat/{}/stream?dialect=plain", "data: [DONE]"),
        ("/ai/chat/{}/stream", "data: [DONE]"),
        ("/chat/{}/stream", '"type":"complete"'),
    ],
)
def test_followers_continue_after_a_short_table_failure(person: Person, path: str, last: str) -> None:
    person.warm(2)
    received = person.send_and_disconnect("[[tokens=200 pace=20 first=50]] rivers", 3, conversationId="brief-failure")
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(person.http.get, person.stack.url + path.format("brief-failure"))
        time.sleep(1)
        person.stack.faults(table={"failForMs": 1500})
        body = following.result().text
    assert last in body.rstrip().rpartition("\n")[2]
    assert '"error' not in body
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    text = "".join(event.get("content") or event.get("delta") or "" for event in events)
    assert text == text_of(person.messages(received.start["conversationId"])[-1])


def test_resume_without_a_running_answer_is_204(person: Person) -> None:
    person.send("[[tokens=2 pace=1 first=1]]", conversationId="quiet-one")
    answer = person.http.get(f"{person.stack.url}/chat/quiet-one/stream")
    assert answer.status_code == 204


def test_a_new_attach_of_the_same_client_ends_the_older_one(person: Person) -> None:
    person.warm(3)  # otherwise a cold start may take as long as the answer
    person.send_and_disconnect("[[tokens=200 pace=20 first=50]] rivers", 5, conversationId="two-tabs")
    ended: list[StreamedAnswer] = []
    older = threading.Thread(target=lambda: ended.append(person.resume("two-tabs", client="tab-1")))
    older.start()
    time.sleep(0.6)
    newer = person.resume("two-tabs", client="tab-1")
    older.join(5)
    assert newer.kinds[-1] == "complete"
    assert ended[0].kinds[-1] not in {"complete", "error"}


def test_a_sixth_follower_is_refused(person: Person) -> None:
    person.warm(7)
    person.send_and_disconnect("[[tokens=300 pace=30 first=50]] rivers", 3, conversationId="much-crowded")
    with ThreadPoolExecutor(5) as pool:
        followers = [pool.submit(person.resume, "much-crowded", client=f"tab-{number}") for number in range(5)]
        time.sleep(0.8)
        sixth = person.http.get(f"{person.stack.url}/chat/much-crowded/stream")
        assert (sixth.status_code, sixth.json()["error"]["code"]) == (429, "too_many_followers")
        assert all(follower.result().kinds[-1] == "complete" for follower in followers)


@pytest.mark.parametrize("cursor", ["nonsense", "gid:", "gid:-1", "gid:1e3", ":5"])
def test_an_invalid_cursor_is_refused(person: Person, cursor: str) -> None:
    person.send("[[tokens=2 pace=1 first=1]]", conversationId="cursor-test")
    answer = person.http.get(f"{person.stack.url}/chat/cursor-test/stream", params={"after": cursor})
    assert answer.status_code == 400


# Cancellation

MOMENTS = {
    "before the headers": ("[[fault=stall-headers]]", 0, 3.4),
    "before the first token": ("[[fault=slow-first ms=60000]]", 0, 3.4),
    "in the middle": ("[[tokens=2000 pace=20 first=50]]", 20, 1.9),
    "of a silent model": ("[[fault=stall at=10]] [[pace=20 first=50]]", 10, 3.4),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("entry_point", ["url", "gateway"])
def test_a_cancellation_ends_the_model_call(person: Person, moment: str, entry_point: str) -> None:
    directive, tokens, within = MOMENTS[moment]
    answers: list[StreamedAnswer] = []
    text, conversation = f"{directive} rivers {moment} {entry_point}", "stop-it-now"
    sending = threading.Thread(target=lambda: answers.append(person.send(text, conversationId=conversation)))
    sending.start()

    def model_request() -> Any:
        records = [record for record in person.stack.requests() if text in str(record["body"])]
        return records and records[-1]

    until(model_request)
    if tokens:
        time.sleep(0.6)
    started_at = time.monotonic()
    stopped = person.cancel(conversation, entry_point=getattr(person.stack, entry_point))
    assert stopped.status_code == 202
    until(lambda: model_request()["state"] == "client-closed")
    assert time.monotonic() - started_at < within, "one flush interval and some tolerance"
    sending.join(10)
    end = answers[0].end
    assert (end["type"], end["finishReason"]) == ("complete", "cancelled")
    stored = person.messages(conversation)[-1]
    assert (stored["status"], stored["finishReason"]) == ("partial", "cancelled")
    assert text_of(stored) == answers[0].text
    if tokens:
        assert end["usage"]["basis"] == "estimated"
    assert person.send("and now? [[tokens=2 pace=1 first=1]]", conversationId=conversation).kinds[-1] == "complete"


@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(150)])])
def test_a_client_that_stops_reading_delays_neither_the_lease_nor_a_cancellation(person: Person, seconds: int) -> None:
    text, conversation = f"[[tokens=5000 pace=20 first=50]] unread {seconds}", "unread-answer"
    body = {"message": {"text": text}, "conversationId": conversation}
    with person.http.stream("POST", f"{person.stack.url}/chat", json=body) as response:
        next(response.iter_raw(1))
        end = time.monotonic() + seconds
        while time.monotonic() < end:  # each request would end a generation with an expired lease
            time.sleep(1)
            assert person.http.get(f"{person.stack.gateway}/conversations/{conversation}").json()["active"]
        assert person.cancel(conversation).status_code == 202
        stored = until(lambda: person.messages(conversation)[1:])
    assert stored[0]["finishReason"] == "cancelled"
    assert len(text_of(stored[0]).split()) > 20 * seconds
    records = [record for record in person.stack.requests() if text in str(record["body"])]
    assert [record["state"] for record in records] == ["client-closed"]


def test_a_resumed_stream_can_be_cancelled(person: Person) -> None:
    received = person.send_and_disconnect("[[tokens=500 pace=20 first=50]] rivers", 20, conversationId="stop-resumed")
    ended: list[StreamedAnswer] = []
    following = threading.Thread(target=lambda: ended.append(person.resume("stop-resumed", received.cursor)))
    following.start()
    time.sleep(0.5)
    assert person.cancel("stop-resumed", generationId=received.start["generationId"]).status_code == 202
    following.join(10)
    assert ended[0].end["finishReason"] == "cancelled"
    assert received.text + ended[0].text == text_of(person.messages("stop-resumed")[-1])


def test_a_cancellation_of_another_generation_is_refused(person: Person) -> None:
    received = person.send_and_disconnect("[[tokens=100 pace=20 first=50]] rivers", 5, conversationId="other-answer")
    refused = person.cancel("other-answer", generationId="another-generation")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_active")
    assert person.resume("other-answer", received.cursor).end["finishReason"] == "stop"


# Repeated sends


@pytest.mark.parametrize("named", [True, False], ids=["with a conversation id", "without a conversation id"])
def test_five_concurrent_sends_with_one_key_call_the_model_once(person: Person, named: bool) -> None:
    text = f"[[tokens=60 pace=20 first=50]] once only {named}"
    body = {"conversationId": "sent-five-times"} if named else {}
    with ThreadPoolExecutor(5) as pool:
        sends = [pool.submit(person.send, text, headers={"idempotency-key": f"key-{named}"}, **body) for _ in range(5)]
        answers = [send.result() for send in sends]
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.start["messageId"] for answer in answers}) == 1
    assert all(answer.kinds[-1] == "complete" for answer in answers)
    assert sum(text in str(record["body"]) for record in person.stack.requests()) == 1
    assert len(person.messages(answers[0].start["conversationId"])) == 2


def test_a_key_reused_for_another_message_is_refused(person: Person) -> None:
    headers = {"idempotency-key": "used-before"}
    person.send("[[tokens=2 pace=1 first=1]] one", headers=headers)
    again = person.http.post(f"{person.stack.url}/chat", json={"message": {"text": "two"}}, headers=headers)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "idempotency_key_reused")


def test_a_repeated_buffered_send_gets_the_same_answer(person: Person) -> None:
    headers, body = {"idempotency-key": "buffered"}, {"message": {"text": "[[tokens=100 pace=20 first=50]] rivers"}}
    url = f"{person.stack.gateway}/chat"
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(person.http.post, url, json=body, headers=headers) for _ in range(2))
        assert first.result().json()["aiMessage"] == second.result().json()["aiMessage"]
    third = person.http.post(url, json=body, headers=headers)
    assert third.json()["aiMessage"] == first.result().json()["aiMessage"]


def test_a_second_message_during_an_answer_gets_conversation_busy(person: Person) -> None:
    received = person.send_and_disconnect("[[tokens=100 pace=20 first=50]] rivers", 3, conversationId="one-at-a-time")
    busy = person.http.post(
        f"{person.stack.url}/chat", json={"message": {"text": "me too"}, "conversationId": "one-at-a-time"}
    )
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "conversation_busy")
    assert busy.json()["error"]["generationId"] == received.start["generationId"]


# Regenerate and continue


def test_a_regeneration_replaces_the_answer(person: Person) -> None:
    first = person.send("Tell me about rivers [[pace=1 first=1]]", conversationId="regenerated")
    again = person.request_action("regenerate", "regenerated")
    assert again.kinds[-1] == "complete"
    assert again.start["messageId"] != first.start["messageId"]
    stored = person.messages("regenerated")
    assert [message["role"] for message in stored] == ["user", "assistant"]
    assert stored[1]["id"] == again.start["messageId"]
    assert [message["role"] for message in person.stack.requests()[-1]["body"]["messages"]] == ["user"]
    assert person.send("and now? [[tokens=2 pace=1 first=1]]", conversationId="regenerated").kinds[-1] == "complete"
    assert len(person.messages("regenerated")) == 4


def test_a_regeneration_cancelled_before_its_first_token_keeps_the_old_answer(person: Person) -> None:
    conversation = "stopped-early"
    person.send("[[tokens=20 pace=1 first=3400]] rivers", conversationId=conversation)
    [good] = person.messages(conversation)[1:]
    with ThreadPoolExecutor(1) as pool:
        regeneration = pool.submit(person.request_action, "regenerate", conversation)
        url = f"{person.stack.gateway}/conversations/{conversation}"
        until(lambda: regeneration.done() or person.http.get(url).json().get("active"))
        person.cancel(conversation)
        stopped = regeneration.result()
    assert (stopped.kinds[-1], stopped.end["finishReason"]) == ("complete", "cancelled")
    assert stopped.end["aiMessage"] == good
    assert person.messages(conversation)[1:] == [good]
    seen_later = person.resume(conversation, f"{stopped.start['generationId']}:0")
    assert seen_later.end["aiMessage"] == good
    again = person.request_action("regenerate", conversation)
    assert person.messages(conversation)[1]["id"] == again.start["messageId"]


def test_a_cancelled_answer_can_be_continued(person: Person) -> None:
    received = person.send_and_disconnect("[[tokens=500 pace=20 first=50]] rivers", 30, conversationId="goes-on-now")
    person.cancel("goes-on-now")
    until(lambda: person.messages("goes-on-now")[1:])
    stopped = text_of(person.messages("goes-on-now")[1])
    assert stopped.startswith(received.text)
    more = person.request_action("continue", "goes-on-now")
    assert more.kinds[-1] == "complete"
    assert text_of(more.end["aiMessage"]) == stopped + more.text
    [_, answer] = person.messages("goes-on-now")
    assert text_of(answer) == stopped + more.text
    assert int(more.cursor.rpartition(":")[2]) == len(stopped + more.text)
    assert person.resume("goes-on-now", f"{more.start['generationId']}:0").text == stopped + more.text


@pytest.mark.parametrize("action", ["regenerate", "continue"])
def test_actions_without_an_answer_are_refused(person: Person, action: str) -> None:
    body = {"action": action, "conversationId": "nothing-here"}
    refused = person.http.post(f"{person.stack.url}/chat", json=body)
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "action")
    assert person.conversations() == []


# Failures


def test_a_killed_environment_leaves_a_partial_answer_and_a_usable_conversation(person: Person) -> None:
    body = {"message": {"text": "[[tokens=400 pace=50 first=50]] doomed"}, "conversationId": "doomed-one"}
    events: list[bytes] = []
    with person.http.stream("POST", f"{person.stack.url}/chat", json=body) as response:
        pieces = response.iter_raw()
        while sum(piece.count(b'"chunk"') for piece in events) < 60:
            events.append(next(pieces))
        person.stack.kill("StreamFunction")
        with pytest.raises(httpx.HTTPError):
            list(pieces)
    cursor = b"".join(events).decode().rpartition("id: ")[2].partition("\n")[0]
    rest = person.resume("doomed-one", cursor)
    assert rest.end["type"] == "complete"
    assert rest.end["finishReason"] == "lost"
    stored = person.messages("doomed-one")[-1]
    assert (stored["status"], stored["finishReason"]) == ("partial", "lost")
    ahead, durable = int(cursor.rpartition(":")[2]), len(text_of(stored))
    assert 0 < durable <= ahead
    assert [event["position"] for event in rest.events if event["type"] == "rollback"] == (
        [durable] if durable < ahead else []
    )
    assert person.send("and now? [[tokens=2 pace=1 first=1]]", conversationId="doomed-one").kinds[-1] == "complete"


@pytest.mark.xdist_group("survival-failing-table")
def test_an_answer_is_complete_after_a_table_failure_of_three_seconds(person: Person) -> None:
    person.warm(1)
    answers: list[StreamedAnswer] = []
    sending = threading.Thread(
        target=lambda: answers.append(person.send("[[tokens=300 pace=20 first=50]] rivers", conversationId="bad-table"))
    )
    sending.start()
    time.sleep(1.5)
    person.stack.faults(table={"failForMs": 3000})
    sending.join(20)
    assert answers[0].kinds[-1] == "complete"
    assert len(answers[0].text.split()) == 300
    assert text_of(person.messages("bad-table")[-1]) == answers[0].text


def test_a_permanent_table_failure_ends_the_answer(person: Person) -> None:
    answers: list[StreamedAnswer] = []
    sending = threading.Thread(
        target=lambda: answers.append(person.send("[[tokens=900 pace=20 first=50]] rivers", conversationId="no-table"))
    )
    sending.start()
    time.sleep(1)
    person.stack.faults(table={"failForMs": 60_000})
    try:
        sending.join(30)
    finally:
        person.stack.faults(table={})
    assert answers[0].end["type"] == "error"
    assert answers[0].end["code"] == "storage"
    assert "messageId" not in answers[0].end, "a message that was not stored has no id"
    assert person.stack.requests()[-1]["state"] == "client-closed", "the model call is cancelled"


# Ownership and deletion


def test_another_user_cannot_follow_cancel_or_change_a_conversation(person: Person, other: Person) -> None:
    received = person.send_and_disconnect("[[tokens=100 pace=20 first=50]] secret", 3, conversationId="of-another-user")
    gateway, url = person.stack.gateway, person.stack.url
    attempts = [
        other.http.get(f"{url}/chat/of-another-user/stream"),
        other.http.get(f"{url}/chat/of-another-user/stream", headers={"last-event-id": received.cursor}),
        other.http.post(f"{url}/chat/of-another-user/cancel", json={}),
        other.http.post(
            f"{gateway}/chat/of-another-user/cancel", json={"generationId": received.start["generationId"]}
        ),
        other.http.get(f"{gateway}/conversations/of-another-user"),
        other.http.patch(f"{gateway}/conversations/of-another-user", json={"title": "mine"}),
        other.http.delete(f"{gateway}/conversations/of-another-user"),
        other.http.get(f"{gateway}/conversations/of-another-user/messages"),
    ]
    assert [attempt.status_code for attempt in attempts] == [404] * len(attempts)
    other.send("[[tokens=2 pace=1 first=1]]", conversationId="of-another-user")
    other_response = other.http.get(f"{url}/chat/of-another-user/stream", headers={"last-event-id": received.cursor})
    assert (other_response.status_code, other_response.text) == (204, ""), "as for a log that does not exist"
    assert person.resume("of-another-user", received.cursor).end["finishReason"] == "stop"


def test_a_conversation_deleted_during_an_answer_stays_deleted(person: Person) -> None:
    gateway = person.stack.gateway
    text = "[[tokens=500 pace=20 first=50]] delete me"
    person.send_and_disconnect(text, 5, conversationId="deleted-mid-answer")
    assert person.http.delete(f"{gateway}/conversations/deleted-mid-answer").status_code == 204
    until(lambda: [record for record in person.stack.requests() if text in str(record["body"])][-1]["state"] != "open")
    time.sleep(0.5)
    assert person.conversations() == []
    assert person.http.get(f"{gateway}/conversations/deleted-mid-answer/messages").status_code == 404
    assert person.http.get(f"{person.stack.url}/chat/deleted-mid-answer/stream").status_code == 404
    again = person.http.post(
        f"{person.stack.url}/chat", json={"message": {"text": "hi"}, "conversationId": "deleted-mid-answer"}
    )
    assert again.status_code == 404


def test_conversations_are_created_renamed_and_listed(person: Person) -> None:
    gateway = person.stack.gateway
    created = person.http.post(f"{gateway}/conversations", json={"title": "Rivers"})
    assert created.status_code == 201
    conversation = created.json()["id"]
    person.send("[[tokens=2 pace=1 first=1]]", conversationId=conversation)
    renamed = person.http.patch(f"{gateway}/conversations/{conversation}", json={"title": "Lakes"})
    assert renamed.json()["title"] == "Lakes"
    assert person.http.get(f"{gateway}/conversations/{conversation}").json()["title"] == "Lakes"
    assert [item["title"] for item in person.conversations()] == ["Lakes"]
    again = person.http.post(f"{gateway}/conversations", json={"id": conversation})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "exists")
