"""Measures the CPU time to find relevant facts among 500, in the thread that searches.

Run by `make bench`. The DynamoDB emulator runs in the same process, in other threads, which are not counted. Most of
`read` is boto3 and its parsers. 15 ms in total is good.
"""

import os
import random
import statistics
import time
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

from converse_stream.aws import deadlines
from converse_stream.memory.fact_memory import FactMemory
from converse_stream.memory.question import Question
from converse_stream.memory.ranking import rank
from converse_stream.store.facts import Facts
from converse_stream.store.table import Table
from local_stack import template
from local_stack.bedrock.embeddings import embed
from local_stack.dynamodb.server import DynamoDB

FACTS = 500
ROUNDS = 31
QUESTION = "What was the name of the village by the river where we had lunch?"


class Embedder:
    """The embeddings of the Bedrock emulator, computed before the measurement."""

    seconds = 0.0

    def __init__(self) -> None:
        self._cache: dict[str, bytes] = {}

    def embed(self, text: str) -> bytes:
        if text not in self._cache:
            self._cache[text] = array("f", embed(text, 256)).tobytes()
        return self._cache[text]


def cpu(run: Callable[[], object]) -> float:
    """Return the CPU time of this thread in milliseconds, the median of the rounds."""
    run()  # warm-up
    times = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        run()
        times.append(1000 * (time.thread_time() - start))
    return statistics.median(times)


def main() -> None:
    server, embedder = DynamoDB(), Embedder()
    server.start()
    [table] = template.read(Path("template.yaml")).tables
    server.create_table(table)
    credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(credentials, AWS_ENDPOINT_URL_DYNAMODB=server.url)
    chat_table = Table(deadlines.client("dynamodb", 10), table["TableName"])
    chance = random.Random(1)  # noqa: S311  # the same facts each time
    words = [line.strip(".,:;()`*") for line in Path("docs/decisions.md").read_text(encoding="utf-8").split()]
    texts = [" ".join(chance.choices(words, k=12)) for _ in range(FACTS)]
    embedder.embed(QUESTION)
    print(f"{'':>16} {'read':>7} {'rank':>7} {'search':>7}   ms of CPU, {FACTS} facts of 12 words")
    for name, own in (("terms and age", None), ("embeddings too", embedder)):
        facts, memory = Facts(chat_table, own), FactMemory(chat_table, own, tokens=1_000)
        with mock.patch.object(chat_table, "query", return_value=[]):  # not counted: adding 500 would read 125,000
            for text in texts:
                facts.add(name, text, "fact", limit=FACTS)
        vector = own.embed(QUESTION) if own else None
        read = cpu(partial(facts.searchable, name))
        ranking = cpu(partial(rank, facts.searchable(name), QUESTION, vector))
        search = cpu(partial(memory.search, name, Question(QUESTION), float("inf")))
        print(f"{name:>16} {read:7.1f} {ranking:7.1f} {search:7.1f}")
    server.stop()


if __name__ == "__main__":
    main()
