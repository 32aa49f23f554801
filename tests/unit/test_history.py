"""The history in the prompt: which messages are in it, and where it begins."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converse_stream.prompts.history import History, history, shorten
from converse_stream.prompts.prompt import PromptMessage
from converse_stream.protocol.events import Chunk, Message, SentPrompt
from converse_stream.protocol.tokens import estimate_tokens

LIMIT = 40  # messages that are read


def message(role: str, text: str, finish_reason: str | None = None) -> Message:
    side: Literal["user", "assistant"] = "user" if role == "user" else "assistant"
    return Message("id", side, (Chunk(text),) if text else (), "2026", finish_reason=finish_reason)


def of(*turns: tuple[str, str] | tuple[str, str, str], budget: int = 1000) -> History:
    return history([message(*turn) for turn in turns], 1, budget)


def texts(built: History) -> list[str]:
    return [*("".join(turn.texts) for turn in built.turns), *built.unanswered]


def words(count: int, mark: str) -> str:
    return " ".join([mark, *["word"] * (count - 2), f"end-{mark}"])


def conversation(answers: Sequence[int], *, budget: int, limit: int = LIMIT) -> Iterator[History]:
    """The history of each prompt in a conversation whose answers have these numbers of words."""
    stored: list[Message] = []
    for number, count in enumerate(answers):
        read = stored[-limit:]
        built = history(read, len(stored) - len(read) + 1, budget)
        yield built
        sent = SentPrompt(built.first, 0)
        answer = replace(message("assistant", words(count, f"a{number}")), sent=sent)
        stored += [message("user", words(20, f"q{number}")), answer]


def test_roles_alternate_for_any_stored_messages() -> None:
    built = of(
        ("assistant", "hello"), ("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", "c"), ("user", "lost")
    )
    assert built.turns == (PromptMessage("user", ("a", "b")), PromptMessage("assistant", ("c",)))
    assert built.unanswered == ("lost",)


def test_blocked_question_and_its_answer_are_not_in_the_history() -> None:
    """Nor its answer: no guardrail checks the history, and a later question could ask for it."""
    built = of(("user", "a"), ("assistant", "b"), ("user", "bad"), ("assistant", "Sorry.", "content-filter"))
    assert texts(built) == ["a", "b"]


def test_unanswered_question_blocked_with_the_next_one_is_not_in_the_history() -> None:
    """A question without an answer is sent with the next one. A filter that blocks both would block all later ones."""
    turns = [("user", "a"), ("assistant", "b"), ("user", "bad"), ("assistant", ""), ("user", "hello")]
    built = of(*turns, ("assistant", "Sorry.", "content-filter"), ("user", "c"), ("assistant", "d"))
    assert texts(built) == ["a", "b", "c", "d"]


def test_history_has_no_more_than_one_move_for_each_half_of_the_budget() -> None:
    """So the cached prefix is found again by most prompts."""
    budget = 12_000
    built = list(conversation([600] * 60, budget=budget))
    size = estimate_tokens(words(600, "a1")) + estimate_tokens(words(20, "q1"))
    moves = sum(one.first != other.first for one, other in pairwise(built))
    assert 1 <= moves <= 60 * size / (budget / 2) + 1
    full = [sum(turn.tokens for turn in each.turns) for each in built if each.first > 1]
    assert min(full) > budget / 2 - size
    assert max(full) <= budget


def test_history_that_is_limited_by_the_number_of_messages_begins_again_at_the_newest_half() -> None:
    built = list(conversation([10] * 100, budget=100_000))
    moves = sum(one.first != other.first for one, other in pairwise(built))
    assert 2 <= moves <= 200 / (LIMIT / 2)
    assert all(len(each.turns) >= LIMIT / 2 for each in built[LIMIT:])


def test_history_without_a_stored_beginning_begins_at_the_newest_half() -> None:
    """For example one of an earlier version of this code."""
    stored = [message(role, words(50, f"{number}")) for number in range(30) for role in ("user", "assistant")]
    budget = estimate_tokens(words(50, "11")) * 20
    built = history(stored[-LIMIT:], 21, budget)
    assert budget / 2 >= sum(turn.tokens for turn in built.turns) >= budget / 2 * 0.8
    assert built.first == 61 - len(built.turns)


def test_history_begins_at_the_user_of_the_newest_half() -> None:
    for number in range(1, 30):
        built = of(*[(role, words(30, f"{n}")) for n in range(number) for role in ("user", "assistant")], budget=400)
        assert [turn.role for turn in built.turns[:1]] == ["user"]


@pytest.mark.parametrize("question", [20, 400, 5_000])
@pytest.mark.parametrize("answer", [20, 400, 5_000])
def test_last_question_and_answer_are_always_there(question: int, answer: int) -> None:
    turns = [("user", words(50, "first")), ("assistant", words(50, "second"))]
    built = of(*turns, ("user", words(question, "Q")), ("assistant", words(answer, "A")), budget=1_000)
    last_question, last_answer = texts(built)[-2:]
    assert last_question.startswith("Q ")
    assert last_question.endswith("end-Q")
    assert last_answer.startswith("A ")
    assert last_answer.endswith("end-A")
    assert sum(map(estimate_tokens, texts(built))) <= 1_000
    assert built.shortened == (question + answer > 1_000)


def test_last_exchange_is_there_if_the_stored_beginning_is_after_it() -> None:
    answer = replace(message("assistant", "b"), sent=SentPrompt(9, 0))
    assert texts(history([message("user", "a"), answer], 1, 1000)) == ["a", "b"]


def test_short_message_beside_a_long_one_is_not_shortened() -> None:
    built = of(("user", words(100, "Q")), ("assistant", words(9_000, "A")), budget=500)
    assert texts(built)[0] == words(100, "Q")
    assert sum(map(estimate_tokens, texts(built))) > 400


def test_most_of_a_shortened_answer_is_its_end() -> None:
    """It may be continued."""
    text = " ".join(f"w{number}" for number in range(5_000))
    kept = of(("user", "Q"), ("assistant", text), budget=500).turns[1]
    beginning, _, end = "".join(kept.texts).split("\n")
    assert text.startswith(beginning)
    assert text.endswith(end)
    assert len(end) > 2.5 * len(beginning)


def test_shortened_text_says_how_much_is_left_out() -> None:
    text = "河川について。" * 1_000
    beginning, mark, end = shorten(text, 200, 0.5).split("\n")
    assert mark == f"[… {len(text) - len(beginning) - len(end)} characters are left out …]"


@given(st.text(min_size=1, max_size=300), st.integers(0, 100), st.sampled_from([0.5, 0.75]))
def test_shortened_text_fits(text: str, tokens: int, end_share: float) -> None:
    assert estimate_tokens(shorten(text, tokens, end_share)) <= tokens


def test_budget_of_zero_gives_no_history() -> None:
    built = of(("user", "a"), ("assistant", "b"), budget=0)
    assert (built.turns, built.unanswered) == ((), ())


def test_unanswered_questions_share_the_budget() -> None:
    failed = [("user", words(30, f"{number}")) for number in range(20)]
    built = of(*failed, budget=estimate_tokens(words(30, "19")) * 4)
    assert built.turns == ()
    assert built.unanswered == (words(30, "18"), words(30, "19"))


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=20))), st.integers(0, 60))
def test_history_always_alternates_from_user_to_assistant(turns: list[tuple[str, str]], budget: int) -> None:
    built = of(*turns, budget=budget)
    roles = [turn.role for turn in built.turns]
    assert roles == ["user", "assistant"] * (len(roles) // 2)
    assert sum(map(estimate_tokens, texts(built))) <= budget


@given(st.lists(st.integers(3, 3_000), min_size=1, max_size=60), st.integers(200, 5_000), st.integers(2, LIMIT))
def test_each_prompt_of_a_conversation_has_the_last_exchange(answers: list[int], budget: int, limit: int) -> None:
    for number, built in enumerate(conversation(answers, budget=budget, limit=limit)):
        assert sum(turn.tokens for turn in built.turns) <= budget
        if number:
            assert texts(built)[-2].startswith(f"q{number - 1} ")
            assert texts(built)[-1].startswith(f"a{number - 1} ")
