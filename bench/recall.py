"""Measures how often the facts that a question needs are in the prompt, and the CPU time of the ranking.

Run by `make bench`. The questions are in recall_questions, one file for each language:

- `known`: facts that questions need;
- `questions`: a text, the previous message of the user if there is one, and the indexes of the facts that it needs;
- `others`: templates of other facts. Each user has the known facts among others, in a different order.

A question is answered if all facts that it needs are among the chosen ones.
"""

import itertools
import json
import math
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from converse_stream.memory.ranking import AGE_FUSION, FUSION, fit_budget, rank
from converse_stream.store.facts import SearchableFact
from converse_stream.store.search_terms import pack, terms_of

FOLDER = Path(__file__).parent / "recall_questions"
USERS = 5  # of each language
FACTS = 250  # of each user
TOKENS = (500, 1_000, 1_500, 2_000)

Facts: TypeAlias = Sequence[SearchableFact]
Ranking: TypeAlias = Callable[[Facts, str, str], Sequence[SearchableFact]]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


def facts_of_users(data: Any, total: int = FACTS) -> Iterator[Facts]:
    """Yields the facts of each user, oldest first. The ids of the known ones are their indexes."""
    others = [each["text"].format(*values) for each in data["others"] for values in itertools.product(*each["slots"])]
    for seed in range(USERS):
        chance = random.Random(seed)  # noqa: S311  # the same facts each time
        texts = [(f"other {number}", text) for number, text in enumerate(others)]
        chosen = chance.sample(texts, total - len(data["known"]))
        chosen += [(str(number), text) for number, text in enumerate(data["known"])]
        chance.shuffle(chosen)
        yield [SearchableFact(name, text, terms=pack(terms_of(text))) for name, text in chosen]


def by_words(facts: Facts, question: str, previous: str = "") -> list[SearchableFact]:
    """BM25 of whole words, and recency: the ranking before terms were introduced."""
    asked = set(_WORD.findall(f"{question} {previous}".casefold()))
    documents = [_WORD.findall(fact.text.casefold()) for fact in facts]
    mean_length = sum(map(len, documents)) / len(documents)
    containing = Counter(word for words in documents for word in asked.intersection(words))
    scores = dict[int, float]()
    for index, words in enumerate(documents):
        for word in asked.intersection(words):
            rarity = math.log(1 + (len(facts) - containing[word] + 0.5) / (containing[word] + 0.5))
            count = words.count(word)
            saturated = count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(words) / mean_length))
            scores[index] = scores.get(index, 0) + rarity * saturated
    fused = [1 / (AGE_FUSION + age) for age in range(len(facts), 0, -1)]
    for position, index in enumerate(sorted(scores, key=lambda each: -scores[each]), 1):
        fused[index] += 1 / (FUSION + position)
    return [facts[index] for index in sorted(range(len(facts)), key=lambda each: -fused[each])]


def by_terms(facts: Facts, question: str, previous: str = "") -> list[SearchableFact]:
    return rank(facts, question, None, previous=previous)


def without_previous(ranking: Ranking) -> Ranking:
    return lambda facts, question, _: ranking(facts, question, "")


def recall(data: Any, ranking: Ranking) -> list[float]:
    """Return the percentages of questions whose facts are found, for each of TOKENS."""
    hits = list[list[bool]]()
    for facts in facts_of_users(data):
        for question in data["questions"]:
            order = partial(iter, ranking(facts, question["text"], question.get("previous", "")))
            needed = {str(index) for index in question["needs"]}
            hits.append([needed <= {fact.id for fact in fit_budget(facts, tokens, order)} for tokens in TOKENS])
    return [100 * statistics.mean(column) for column in zip(*hits, strict=True)]


def cpu(run: Callable[[], object]) -> float:
    """Return the CPU time of this thread in milliseconds, the median of some rounds."""
    times = []
    for _ in range(15):
        start = time.thread_time()
        run()
        times.append(1000 * (time.thread_time() - start))
    return statistics.median(times)


CHANCE = random.Random(1)  # noqa: S311  # not secret

RANKINGS: dict[str, Ranking] = {
    "by chance": lambda facts, *_: CHANCE.sample(facts, len(facts)),
    "words": without_previous(by_words),
    "words, and the previous message": by_words,
    "terms": without_previous(by_terms),
    "terms, and the previous message": by_terms,
}


def main() -> None:
    languages = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
    results = {name: [recall(data, ranking) for data in languages.values()] for name, ranking in RANKINGS.items()}
    questions = sum(len(data["questions"]) for data in languages.values())
    print(f"{'% of questions':>32}   all  {'  '.join(languages)}   {questions} questions, {USERS} users each")
    for number, tokens in enumerate(TOKENS):
        print(f"{tokens:>25,} tokens")
        for name, percentages in results.items():
            row = [of_language[number] for of_language in percentages]
            print(f"{name:>32} {statistics.mean(row):5.0f} " + "".join(f"{value:4.0f}" for value in row))
    print(f"{'ms of CPU to rank':>32} {'stored terms':>14} {'no stored terms':>16} {'words':>7}")
    question = languages["en"]["questions"][28]["text"]
    for total in (250, 500, 1_000):
        facts = list(next(facts_of_users(languages["en"], min(total, 500)))) * -(-total // 500)
        old = [SearchableFact(fact.id, fact.text) for fact in facts]
        times = [
            cpu(partial(ranking, each, question, question[::-1]))
            for ranking, each in ((by_terms, facts), (by_terms, old), (by_words, old))
        ]
        print(f"{total:>26} facts {times[0]:14.1f} {times[1]:16.1f} {times[2]:7.1f}")


if __name__ == "__main__":
    main()
