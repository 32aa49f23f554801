"""Measures whether a slow table delays tokens: gaps between chunks with a fast table and with 200 ms per request.

Run by `make bench`. Uses the local stack with both in turn. Compare the ratios, not the milliseconds.
"""

import statistics
from itertools import pairwise

from tests.e2e.chat import Person
from tests.stack import RunningStack, start_stack, stop_stack

ROUNDS = 5
TOKENS = 300


def gaps(stack: RunningStack, delay: int) -> list[float]:
    """Return the milliseconds between the chunks of an answer with 20 ms per token."""
    stack.faults(table={"delayMs": delay})
    with Person(stack) as person:
        times = person.send(f"[[tokens={TOKENS} pace=20 first=100]] rivers").times_of("chunk")
    return [(later - earlier) * 1000 for earlier, later in pairwise(times)]


def main() -> None:
    stack = start_stack()
    try:
        gaps(stack, 0)  # warm
        fast: list[float] = []
        slow: list[float] = []
        for _ in range(ROUNDS):
            fast += gaps(stack, 0)
            slow += gaps(stack, 200)
    finally:
        stop_stack(stack)
    print(f"{'table':>10} {'median':>8} {'p99':>8} {'most':>8}   ms between chunks, {len(fast)} gaps each")
    rows = {}
    for name, values in (("fast", fast), ("200 ms", slow)):
        rows[name] = (statistics.median(values), statistics.quantiles(values, n=100)[98], max(values))
        print(f"{name:>10} " + " ".join(f"{value:8.1f}" for value in rows[name]))
    print(f"{'ratio':>10} " + " ".join(f"{b / a:8.2f}" for a, b in zip(rows["fast"], rows["200 ms"], strict=True)))


if __name__ == "__main__":
    main()
