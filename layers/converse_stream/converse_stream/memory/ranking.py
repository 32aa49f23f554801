"""Ranks facts by their relevance to a question. Pure, and without numpy. Three rankings are combined:

- BM25, by shared words (https://en.wikipedia.org/wiki/Okapi_BM25);
- cosine similarity, by meaning, if the question and the fact have embeddings;
- recency, with a lower weight.

They are combined by reciprocal rank fusion (Cormack et al., SIGIR 2009), which needs no common scale of scores.
"""

import math
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import mul

from converse_stream.memory.sources import tokens_of
from converse_stream.store.facts import SearchableFact

K1, B = 1.2, 0.75  # the usual parameters of BM25: saturation and length normalisation
FUSION = 60  # the constant of the fusion: the larger, the less the first ranks of one ranking count
AGE_FUSION = 4 * FUSION  # a lower weight for recency: a new fact is not necessarily relevant

# Words, or single characters in scripts without spaces between words.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


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


def rank(facts: Sequence[SearchableFact], question: str, vector: bytes | None) -> list[SearchableFact]:
    """The facts by relevance, best first. `facts` are oldest first, `vector` is the question's embedding."""
    scores = [1 / (AGE_FUSION + age) for age in range(len(facts), 0, -1)]
    for order in (_by_words(facts, question), _by_meaning(facts, vector) if vector else []):
        for position, index in enumerate(order, 1):
            scores[index] += 1 / (FUSION + position)
    return [facts[index] for index in sorted(range(len(facts)), key=lambda index: -scores[index])]


def _by_words(facts: Sequence[SearchableFact], question: str) -> list[int]:
    """Indexes of the facts that share a word with the question, best first."""
    question_words = set(_words(question))
    documents = [_words(fact.text) for fact in facts]
    mean_length = sum(map(len, documents)) / len(documents)
    counts: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for index, words in enumerate(documents):
        for word in question_words.intersection(words):
            counts[word].append((index, words.count(word)))
    scores: defaultdict[int, float] = defaultdict(float)
    for occurrences in counts.values():
        inverse_frequency = math.log(1 + (len(documents) - len(occurrences) + 0.5) / (len(occurrences) + 0.5))
        for index, count in occurrences:
            length_norm = K1 * (1 - B + B * len(documents[index]) / mean_length)
            scores[index] += inverse_frequency * count * (K1 + 1) / (count + length_norm)
    return sorted(scores, key=lambda index: -scores[index])


def _by_meaning(facts: Sequence[SearchableFact], vector: bytes) -> list[int]:
    """Indexes of the facts with an embedding, nearest first. Vectors have length 1, so their product is the cosine."""
    question_vector = array("f", vector).tolist()
    cosines = {
        index: _product(question_vector, memoryview(fact.embedding).cast("f"))
        for index, fact in enumerate(facts)
        if fact.embedding and len(fact.embedding) == len(vector)
    }
    return sorted(cosines, key=cosines.__getitem__, reverse=True)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
