"""Does learning delay anybody? How long an answer takes with learning off and on, to its last byte, through both doors.

Run by `make bench`. Two laptop stacks in turn in each round; quote the ratios, not the milliseconds. What is learned
after an answer is waited for, so that it does not fall into the next one.
"""

import statistics
import time
from collections.abc import Callable

from tests.e2e.chat import Person
from tests.stack import RunningStack, start_stack, stop_stack

ROUNDS = 20
SETTINGS = ("disabled", "enabled")
QUESTION = "I like boats. Tell me about rivers [[tokens=20 pace=5 first=20]]"


DOORS: dict[str, Callable[[Person], object]] = {
    "streamed": lambda person: person.send(QUESTION),
    "in one piece": lambda person: person.send_buffered(QUESTION),
}


def facts_of(person: Person) -> list[object]:
    facts: list[object] = person.http.get(f"{person.stack.gateway}/memory").json()["facts"]
    return facts


def answer(stack: RunningStack, door: str, *, learns: bool) -> float:
    """Milliseconds that somebody new waits for an answer."""
    with Person(stack) as person:
        begun = time.monotonic()
        DOORS[door](person)
        taken = (time.monotonic() - begun) * 1000
        while learns and not facts_of(person):
            time.sleep(0.1)
        assert learns == bool(facts_of(person))
    return taken


def main() -> None:
    stacks = {value: start_stack("--parameter", f"Learning={value}") for value in SETTINGS}
    try:
        times: dict[tuple[str, str], list[float]] = {(door, value): [] for door in DOORS for value in SETTINGS}
        for number in range(-1, ROUNDS):  # the first one is to warm up
            for (door, value), taken in times.items():
                duration = answer(stacks[value], door, learns=value == "enabled")
                taken += [duration] if number >= 0 else []
    finally:
        for stack in stacks.values():
            stop_stack(stack)
    print(f"{'door':>14} {'learning':>10} {'median':>8} {'p90':>8}   ms to the last byte, {ROUNDS} answers each")
    for (door, value), taken in times.items():
        print(f"{door:>14} {value:>10} {statistics.median(taken):8.1f} {statistics.quantiles(taken, n=10)[8]:8.1f}")
    for door in DOORS:
        pairs = zip(times[door, "disabled"], times[door, "enabled"], strict=True)
        print(
            f"{door:>14} {'ratio':>10} {statistics.median(on / off for off, on in pairs):8.2f}   of each round, median"
        )


if __name__ == "__main__":
    main()
