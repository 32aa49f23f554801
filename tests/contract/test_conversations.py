"""Conversations of 20 turns in five languages with a small history: what each prompt has, and what is learned.

See tests/fixtures/conversations and `conversation_replay`.
"""

import random
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from converse_stream.container import Container
from converse_stream.memory.greetings import is_greeting
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.settings import Settings
from tests.contract.conversation_replay import LANGUAGES, End, Replay, Request, Stored, Turn, letters, named, read_turns
from tests.property.fake_table import FakeDynamo, NoFaults
from tests.unit.test_service import application

HISTORY_TOKENS = 1_500
CUT = re.compile(r"\n\[… \d+ characters are left out …\]\n")  # the mark in a shortened message

SETTINGS = {
    "table_name": "ChatTable",
    "auth_mode": "dev",
    "url_auth_type": "AWS_IAM",
    "inference_profile": "us",
    "history_tokens": HISTORY_TOKENS,
    "memory_milliseconds": 30_000,  # the machines are shared
    "user_requests_per_minute": 6_000,
    "user_burst": 1_000,
    "address_requests_per_minute": 60_000,
    "address_burst": 1_000,
}

Start = Callable[..., Replay]


@pytest.fixture(
    params=[
        "memory",
        pytest.param("moto", marks=pytest.mark.long),
        pytest.param("dynamodb_local", marks=pytest.mark.long),
    ]
)
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Returns a function that starts a conversation of a new user, with these settings.

    The table is in memory, which takes a tenth of the time; long tests use the servers too.
    """
    if request.param != "memory":
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", request.getfixturevalue(request.param).url)

    def start(tokens_factor: float | None = None, **changed: int) -> Replay:
        settings = SETTINGS | changed
        if request.param == "memory":
            return Replay(application(FakeDynamo(NoFaults()), **settings), tokens_factor)
        return Replay(Container(Settings.model_validate(settings)), tokens_factor)

    return start


@pytest.mark.parametrize("language", LANGUAGES)
def test_fixture_can_be_replayed(language: str) -> None:
    """The replay recognizes a message by its text, so no message is a part of another one."""
    turns = read_turns(language)
    texts = [letters(text) for turn in turns for text in (turn.user, turn.assistant)]
    assert len(turns) == 20
    assert [one for one in texts if sum(one in other for other in texts) > 1] == []
    assert [turn.user for turn in turns if turn.greeting and not is_greeting(turn.user)] == []
    assert sum(turn.secret for turn in turns) == 1
    facts = [fact for turn in turns for fact in turn.facts]
    assert len(facts) == len(set(facts))
    for turn in turns:
        assert turn.forgets is None or turn.forgets < facts.index(turn.facts[0])


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_prompt_has_the_last_exchange_and_the_facts_and_begins_where_the_one_before_began(
    start: Start, language: str
) -> None:
    turns, replay = read_turns(language), start()
    for index, turn in enumerate(turns):
        replay.send(index, turn)
        check_prompt(replay.requests[-1], HISTORY_TOKENS)
        assert current_facts(turns[:index]) <= facts_in(replay.requests[-1])
    for before, request in pairwise(replay.requests):
        check_move(before, request, HISTORY_TOKENS)
    assert 2 <= moves(replay.requests) <= max_moves(replay.messages(), HISTORY_TOKENS)
    assert current_facts(turns) <= set(replay.facts)
    assert replay.conversation.title == "A title"


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_message_is_in_the_history_or_the_summary_of_each_prompt(start: Start, language: str) -> None:
    replay = start()
    for index, turn in enumerate(read_turns(language)):
        replay.send(index, turn)
    assert lacking(replay.requests) == []


def test_each_message_is_in_the_history_or_the_summary_if_texts_have_twice_the_estimated_tokens(start: Start) -> None:
    replay = start(2.0)
    for index, turn in enumerate(read_turns("ru")):
        replay.send(index, turn)
    assert lacking(replay.requests) == []


@pytest.mark.xfail(reason="an answer that is in the summary is not summarized again", strict=True)
def test_regenerated_answer_is_in_the_history_or_the_summary(start: Start) -> None:
    replay, turns = start(), read_turns("en")
    replay.send(0, turns[4])  # long enough to be summarized at once
    replay.regenerate(turns[8].assistant)
    for index, turn in enumerate(turns[5:8], 1):
        replay.send(index, turn)
    answer = replay.messages()[1]
    assert answer.text == turns[8].assistant
    assert answer.number in in_history(replay.requests[-1]) or replay.was_given(answer)


@pytest.mark.parametrize("language", LANGUAGES)
def test_secret_that_the_small_model_gives_as_a_fact_is_not_stored(start: Start, language: str) -> None:
    [turn] = [turn for turn in read_turns(language) if turn.secret]
    replay = start()
    replay.send(0, turn)
    assert turn.refused_facts
    assert replay.facts == []


@pytest.mark.long
@pytest.mark.parametrize("start", ["memory"], indirect=True)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("language", LANGUAGES)
def test_prompts_are_complete_with_cancelled_lost_regenerated_and_continued_answers(
    start: Start, language: str, seed: int
) -> None:
    """`seed` also chooses how many messages are read, and whether the estimate of tokens is too high."""
    chance = random.Random(f"{language} {seed}")  # noqa: S311  # not for security
    factor, limit = chance.choice([None, 0.6]), chance.choice([10, 60])
    replay, turns = start(factor, history_messages=limit), read_turns(language)
    learned: list[Turn] = []
    for index, turn in enumerate(turns):
        end: End = chance.choice(["cancelled", "lost"]) if index % 3 == 2 else "stop"
        replay.send(index, turn, end)
        answer = replay.messages()[-1].text
        action = chance.choice(["", "regenerate", "continue"] if end != "stop" else ["", "", "", "regenerate"])
        if action == "regenerate":
            replay.regenerate(f"Take two, number {index}. {turn.assistant}")
        elif action == "continue":
            replay.resume(turn.assistant[len(answer) :])
            assert replay.messages()[-1].text == turn.assistant
        if action or end != "lost":
            learned.append(turn)
    for request in replay.requests:
        check_prompt(request, int(HISTORY_TOKENS / (factor or 1)))
    assert lacking(replay.requests) == []
    moves_by_count = len(replay.messages()) / (limit / 2 - 1)  # half of the messages, from a user's message on
    assert 1 <= moves(replay.requests) <= max_moves(replay.messages(), HISTORY_TOKENS) + moves_by_count
    assert current_facts(learned) <= set(replay.facts)
    assert replay.conversation.title == "A title"


def check_prompt(request: Request, budget: int) -> None:
    """The roles alternate. The history fits into `budget` tokens and has the last exchange, shortened if too long."""
    prompt, where = request.prompt, f"turn {request.turn}, {request.action}"
    roles = [turn.role for turn in (*prompt.history, prompt.turn)]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"], where
    size = sum(map(estimate_tokens, history_texts(request)))
    assert size <= budget, where
    kept = in_history(request)
    answered = [each.number for each in allowed(request) if each.role == "assistant" and each.text.strip()]
    if answered:
        exchange = [each for each in allowed(request) if answered[-1] - 1 <= each.number]
        assert {each.number for each in exchange if each.text.strip()} <= kept, where
    whole = [each for each in allowed(request) if each.number in kept]
    if any(CUT.search(text) for text in history_texts(request)):
        assert sum(estimate_tokens(each.text) for each in whole) > HISTORY_TOKENS, where


def allowed(request: Request) -> Sequence[Stored]:
    """The messages that the history may have: a regenerated answer and its question are not in it."""
    return request.before[:-2] if request.action == "regenerate" else request.before


def history_texts(request: Request) -> list[str]:
    """The texts of the history in the prompt, with the unanswered messages before the new one."""
    prompt = request.prompt
    return [str(content) for turn in (*prompt.history, prompt.turn) for content in turn.content][:-1]


def in_history(request: Request) -> set[int]:
    """The numbers of the messages whose texts are in the history, also of shortened ones."""
    texts, numbers = history_texts(request), set[int]()
    for message in allowed(request):
        if len(numbers) < len(texts) and _is_of(texts[len(numbers)], message.text):
            numbers.add(message.number)
    assert len(numbers) == len(texts), f"turn {request.turn}: an unknown text in the history"
    return numbers


def _is_of(text: str, message: str) -> bool:
    match CUT.split(text):
        case [head, tail]:
            return message.startswith(head) and message.endswith(tail)
    return text == message


def lacking(requests: Sequence[Request]) -> list[tuple[int, int, int]]:
    """The messages that a prompt has neither in its history nor in its summary: turn, number, and length of the text.

    The task that extends the summary is not started for a lost answer. So the prompts directly after it do not count.
    An answer that was replaced is in the summary if one of its texts is.
    """
    found = []
    for request in requests:
        if request.is_after_lost:
            continue
        present = in_history(request) | (named(request.prompt.summary) & request.given)
        found += [
            (request.turn, each.number, len(each.text))
            for each in allowed(request)
            if each.text.strip() and each.number not in present
        ]
    return found


def check_move(before: Request, request: Request, budget: int) -> None:
    """The history begins where it began before, unless it is full. Then half of it is left, or the last exchange."""
    began = before.prompt.omitted.messages + 1
    if request.prompt.omitted.messages + 1 == began:
        return
    where, sizes = f"turn {request.turn}", {each.number: estimate_tokens(each.text) for each in request.before}
    assert sum(size for number, size in sizes.items() if number >= began) > budget, where
    kept = in_history(request)
    assert 2 * sum(sizes[number] for number in kept) <= budget or len(kept) == 2, where


def moves(requests: Sequence[Request]) -> int:
    """How many times the history begins at another message than in the prompt before."""
    return sum(one.prompt.omitted.messages != other.prompt.omitted.messages for one, other in pairwise(requests))


def max_moves(messages: Sequence[Stored], budget: int) -> float:
    """The bound for the moves. After a move the history has half of the budget, or one exchange that is larger.

    So between two moves half of the budget is added, unless the history began with such an exchange.
    """
    sizes = [estimate_tokens(each.text) for each in messages]
    exchanges = [question + answer for question, answer in zip(sizes[::2], sizes[1::2], strict=True)]
    return sum(sizes) / (budget / 2) + sum(size > budget / 2 for size in exchanges) + 1


def current_facts(turns: Sequence[Turn]) -> set[str]:
    """The facts of the turns that no later turn contradicts."""
    facts = [fact for turn in turns for fact in turn.facts]
    return set(facts) - {facts[turn.forgets] for turn in turns if turn.forgets is not None}


def facts_in(request: Request) -> set[str]:
    """Those of the stored facts that the prompt has."""
    return {fact for fact in request.facts if fact in request.prompt.facts}
