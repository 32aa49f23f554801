"""Which facts come first: by words, by meaning, by age."""

import random
import string
import time
from array import array

from converse_stream.memory.ranking import ranked
from converse_stream.store.facts import SearchableFact
from local_stack.bedrock.embeddings import embed


def vector(text: str) -> bytes:
    return array("f", embed(text, 256)).tobytes()


def facts(*texts: str, embedded: bool = False) -> list[SearchableFact]:
    """Oldest first."""
    return [SearchableFact(text, text, vector(text) if embedded else None) for text in texts]


OTHERS = [f"plays piece {number}" for number in range(20)]


def test_a_shared_word_comes_before_what_is_newer() -> None:
    known = facts("the dog is called Rex", *OTHERS)
    assert ranked(known, "What is my DOG's name?", None)[0].text == "the dog is called Rex"


def test_a_rare_word_says_more_than_a_usual_one() -> None:
    known = facts("the user sails", *(f"the user has read book {number}" for number in range(20)))
    assert ranked(known, "has the user sails", None)[0].text == "the user sails"


def test_a_word_says_less_in_a_long_fact() -> None:
    known = facts("the dog and many other things that were said of the user that day", "a dog", *OTHERS)
    assert ranked(known, "dog?", None)[0].text == "a dog"


def test_a_long_question_costs_hardly_more_than_a_short_one() -> None:
    """As many words as fit into a message, and facts as long as they may be."""
    chance = random.Random(1)  # noqa: S311  # the same words each time
    words = ["".join(chance.choices(string.ascii_lowercase, k=6)) for _ in range(4_600)]
    known = facts(*(" ".join(chance.choices(words, k=70)) for _ in range(500)))
    begun = time.thread_time()
    ranked(known, " ".join(words), None)
    assert time.thread_time() - begun < 0.8  # where each word is looked for in each fact, it is seconds


def test_without_anything_in_common_the_newest_come_first() -> None:
    known = facts("a", "b", "c")
    assert [fact.text for fact in ranked(known, "?", None)] == ["c", "b", "a"]


def test_scripts_without_spaces_have_words_too() -> None:
    known = facts("我的狗叫雷克斯", *OTHERS)
    assert ranked(known, "狗叫什么名字", None)[0].text == "我的狗叫雷克斯"


def test_meaning_finds_what_shares_no_word() -> None:
    """The stand-in's embeddings know that a river is near to rivers."""
    known = facts("loves rivers", *OTHERS, embedded=True)
    question = "a river?"
    assert ranked(known, question, None)[-1].text == "loves rivers"  # the oldest
    assert known[0] in ranked(known, question, vector(question))[:2]


def test_facts_without_an_embedding_or_with_another_s_are_ranked_by_the_rest() -> None:
    known = facts("the dog is called Rex", *OTHERS)
    strange = SearchableFact("x", "x", b"1234")
    assert ranked([*known, strange], "dog", vector("dog"))[0].text == "the dog is called Rex"
