"""The rows of the comparison, and how each is measured in a started contender."""

import statistics
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.contenders.contender import Contender, Exchange, Running, running
from bench.servers.model import Answer
from bench.servers.runtime_api import FunctionError
from bench.servers.services import Services

SHORT, REPEATS = Answer(5), 5
WARM_UPS = 30  # Node compiles what runs often
COLD_STARTS = 3
PACE = 0.02  # seconds between two tokens: how models really speak
PACED, PACED_SHORT = Answer(150, PACE), Answer(15, PACE)
FLAT, FLAT_SHORT = Answer(2_000), Answer(500)


@dataclass(frozen=True)
class Row:
    """One row. `scale` turns the measured value into the unit. Rows of a group are measured together."""

    key: str
    group: str
    title: str
    unit: str
    scale: float = 1.0


MS, US = ("ms", 1e3), ("us", 1e6)
ROWS = (
    Row("cold-next", "cold", "cold: process start to the first `next`", *MS),
    Row("cold-first", "cold", "cold: process start to the first delta", *MS),
    Row("cold-cpu", "cold", "cold: CPU until the first answer has ended", *MS),
    Row("first-wall", "first", "warm: request to the first delta", *MS),
    Row("first-cpu", "first", "warm: CPU until the first delta", *MS),
    Row("request-cpu", "first", f"CPU of a request with {SHORT.tokens} tokens", *MS),
    Row("paced-cpu", "paced", "CPU per token at 20 ms pace, everything counted", *US),
    Row("paced-token", "paced", "CPU per token at 20 ms pace, without the fixed part", *US),
    Row("delay-median", "paced", "latency added per token, median", *US),
    Row("delay-p99", "paced", "latency added per token, p99", *US),
    Row("flat-token", "flat", "CPU per token flat out, without the fixed part", *US),
    Row("memory", "memory", "RSS, warm", "MiB"),
    Row("size", "size", "unzipped size of layers and functions", "MB"),
    Row("calls", "calls", "store calls of a message", ""),
    Row("calls-before", "calls", "store calls before the model is called", ""),
)
GROUPS = tuple(dict.fromkeys(row.group for row in ROWS))


async def measure_round(
    contenders: Sequence[Contender], services: Services, folder: Path, groups: Collection[str]
) -> Mapping[str, Mapping[str, float]]:
    """Returns the values of the rows of `groups`, by contender and key, in seconds, MiB, MB or counts.

    Contenders take turns often, because the load of a machine changes from second to second. For the warm rows all
    processes live at the same time, and all but one wait for an event.
    """
    samples: dict[str, list[Mapping[str, float]]] = {each.name: [] for each in contenders}
    logs = {each.name: folder / f"log-{number}" for number, each in enumerate(contenders)}
    for each in contenders:
        samples[each.name] += [{"size": each.megabytes}] if each.megabytes is not None else []
    for _ in range(COLD_STARTS if {"cold", "calls"} & set(groups) else 0):
        for each in contenders:
            samples[each.name].append(await _cold(each, services, logs[each.name]))
    stages = [stage for stage in STAGES if stage.group in groups]
    warm = [each for each in contenders if each.has_warm_rows] if stages else []
    async with AsyncExitStack() as stack:
        processes: dict[str, Running] = {}
        for each in warm:
            process = await stack.enter_async_context(running(each, services, logs[each.name]))
            processes[each.name] = process
            await process.wait_until_ready()
            for _ in range(WARM_UPS):
                await process.ask(SHORT)
        for stage in stages:
            for _ in range(stage.turns):
                for name, process in processes.items():
                    samples[name].append(await stage.measure(process))
    wanted = {row.key for row in ROWS if row.group in groups}
    return {name: _medians(values, wanted) for name, values in samples.items()}


def _medians(samples: Sequence[Mapping[str, float]], wanted: Collection[str]) -> Mapping[str, float]:
    keys = [key for key in wanted if any(key in each for each in samples)]
    return {key: statistics.median(each[key] for each in samples if key in each) for key in keys}


async def _cold(contender: Contender, services: Services, log: Path) -> Mapping[str, float]:
    async with running(contender, services, log) as process:
        ready = await process.wait_until_ready()
        tasks, age = len(services.invoke.payloads), process.age()
        first = await process.ask(SHORT)
        if contender.is_ours:
            _check_everything_ran(first, len(services.invoke.payloads) - tasks, log)
        return {
            "cold-next": ready,
            "cold-first": age + first.first_delta,
            "cold-cpu": process.process.cpu_seconds(),
            "calls": len(first.store_calls),
            "calls-before": first.store_calls_before_model,
        }


async def _first(process: Running) -> Mapping[str, float]:
    await process.ask(SHORT)  # brings the process back into the caches of the processor
    short = [await process.ask(SHORT) for _ in range(REPEATS)]
    return {
        "first-wall": statistics.median(each.first_delta for each in short),
        "first-cpu": statistics.median(each.first_delta_cpu for each in short),
        "request-cpu": statistics.median(each.cpu for each in short),
    }


async def _paced(process: Running) -> Mapping[str, float]:
    paced, short = await process.ask(PACED), await process.ask(PACED_SHORT)
    return {
        "paced-cpu": paced.cpu / PACED.tokens,
        "paced-token": _per_token(paced, short, PACED, PACED_SHORT),
        "delay-median": statistics.median(paced.delays),
        "delay-p99": statistics.quantiles(paced.delays, n=100)[98],
    }


async def _flat(process: Running) -> Mapping[str, float]:
    await process.ask(FLAT_SHORT)  # brings the process back into the caches of the processor
    long, short = await process.ask(FLAT), await process.ask(FLAT_SHORT)
    return {"flat-token": _per_token(long, short, FLAT, FLAT_SHORT)}


async def _memory(process: Running) -> Mapping[str, float]:
    return {"memory": process.process.resident_megabytes()}


@dataclass(frozen=True)
class Stage:
    """The measurement of a group in a warm process. Each contender has so many `turns` in a round."""

    group: str
    turns: int
    measure: Callable[[Running], Awaitable[Mapping[str, float]]]


STAGES = (Stage("first", 4, _first), Stage("paced", 1, _paced), Stage("flat", 3, _flat), Stage("memory", 1, _memory))


def _check_everything_ran(first: Exchange, learning_tasks: int, log: Path) -> None:
    """Raises FunctionError if the message was answered without its memory, limits, log, metrics or learning."""
    before = first.store_calls[: first.store_calls_before_model]
    after = first.store_calls[first.store_calls_before_model :]
    checks = {
        "memory": "Query" in before,
        "limits": "UpdateItem" in before,
        "log": "TransactWriteItems" in before and "TransactWriteItems" in after,
        "learning": learning_tasks == 1,
        "metrics": "CloudWatchMetrics" in log.read_text(encoding="utf-8"),
    }
    if missing := [name for name, ran in checks.items() if not ran]:
        raise FunctionError(f"the function ran without: {', '.join(missing)}; its calls: {first.store_calls}")


def _per_token(long: Exchange, short: Exchange, longer: Answer, shorter: Answer) -> float:
    """The CPU seconds of one token: of the difference between a long and a short answer."""
    return (long.cpu - short.cpu) / (longer.tokens - shorter.tokens)
