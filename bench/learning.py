"""Measures whether learning delays answers: the time to the last byte with learning off and on, at both entry points.

Run by `make bench`. Each round uses two local stacks in turn. Compare the ratios, not the milliseconds. After each
answer the benchmark waits until learning has finished, so that it does not overlap with the next answer.
"""

import statistics
import time
from collections.abc import Callable

from tests.e2e.chat import Person
from tests.stack import RunningStack, start_stack, stop_stack

ROUNDS = 20
SETTINGS = ("disabled", "enabled")
QUESTION = "I like boats. Tell me about rivers [[tokens=20 pace=5 first=20]]"


ENTRY_POINTS: dict[str, Callable[[Person], object]] = {
    "streamed": lambda person: person.send(QUESTION),
    "in one piece": lambda person: person.send_buffered(QUESTION),
}


def facts_of(person: Person) -> list[object]:
    facts: list[object] = person.http.get(f"{person.stack.gateway}/memory").json()["facts"]
    return facts


def measure(stack: RunningStack, entry_point: str, *, learns: bool) -> float:
    """Return the milliseconds until a new user has an answer."""
    with Person(stack) as person:
        start = time.monotonic()
        ENTRY_POINTS[entry_point](person)
        elapsed = (time.monotonic() - start) * 1000
        while learns and not facts_of(person):
            time.sleep(0.1)
        assert learns == bool(facts_of(person))
    return elapsed


def main() -> None:
    stacks = {value: start_stack("--parameter", f"Learning={value}") for value in SETTINGS}
    try:
        times: dict[tuple[str, str], list[float]] = {(name, value): [] for name in ENTRY_POINTS for value in SETTINGS}
        for number in range(-1, ROUNDS):  # the first round is a warm-up
            for (name, value), results in times.items():
                elapsed = measure(stacks[value], name, learns=value == "enabled")
                results += [elapsed] if number >= 0 else []
    finally:
        for stack in stacks.values():
            stop_stack(stack)
    print(f"{'entry point':>14} {'learning':>10} {'median':>8} {'p90':>8}   ms to the last byte, {ROUNDS} answers each")
    for (name, value), results in times.items():
        print(f"{name:>14} {value:>10} {statistics.median(results):8.1f} {statistics.quantiles(results, n=10)[8]:8.1f}")
    for name in ENTRY_POINTS:
        pairs = zip(times[name, "disabled"], times[name, "enabled"], strict=True)
        print(
            f"{name:>14} {'ratio':>10} {statistics.median(on / off for off, on in pairs):8.2f}   of each round, median"
        )


if __name__ == "__main__":
    main()
