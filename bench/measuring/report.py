"""The results as a Markdown table: medians, and ratios that are taken in each round."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.measuring.rows import Row

Round = Mapping[str, Mapping[str, float]]  # values by row, by contender


@dataclass(frozen=True)
class Report:
    """`rows` are those that may have been measured, and `names` the contenders in the order of the columns.

    Ratios refer to the contender `base`. The ratio of the two `compared` ones has a column of its own.
    """

    rows: Sequence[Row]
    names: Sequence[str]
    base: str
    compared: tuple[str, str] | None
    rounds: Sequence[Round]

    def table(self) -> str:
        """The table."""
        heads = ["", *self.names, *([f"{self.compared[0]} / {self.compared[1]}"] if self.compared else [])]
        measured = {key for each in self.rounds for values in each.values() for key in values}
        rows = [self._cells(row) for row in self.rows if row.key in measured]
        return "\n".join(map(_line, [heads, ["---"] * len(heads), *rows]))

    def _cells(self, row: Row) -> list[str]:
        cells = [f"{row.title}, {row.unit}".rstrip(", ")]
        for name in self.names:
            values = [each[name][row.key] for each in self.rounds if row.key in each[name]]
            if not values:
                cells.append("")
                continue
            ratios = self._ratios(row, name, self.base)
            ratio = f" ({_digits(statistics.median(ratios))})" if ratios and name != self.base else ""
            cells.append(_digits(statistics.median(values) * row.scale) + ratio)
        if self.compared:
            cells.append(self._comparison(row, *self.compared))
        return cells

    def _comparison(self, row: Row, name: str, other: str) -> str:
        """The ratio of two contenders: its median, its range, and that of the least values."""
        ratios = self._ratios(row, name, other)
        if not ratios:
            return ""
        least, base = (min(each[key][row.key] for each in self.rounds) for key in (name, other))
        spread = f"{_digits(min(ratios))} to {_digits(max(ratios))}"
        return f"{_digits(statistics.median(ratios))} ({spread}; least {_digits(least / base)})"

    def _ratios(self, row: Row, name: str, base: str) -> list[float]:
        pairs = [(each[name].get(row.key), each[base].get(row.key)) for each in self.rounds]
        return [value / other for value, other in pairs if value is not None and other]


def conditions(rounds: int, python: str) -> str:
    """The circumstances of a run. `python` is the version that ran our functions."""
    load = os.getloadavg()[0]
    return (
        f"{rounds} rounds, {os.cpu_count()} processors, load {load:.1f} at the end, "
        f"{python}, {platform.system()} on {platform.machine()}"
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _digits(value: float) -> str:
    """Three significant digits, without decimals for a whole number."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
