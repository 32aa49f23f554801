"""Compares the built functions with those of another tree, with other ways to stream an answer, and with a floor.

Run by `make bench`. The functions run under a Runtime API, with one processor for themselves. The model and the table
answer at once, so what is measured is the function. In each round all contenders take turns. The table has medians, and
in brackets the median of the ratios of each round to the prototype, or without peers to the last tree. Compare the
ratios, not the milliseconds; 0.9 to 1.15 is a tie.

With --against the last column has the ratio of the two trees: the median, its range over the rounds, and the ratio of
the least values, which a busy machine disturbs less.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bench.contenders import built, peers
from bench.contenders.contender import Contender
from bench.contenders.process import pin
from bench.measuring import growth, rows
from bench.measuring.report import Report, Round, conditions
from bench.servers.http import HOST
from bench.servers.services import services
from local_stack import emulator
from local_stack.identity.certificates import Authority

THIS, ROUNDS = "this tree", 5


async def run(given: argparse.Namespace) -> str:
    """Builds, starts the servers and measures. Returns the table and the conditions."""
    pin()
    async with AsyncExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        authority = Authority(folder, [HOST]) if given.tls else None
        running = await cleanup.enter_async_context(services(authority))
        trees = {THIS: emulator.ROOT}
        if given.against:
            trees[given.against] = cleanup.enter_context(built.checked_out(given.against, folder / "against"))
        contenders, converse = list[Contender](), dict[str, Contender]()
        for number, (name, tree) in enumerate(trees.items()):
            artifacts = built.build(tree, folder / f"artifacts-{number}")
            contenders.append(built.contender(name, artifacts, folder / f"stream-{number}", running))
            converse[name] = built.contender(name, artifacts, folder / f"converse-{number}", running, "converse")
        base = contenders[-1].name
        if not (given.no_peers or given.growth or given.tls):
            base = peers.PROTOTYPE
            (folder / "peers").mkdir()
            contenders += peers.contenders(folder / "peers", running)
        gc.collect()
        gc.freeze()  # fewer and shorter collections while the servers answer
        results: list[Round] = []
        for number in range(given.rounds):
            print(f"round {number + 1} of {given.rounds}", file=sys.stderr, flush=True)
            first = number % len(contenders)  # each round begins with another contender
            rotated = [*contenders[first:], *contenders[:first]]
            if given.growth:
                results.append(await growth.measure_round(rotated, converse, running, folder))
            else:
                results.append(await rows.measure_round(rotated, running, folder, given.only or rows.GROUPS))
    compared = (THIS, given.against) if given.against else None
    names = [contender.name for contender in contenders]
    report = Report(growth.ROWS if given.growth else rows.ROWS, names, base, compared, results)
    python = contenders[0].command.variables["AWS_EXECUTION_ENV"].removeprefix("AWS_Lambda_")
    protocol = "TLS" if given.tls else "plain HTTP"
    return f"{report.table()}\n\n{conditions(given.rounds, python)}, {protocol} to the services\n"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench/functions.py", description=__doc__)
    parser.add_argument("--against", metavar="REF", help="a git ref whose tree is built and compared too")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--only", action="append", choices=rows.GROUPS, help="the rows to measure; may be repeated")
    parser.add_argument("--no-peers", action="store_true", help="measure only our own functions")
    parser.add_argument("--tls", action="store_true", help="use TLS to the services, with our own functions only")
    parser.add_argument("--growth", action="store_true", help="measure how costs grow, of our own functions")
    parser.add_argument("--write", action="store_true", help="write the table to bench/results.md or bench/growth.md")
    given = parser.parse_args(arguments)
    text = asyncio.run(run(given))
    print(text)
    if given.write:
        name = "growth" if given.growth else "results"
        heading = f"# {name.capitalize()} of bench/functions.py"
        Path(__file__).with_name(f"{name}.md").write_text(f"{heading}\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
