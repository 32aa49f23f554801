"""Compares the built functions with those of another tree, with other ways to stream an answer, and with a floor.

Run by `make bench`. The functions run under a Runtime API with one processor for themselves. The model and the table
answer at once, so what is measured is the function. Each round starts every contender in turn and takes the ratios;
compare the ratios, not the milliseconds. 0.9 to 1.15 is a tie.
"""

import argparse
import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bench.contenders import built, peers
from bench.contenders.contender import Contender
from bench.contenders.process import SERVERS
from bench.measuring.report import Report, Round, conditions
from bench.measuring.rows import GROUPS, measure
from bench.servers.services import Services, services
from local_stack import emulator

THIS, ROUNDS = "this tree", 5
RESULTS = Path(__file__).with_name("results.md")


async def compare(
    contenders: Sequence[Contender], running: Services, folder: Path, rounds: int, groups: Collection[str]
) -> list[Round]:
    """Measures every contender once in each round. The first one is another one in each round."""
    results: list[Round] = []
    for number in range(rounds):
        values = {}
        for index in range(len(contenders)):
            contender = contenders[(index + number) % len(contenders)]
            print(f"round {number + 1} of {rounds}: {contender.name}", file=sys.stderr, flush=True)
            values[contender.name] = await measure(contender, running, folder / "log", groups)
        results.append(values)
    return results


async def run(against: str | None, rounds: int, groups: Collection[str], *, with_peers: bool) -> tuple[Report, str]:
    """Builds and measures. Returns the report and the conditions."""
    os.sched_setaffinity(0, {SERVERS})
    async with AsyncExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        running = await cleanup.enter_async_context(services())
        trees = {THIS: emulator.ROOT}
        if against:
            trees[against] = cleanup.enter_context(built.checked_out(against, folder / "against"))
        contenders: list[Contender] = []
        for number, (name, tree) in enumerate(trees.items()):
            artifacts = built.build(tree, folder / f"artifacts-{number}")
            contenders.append(built.contender(name, artifacts, folder / f"function-{number}", running))
        if with_peers:
            (folder / "peers").mkdir()
            contenders += peers.contenders(folder / "peers", running)
        gc.collect()
        gc.freeze()  # fewer and shorter collections while the servers answer
        results = await compare(contenders, running, folder, rounds, groups)
    names = [contender.name for contender in contenders]
    base = peers.PROTOTYPE if with_peers else names[-1]
    return Report(names, base, (THIS, against) if against else None, results), conditions(rounds)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench/functions.py", description=__doc__)
    parser.add_argument("--against", metavar="REF", help="a git ref whose tree is built and compared too")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--only", action="append", choices=GROUPS, help="the rows to measure; may be repeated")
    parser.add_argument("--no-peers", action="store_true", help="measure only our own functions")
    parser.add_argument("--write", action="store_true", help=f"write the table to {RESULTS.parent.name}/{RESULTS.name}")
    given = parser.parse_args(arguments)
    groups = given.only or GROUPS
    report, circumstances = asyncio.run(run(given.against, given.rounds, groups, with_peers=not given.no_peers))
    text = f"{report.table()}\n\n{circumstances}\n"
    print(text)
    if given.write:
        RESULTS.write_text(f"# Results of bench/functions.py\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
