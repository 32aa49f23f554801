"""Ranks facts by their relevance to a question. Pure, and without numpy. Three rankings are combined:

- by shared terms (`converse_stream.store.search_terms`). A term is weighted by the square of BM25's inverse document
  frequency, and a long fact counts less, as in BM25 (https://en.wikipedia.org/wiki/Okapi_BM25);
- cosine similarity, by meaning, if the question and the fact have embeddings;
- recency, with a lower weight.

They are combined by reciprocal rank fusion (Cormack et al., SIGIR 2009), which needs no common scale of scores.
"""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from operator import mul

from converse_stream.memory.sources import tokens_of
from converse_stream.store.facts import SearchableFact
from converse_stream.store.search_terms import terms_of

K1, B = 1.2, 0.75  # the usual parameters of BM25: saturation and length normalisation
FUSION = 60  # the constant of the fusion: the larger, the less the first ranks of one ranking count
AGE_FUSION = 4 * FUSION  # a lower weight for recency: a new fact is not necessarily relevant
PREVIOUS = 0.5  # the weight of terms that only the previous message has
MAX_CHARS = 2_000  # of the beginning, and of the end, of a message: the terms of 32,000 take 20 ms

# math.sumprod, from Python 3.12 on, is twice as fast.
_product = getattr(math, "sumprod", lambda one, other: sum(map(mul, one, other)))


def fit_budget(
    facts: Sequence[SearchableFact], tokens: int, order: Callable[[], Iterable[SearchableFact]]
) -> Sequence[SearchableFact]:
    """The facts that fit into `tokens`, with their labels, in their given order.

    If not all fit, they are chosen in the order of `order()`, which is called only then.
    """
    sizes = {fact.id: tokens_of(fact) for fact in facts}
    if sum(sizes.values()) <= tokens:
        return facts
    chosen = set()
    for fact in order():
        if sizes[fact.id] <= tokens:
            tokens -= sizes[fact.id]
            chosen.add(fact.id)
    return [fact for fact in facts if fact.id in chosen]


def rank(
    facts: Sequence[SearchableFact], question: str, vector: bytes | None, *, previous: str = ""
) -> list[SearchableFact]:
    """The facts by relevance, best first. `facts` are oldest first, `vector` is the question's embedding.

    `previous` is the message before the question.
    """
    scores = [1 / (AGE_FUSION + age) for age in range(len(facts), 0, -1)]
    for order in (_by_terms(facts, question, previous), _by_meaning(facts, vector) if vector else []):
        for position, index in enumerate(order, 1):
            scores[index] += 1 / (FUSION + position)
    return [facts[index] for index in sorted(range(len(facts)), key=scores.__getitem__, reverse=True)]


def _by_terms(facts: Sequence[SearchableFact], question: str, previous: str) -> list[int]:
    """Indexes of the facts that share a term with the question or the previous message, best first."""
    weights = dict.fromkeys(_asked(previous), PREVIOUS) | dict.fromkeys(_asked(question), 1.0)
    documents = [_terms(fact) for fact in facts]
    shared = list(map(frozenset(weights).intersection, documents))
    counts = Counter(chain.from_iterable(shared))
    for term, count in counts.items():
        weights[term] *= math.log(1 + (len(facts) - count + 0.5) / (count + 0.5)) ** 2
    lengths = list(map(len, documents))
    base, slope = 1 + K1 * (1 - B), K1 * B * len(facts) / max(1, sum(lengths))
    scores = {
        index: sum(map(weights.__getitem__, terms)) / (base + slope * lengths[index])
        for index, terms in enumerate(shared)
        if terms
    }
    return sorted(scores, key=scores.__getitem__, reverse=True)


def _asked(message: str) -> set[int]:
    """The terms of a message. In a long one, the question is often at the beginning or at the end."""
    is_long = len(message) > 2 * MAX_CHARS
    return terms_of(f"{message[:MAX_CHARS]} {message[-MAX_CHARS:]}" if is_long else message)


def _terms(fact: SearchableFact) -> Collection[int]:
    return array("H", fact.terms) if fact.terms else terms_of(fact.text)


def _by_meaning(facts: Sequence[SearchableFact], vector: bytes) -> list[int]:
    """Indexes of the facts with an embedding, nearest first. Vectors have length 1, so their product is the cosine."""
    question_vector = array("f", vector).tolist()
    cosines = {
        index: _product(question_vector, memoryview(fact.embedding).cast("f"))
        for index, fact in enumerate(facts)
        if fact.embedding and len(fact.embedding) == len(vector)
    }
    return sorted(cosines, key=cosines.__getitem__, reverse=True)
