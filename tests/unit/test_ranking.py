"""The order of facts: by shared words, by meaning (embeddings), by age."""

import random
import string
import time
from array import array

from converse_stream.memory.ranking import rank
from converse_stream.store.facts import SearchableFact
from local_stack.bedrock.embeddings import embed


def vector(text: str) -> bytes:
    return array("f", embed(text, 256)).tobytes()


def facts(*texts: str, embedded: bool = False) -> list[SearchableFact]:
    """Facts with these texts, oldest first."""
    return [SearchableFact(text, text, vector(text) if embedded else None) for text in texts]


OTHERS = [f"plays piece {number}" for number in range(20)]


def test_fact_with_a_shared_word_precedes_newer_facts() -> None:
    stored = facts("the dog is called Rex", *OTHERS)
    assert rank(stored, "What is my DOG's name?", None)[0].text == "the dog is called Rex"


def test_rare_word_has_more_weight_than_a_common_one() -> None:
    stored = facts("the user sails", *(f"the user has read book {number}" for number in range(20)))
    assert rank(stored, "has the user sails", None)[0].text == "the user sails"


def test_word_has_less_weight_in_a_long_fact() -> None:
    stored = facts("the dog and many other things that were said of the user that day", "a dog", *OTHERS)
    assert rank(stored, "dog?", None)[0].text == "a dog"


def test_long_question_is_ranked_within_the_time_limit() -> None:
    """The question has the maximum size of a message, and the facts have their maximum length."""
    generator = random.Random(1)  # noqa: S311  # the same words in every run
    words = ["".join(generator.choices(string.ascii_lowercase, k=6)) for _ in range(4_600)]
    stored = facts(*(" ".join(generator.choices(words, k=70)) for _ in range(500)))
    started = time.thread_time()
    rank(stored, " ".join(words), None)
    assert time.thread_time() - started < 0.8  # a search of each word in each fact takes seconds


def test_without_shared_words_the_newest_facts_are_first() -> None:
    stored = facts("a", "b", "c")
    assert [fact.text for fact in rank(stored, "?", None)] == ["c", "b", "a"]


def test_text_in_a_script_without_spaces_is_matched() -> None:
    stored = facts("我的狗叫雷克斯", *OTHERS)
    assert rank(stored, "狗叫什么名字", None)[0].text == "我的狗叫雷克斯"


def test_embedding_finds_a_fact_without_shared_words() -> None:
    """The stand-in's embeddings of "river" and "rivers" are similar."""
    stored = facts("loves rivers", *OTHERS, embedded=True)
    question = "a river?"
    assert rank(stored, question, None)[-1].text == "loves rivers"  # the oldest
    assert stored[0] in rank(stored, question, vector(question))[:2]


def test_facts_without_a_comparable_embedding_are_ranked_by_words() -> None:
    stored = facts("the dog is called Rex", *OTHERS)
    other_model = SearchableFact("x", "x", b"1234")
    assert rank([*stored, other_model], "dog", vector("dog"))[0].text == "the dog is called Rex"
