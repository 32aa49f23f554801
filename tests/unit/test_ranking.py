"""The order of facts: by shared terms, by meaning (embeddings), by age."""

from array import array
from unittest import mock

import pytest

from converse_stream.memory import ranking
from converse_stream.memory.ranking import rank
from converse_stream.store.facts import SearchableFact
from converse_stream.store.search_terms import pack, terms_of
from local_stack.bedrock.embeddings import embed


def vector(text: str) -> bytes:
    return array("f", embed(text, 256)).tobytes()


def facts(*texts: str, embedded: bool = False) -> list[SearchableFact]:
    """Facts with these texts, oldest first."""
    return [
        SearchableFact(text, text, vector(text) if embedded else None, terms=pack(terms_of(text))) for text in texts
    ]


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


@pytest.mark.parametrize(
    ("fact", "question"),
    [
        ("The user rents two flats", "Who pays for the flat?"),
        ("Der Nutzer backt Mohnkuchen", "Kennst du Kuchen mit Mohn?"),
        ("Er wohnt in der Hauptstraße", "HAUPTSTRASSE"),
        ("El usuario estudia portugués", "frases en portugues"),
        ("Użytkownik jeździ do Łodzi", "lodz"),
        ("The user is allergic to hazelnuts", "halzenut chocolate?"),
        ("Пользователь держит пчёл", "сколько мёда дают пчелы"),
        ("사용자는 고양이를 키운다", "고양이가 아파요"),
        ("我的狗叫雷克斯", "狗叫什么名字"),
        ("ユーザーはカメラが好き", "新しいｶﾒﾗを買う"),
        ("ユーザーは「りんご」が好き", "リンゴのレシピ"),
        ("تزوج المستخدم على متن سفينة", "هل أتى مع السفينه"),
        ("المُسْتَخْدِم يُحِبُّ أُمَّهُ", "كيف حال امه"),
        ("उपयोगकर्ता दफ़्तर में काम करता है", "मेरे दफ्तर कहाँ है"),
        ("The user's locker has the number 86420", "٨٦٤٢٠?"),
    ],
)
def test_other_form_of_a_word_is_found(fact: str, question: str) -> None:
    """Inflected, in a compound, without accents or vowel points, misspelt, or in other characters."""
    assert rank(facts(fact, *OTHERS), question, None)[0].text == fact


def test_subject_is_found_in_the_previous_message() -> None:
    stored = facts("got married in June", *OTHERS)
    assert rank(stored, "And when was that?", None)[0].text == "plays piece 19"
    assert rank(stored, "And when was that?", None, previous="My marriage to Tobias")[0].text == "got married in June"


def test_previous_message_has_less_weight() -> None:
    stored = facts("has a boat", "has a goat", *OTHERS)
    for text, previous in (("boat", "goat"), ("goat", "boat")):
        assert rank(stored, text, None, previous=previous)[0].text == f"has a {text}"


def test_fact_without_stored_terms_is_ranked_the_same() -> None:
    """Earlier versions stored no terms."""
    stored = facts("the dog is called Rex", "two dogs and a cat", *OTHERS)
    old = [SearchableFact(fact.id, fact.text) for fact in stored]
    for question in ("dogs", "Is Rex a cat?", "piece 3"):
        ids = [fact.id for fact in rank(stored, question, None)]
        assert [fact.id for fact in rank(old, question, None)] == ids
        assert [fact.id for fact in rank([*old[:5], *stored[5:]], question, None)] == ids


def test_terms_of_stored_facts_are_not_made_again() -> None:
    """Only those of the question and of the previous message are made, however many facts there are."""
    with mock.patch.object(ranking, "terms_of", wraps=terms_of) as made:
        rank(facts(*(f"fact {number}" for number in range(500))), "fact 3?", None, previous="fact 4")
    assert made.call_count == 2


@pytest.mark.parametrize("message", ["{question} {paste}", "{paste} {question}"])
def test_long_message_is_searched_at_its_beginning_and_its_end(message: str) -> None:
    stored, paste = facts("the dog is called Rex", *OTHERS), "lorem ipsum " * 2_500
    text = message.format(question="What is my dog's name?", paste=paste)
    with mock.patch.object(ranking, "terms_of", wraps=terms_of) as made:
        assert rank(stored, text, None)[0].text == "the dog is called Rex"
    assert max(len(call.args[0]) for call in made.call_args_list) < 5_000


def test_without_shared_words_the_newest_facts_are_first() -> None:
    stored = facts("a", "b", "c")
    assert [fact.text for fact in rank(stored, "?", None)] == ["c", "b", "a"]


def test_embedding_finds_a_fact_without_shared_words() -> None:
    """The vector is that of another question: the stand-in's vectors are similar only if parts of words are equal."""
    stored = facts("loves rivers", *OTHERS, embedded=True)
    question = "a brook?"
    assert rank(stored, question, None)[-1].text == "loves rivers"  # the oldest
    assert stored[0] in rank(stored, question, vector("a river?"))[:2]


def test_facts_without_a_comparable_embedding_are_ranked_by_words() -> None:
    stored = facts("the dog is called Rex", *OTHERS)
    other_model = SearchableFact("x", "x", b"1234")
    assert rank([*stored, other_model], "dog", vector("dog"))[0].text == "the dog is called Rex"
