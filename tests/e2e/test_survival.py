"""Answers that survive: clients that come back, a Stop that stops, repeated sends, environments that die."""

import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.chat import Person, Streamed, text_of
from tests.stack import RunningStack


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
    return found


def follow_to_the_end(person: Person, conversation: str, seen: Streamed) -> str:
    """What a client shows that came back as often as it took."""
    text = seen.text
    while True:
        rest = person.resume(conversation, seen.cursor)
        text += rest.text
        if rest.kinds[-1] in {"complete", "error"}:
            return text
        rest.cursor = rest.cursor or seen.cursor
        seen = rest


@pytest.mark.parametrize("seed", range(4))
def test_a_client_that_comes_back_misses_nothing_and_sees_nothing_twice(stack: RunningStack, seed: int) -> None:
    """Twenty cuts of a 1000-token answer in all, five at a time."""
    dice = random.Random(seed)  # noqa: S311  # the same cuts every time

    def cut(number: int, at: int) -> None:
        with Person(stack) as person:
            conversation = f"cut-{seed}-{number:04}"
            text = f"Tell me about river {number} 🌊 [[tokens=1000 pace=8 first=50]]"
            seen = person.leave(text, at, conversationId=conversation)
            shown = follow_to_the_end(person, conversation, seen)
            stored = until(lambda: person.messages(conversation)[1:], 20)
            assert shown == text_of(stored[0])
            assert len(shown.split()) == 1000

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(cut, range(5), [dice.randint(1, 900) for _ in range(5)]))


def test_two_followers_and_the_sender_read_the_same(person: Person) -> None:
    answers: list[Streamed] = []
    sending = threading.Thread(
        target=lambda: answers.append(person.say("[[tokens=150 pace=20 first=50]] rivers", conversationId="followed"))
    )
    sending.start()
    until(lambda: any(each["id"] == "followed" for each in person.conversations()))
    with ThreadPoolExecutor(2) as pool:
        followed = list(pool.map(lambda _: person.resume("followed"), range(2)))
    sending.join()
    for each in followed:
        assert each.kinds[0] == "start"
        assert each.kinds[-1] == "complete"
        assert each.text == answers[0].text
        assert each.start["messageId"] == answers[0].start["messageId"]


def test_an_answer_that_ended_meanwhile_is_read_to_its_end(person: Person) -> None:
    seen = person.leave("[[tokens=50 pace=2 first=1]] rivers", 10, conversationId="ended-meanwhile")
    until(lambda: person.messages("ended-meanwhile")[1:])
    rest = person.resume("ended-meanwhile", seen.cursor)
    assert rest.kinds[-1] == "complete"
    assert seen.text + rest.text == text_of(rest.end["aiMessage"])
    assert rest.end["usage"]["basis"] == "exact"


def test_a_slow_table_changes_nothing_for_who_comes_back(stack: RunningStack) -> None:
    with Person(stack) as person:
        stack.faults(table={"delayMs": 150})
        try:
            seen = person.leave("[[tokens=120 pace=20 first=50]] rivers", 40, conversationId="slow-table")
            shown = follow_to_the_end(person, "slow-table", seen)
        finally:
            stack.faults(table={"delayMs": 0})
        assert shown == text_of(person.messages("slow-table")[-1])


@pytest.mark.xdist_group("survival-failing-table")
@pytest.mark.parametrize(
    ("path", "last"),
    [
        ("/chat/{}/stream?dialect=plain", "data: [DONE]"),
        ("/ai/chat/{}/stream", "data: [DONE]"),
        ("/chat/{}/stream", '"type":"complete"'),
    ],
)
def test_a_table_that_fails_for_a_moment_cuts_off_nobody_who_follows(person: Person, path: str, last: str) -> None:
    person.warm(2)
    seen = person.leave("[[tokens=200 pace=20 first=50]] rivers", 3, conversationId="brief-failure")
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(person.http.get, person.stack.url + path.format("brief-failure"))
        time.sleep(1)
        person.stack.faults(table={"failForMs": 1500})
        shown = following.result().text
    assert last in shown.rstrip().rpartition("\n")[2]
    assert '"error' not in shown
    told = [json.loads(line[6:]) for line in shown.splitlines() if line.startswith("data: {")]
    text = "".join(each.get("content") or each.get("delta") or "" for each in told)
    assert text == text_of(person.messages(seen.start["conversationId"])[-1])


def test_nothing_runs_and_nothing_is_asked_for(person: Person) -> None:
    person.say("[[tokens=2 pace=1 first=1]]", conversationId="quiet-one")
    answer = person.http.get(f"{person.stack.url}/chat/quiet-one/stream")
    assert answer.status_code == 204


def test_a_newer_attach_of_the_same_tab_ends_the_older(person: Person) -> None:
    person.leave("[[tokens=200 pace=20 first=50]] rivers", 5, conversationId="two-tabs")
    ended: list[Streamed] = []
    older = threading.Thread(target=lambda: ended.append(person.resume("two-tabs", client="tab-1")))
    older.start()
    time.sleep(0.6)
    newer = person.resume("two-tabs", client="tab-1")
    older.join(5)
    assert newer.kinds[-1] == "complete"
    assert ended[0].kinds[-1] not in {"complete", "error"}


def test_at_most_five_follow_one_answer(person: Person) -> None:
    person.warm(7)
    person.leave("[[tokens=300 pace=30 first=50]] rivers", 3, conversationId="much-crowded")
    with ThreadPoolExecutor(5) as pool:
        followers = [pool.submit(person.resume, "much-crowded", client=f"tab-{number}") for number in range(5)]
        time.sleep(0.8)
        sixth = person.http.get(f"{person.stack.url}/chat/much-crowded/stream")
        assert (sixth.status_code, sixth.json()["error"]["code"]) == (429, "too_many_followers")
        assert all(each.result().kinds[-1] == "complete" for each in followers)


@pytest.mark.parametrize("cursor", ["nonsense", "gid:", "gid:-1", "gid:1e3", ":5"])
def test_a_cursor_that_is_none_is_refused(person: Person, cursor: str) -> None:
    person.say("[[tokens=2 pace=1 first=1]]", conversationId="cursor-test")
    answer = person.http.get(f"{person.stack.url}/chat/cursor-test/stream", params={"after": cursor})
    assert answer.status_code == 400


# Stop

MOMENTS = {
    "before the headers": ("[[fault=stall-headers]]", 0, 3.4),
    "before the first token": ("[[fault=slow-first ms=60000]]", 0, 3.4),
    "in the middle": ("[[tokens=2000 pace=20 first=50]]", 20, 1.9),
    "of a silent model": ("[[fault=stall at=10]] [[pace=20 first=50]]", 10, 3.4),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("door", ["url", "gateway"])
def test_stop_stops_the_model(person: Person, moment: str, door: str) -> None:
    directive, tokens, within = MOMENTS[moment]
    answers: list[Streamed] = []
    text, conversation = f"{directive} rivers {moment} {door}", "stop-it-now"
    sending = threading.Thread(target=lambda: answers.append(person.say(text, conversationId=conversation)))
    sending.start()

    def asked() -> Any:
        records = [each for each in person.stack.requests() if text in str(each["body"])]
        return records and records[-1]

    until(asked)
    if tokens:
        time.sleep(0.6)
    begun = time.monotonic()
    stopped = person.cancel(conversation, door=getattr(person.stack, door))
    assert stopped.status_code == 202
    until(lambda: asked()["state"] == "client-closed")
    assert time.monotonic() - begun < within, "one flush interval and a little"
    sending.join(10)
    end = answers[0].end
    assert (end["type"], end["finishReason"]) == ("complete", "cancelled")
    stored = person.messages(conversation)[-1]
    assert (stored["status"], stored["finishReason"]) == ("partial", "cancelled")
    assert text_of(stored) == answers[0].text
    if tokens:
        assert end["usage"]["basis"] == "estimated"
    assert person.say("and now? [[tokens=2 pace=1 first=1]]", conversationId=conversation).kinds[-1] == "complete"


@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(150)])])
def test_a_client_that_stops_reading_holds_up_neither_the_lease_nor_stop(person: Person, seconds: int) -> None:
    text, conversation = f"[[tokens=5000 pace=20 first=50]] unread {seconds}", "nobody-reads"
    body = {"message": {"text": text}, "conversationId": conversation}
    with person.http.stream("POST", f"{person.stack.url}/chat", json=body) as response:
        next(response.iter_raw(1))
        end = time.monotonic() + seconds
        while time.monotonic() < end:  # each of these would end a generation whose lease had run out
            time.sleep(1)
            assert person.http.get(f"{person.stack.gateway}/conversations/{conversation}").json()["active"]
        assert person.cancel(conversation).status_code == 202
        stored = until(lambda: person.messages(conversation)[1:])
    assert stored[0]["finishReason"] == "cancelled"
    assert len(text_of(stored[0]).split()) > 20 * seconds
    asked = [each for each in person.stack.requests() if text in str(each["body"])]
    assert [each["state"] for each in asked] == ["client-closed"]


def test_stop_on_a_resumed_stream(person: Person) -> None:
    seen = person.leave("[[tokens=500 pace=20 first=50]] rivers", 20, conversationId="stop-resumed")
    ended: list[Streamed] = []
    following = threading.Thread(target=lambda: ended.append(person.resume("stop-resumed", seen.cursor)))
    following.start()
    time.sleep(0.5)
    assert person.cancel("stop-resumed", generationId=seen.start["generationId"]).status_code == 202
    following.join(10)
    assert ended[0].end["finishReason"] == "cancelled"
    assert seen.text + ended[0].text == text_of(person.messages("stop-resumed")[-1])


def test_a_stop_of_another_answer_is_refused(person: Person) -> None:
    seen = person.leave("[[tokens=100 pace=20 first=50]] rivers", 5, conversationId="other-answer")
    refused = person.cancel("other-answer", generationId="another-generation")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_active")
    assert person.resume("other-answer", seen.cursor).end["finishReason"] == "stop"


# Sending again


@pytest.mark.parametrize("named", [True, False], ids=["with a conversation id", "without"])
def test_the_same_send_five_times_at_once_is_one_model_call(person: Person, named: bool) -> None:
    text = f"[[tokens=60 pace=20 first=50]] once only {named}"
    body = {"conversationId": "sent-five-times"} if named else {}
    with ThreadPoolExecutor(5) as pool:
        sends = [pool.submit(person.say, text, headers={"idempotency-key": f"key-{named}"}, **body) for _ in range(5)]
        answers = [send.result() for send in sends]
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.start["messageId"] for answer in answers}) == 1
    assert all(answer.kinds[-1] == "complete" for answer in answers)
    assert sum(text in str(each["body"]) for each in person.stack.requests()) == 1
    assert len(person.messages(answers[0].start["conversationId"])) == 2


def test_a_key_that_was_used_for_another_message(person: Person) -> None:
    headers = {"idempotency-key": "used-before"}
    person.say("[[tokens=2 pace=1 first=1]] one", headers=headers)
    again = person.http.post(f"{person.stack.url}/chat", json={"message": {"text": "two"}}, headers=headers)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "idempotency_key_reused")


def test_a_repeated_send_through_the_gateway_is_told_to_wait_or_gets_the_answer(person: Person) -> None:
    headers, body = {"idempotency-key": "buffered"}, {"message": {"text": "[[tokens=100 pace=20 first=50]] rivers"}}
    url = f"{person.stack.gateway}/chat"
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(person.http.post, url, json=body, headers=headers) for _ in range(2))
        assert first.result().json()["aiMessage"] == second.result().json()["aiMessage"]
    third = person.http.post(url, json=body, headers=headers)
    assert third.json()["aiMessage"] == first.result().json()["aiMessage"]


def test_one_answer_at_a_time_in_a_conversation(person: Person) -> None:
    seen = person.leave("[[tokens=100 pace=20 first=50]] rivers", 3, conversationId="one-at-a-time")
    busy = person.http.post(
        f"{person.stack.url}/chat", json={"message": {"text": "me too"}, "conversationId": "one-at-a-time"}
    )
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "conversation_busy")
    assert busy.json()["error"]["generationId"] == seen.start["generationId"]


# Again, and on


def test_an_answer_is_made_again_in_its_place(person: Person) -> None:
    first = person.say("Tell me about rivers [[pace=1 first=1]]", conversationId="made-again")
    again = person.act("regenerate", "made-again")
    assert again.kinds[-1] == "complete"
    assert again.start["messageId"] != first.start["messageId"]
    stored = person.messages("made-again")
    assert [message["role"] for message in stored] == ["user", "assistant"]
    assert stored[1]["id"] == again.start["messageId"]
    assert [message["role"] for message in person.stack.requests()[-1]["body"]["messages"]] == ["user"]
    assert person.say("and now? [[tokens=2 pace=1 first=1]]", conversationId="made-again").kinds[-1] == "complete"
    assert len(person.messages("made-again")) == 4


def test_an_answer_that_is_stopped_before_anything_new_came_leaves_the_old_one(person: Person) -> None:
    conversation = "stopped-early"
    person.say("[[tokens=20 pace=1 first=3400]] rivers", conversationId=conversation)
    [good] = person.messages(conversation)[1:]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(person.act, "regenerate", conversation)
        url = f"{person.stack.gateway}/conversations/{conversation}"
        until(lambda: asked.done() or person.http.get(url).json().get("active"))
        person.cancel(conversation)
        stopped = asked.result()
    assert (stopped.kinds[-1], stopped.end["finishReason"]) == ("complete", "cancelled")
    assert stopped.end["aiMessage"] == good
    assert person.messages(conversation)[1:] == [good]
    seen_later = person.resume(conversation, f"{stopped.start['generationId']}:0")
    assert seen_later.end["aiMessage"] == good
    again = person.act("regenerate", conversation)
    assert person.messages(conversation)[1]["id"] == again.start["messageId"]


def test_an_answer_that_was_stopped_goes_on(person: Person) -> None:
    seen = person.leave("[[tokens=500 pace=20 first=50]] rivers", 30, conversationId="goes-on-now")
    person.cancel("goes-on-now")
    until(lambda: person.messages("goes-on-now")[1:])
    stopped = text_of(person.messages("goes-on-now")[1])
    assert stopped.startswith(seen.text)
    more = person.act("continue", "goes-on-now")
    assert more.kinds[-1] == "complete"
    assert text_of(more.end["aiMessage"]) == stopped + more.text
    [_, answer] = person.messages("goes-on-now")
    assert text_of(answer) == stopped + more.text
    assert int(more.cursor.rpartition(":")[2]) == len(stopped + more.text)
    assert person.resume("goes-on-now", f"{more.start['generationId']}:0").text == stopped + more.text


@pytest.mark.parametrize("action", ["regenerate", "continue"])
def test_there_must_be_an_answer_to_go_on_from(person: Person, action: str) -> None:
    body = {"action": action, "conversationId": "nothing-here"}
    refused = person.http.post(f"{person.stack.url}/chat", json=body)
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "action")
    assert person.conversations() == []


# Death


def test_an_environment_that_is_killed_leaves_a_partial_answer_and_nobody_stuck(person: Person) -> None:
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
    assert person.say("and now? [[tokens=2 pace=1 first=1]]", conversationId="doomed-one").kinds[-1] == "complete"


@pytest.mark.xdist_group("survival-failing-table")
def test_a_table_that_fails_for_three_seconds_loses_nothing(person: Person) -> None:
    person.warm(1)
    answers: list[Streamed] = []
    sending = threading.Thread(
        target=lambda: answers.append(person.say("[[tokens=300 pace=20 first=50]] rivers", conversationId="bad-table"))
    )
    sending.start()
    time.sleep(1.5)
    person.stack.faults(table={"failForMs": 3000})
    sending.join(20)
    assert answers[0].kinds[-1] == "complete"
    assert len(answers[0].text.split()) == 300
    assert text_of(person.messages("bad-table")[-1]) == answers[0].text


def test_a_table_that_stays_away_ends_the_answer(person: Person) -> None:
    answers: list[Streamed] = []
    sending = threading.Thread(
        target=lambda: answers.append(person.say("[[tokens=900 pace=20 first=50]] rivers", conversationId="no-table"))
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
    assert "messageId" not in answers[0].end, "nothing is named that could not be stored"
    assert person.stack.requests()[-1]["state"] == "client-closed", "the model is not paid for longer"


# Ownership and deletion


def test_nobody_else_can_follow_stop_or_change_it(person: Person, other: Person) -> None:
    seen = person.leave("[[tokens=100 pace=20 first=50]] secret", 3, conversationId="not-theirs")
    gateway, url = person.stack.gateway, person.stack.url
    attempts = [
        other.http.get(f"{url}/chat/not-theirs/stream"),
        other.http.get(f"{url}/chat/not-theirs/stream", headers={"last-event-id": seen.cursor}),
        other.http.post(f"{url}/chat/not-theirs/cancel", json={}),
        other.http.post(f"{gateway}/chat/not-theirs/cancel", json={"generationId": seen.start["generationId"]}),
        other.http.get(f"{gateway}/conversations/not-theirs"),
        other.http.patch(f"{gateway}/conversations/not-theirs", json={"title": "mine"}),
        other.http.delete(f"{gateway}/conversations/not-theirs"),
        other.http.get(f"{gateway}/conversations/not-theirs/messages"),
    ]
    assert [attempt.status_code for attempt in attempts] == [404] * len(attempts)
    other.say("[[tokens=2 pace=1 first=1]]", conversationId="not-theirs")
    theirs = other.http.get(f"{url}/chat/not-theirs/stream", headers={"last-event-id": seen.cursor})
    assert (theirs.status_code, theirs.text) == (204, ""), "as for a log that is gone"
    assert person.resume("not-theirs", seen.cursor).end["finishReason"] == "stop"


def test_a_deleted_conversation_never_comes_back(person: Person) -> None:
    gateway = person.stack.gateway
    text = "[[tokens=500 pace=20 first=50]] delete me"
    person.leave(text, 5, conversationId="deleted-mid-answer")
    assert person.http.delete(f"{gateway}/conversations/deleted-mid-answer").status_code == 204
    until(lambda: [each for each in person.stack.requests() if text in str(each["body"])][-1]["state"] != "open")
    time.sleep(0.5)
    assert person.conversations() == []
    assert person.http.get(f"{gateway}/conversations/deleted-mid-answer/messages").status_code == 404
    assert person.http.get(f"{person.stack.url}/chat/deleted-mid-answer/stream").status_code == 404
    again = person.http.post(
        f"{person.stack.url}/chat", json={"message": {"text": "hi"}, "conversationId": "deleted-mid-answer"}
    )
    assert again.status_code == 404


def test_conversations_are_created_renamed_and_shown(person: Person) -> None:
    gateway = person.stack.gateway
    created = person.http.post(f"{gateway}/conversations", json={"title": "Rivers"})
    assert created.status_code == 201
    conversation = created.json()["id"]
    person.say("[[tokens=2 pace=1 first=1]]", conversationId=conversation)
    renamed = person.http.patch(f"{gateway}/conversations/{conversation}", json={"title": "Lakes"})
    assert renamed.json()["title"] == "Lakes"
    assert person.http.get(f"{gateway}/conversations/{conversation}").json()["title"] == "Lakes"
    assert [each["title"] for each in person.conversations()] == ["Lakes"]
    again = person.http.post(f"{gateway}/conversations", json={"id": conversation})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "exists")
