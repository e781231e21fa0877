"""Results, for people and for programs."""

import platform
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from rows import Row
from tabulate import tabulate
from timing import Samples, ratios

NONE = "–"
LEGEND = """\
Times are median (best). `peer / ours` is the median of their ratios, turn by turn, with its
quartiles: above 1, flashlet is faster. The last three are the largest absolute differences."""


@dataclass(frozen=True)
class Timed:
    """A library on one row: how fast, and how far from f64."""

    samples: Samples
    error: float

    def rate(self, row: Row) -> float:
        """In the row's unit."""
        return row.work / self.samples.median / 1e9

    def cells(self, row: Row) -> list[str]:
        median, best = _digits(self.samples.median * 1e3), _digits(self.samples.best * 1e3)
        return [f"{median} ({best})", f"{self.rate(row):.1f}"]

    def summary(self, row: Row) -> dict:
        return {
            "median_s": self.samples.median,
            "best_s": self.samples.best,
            "turns": len(self.samples.turns),
            "rate": self.rate(row),
            "error": self.error,
        }


@dataclass(frozen=True)
class Comparison:
    """A peer beside ours on one row. Where one is not there, its reason says why."""

    row: Row
    name: str
    peer: Timed | None = None
    ours: Timed | None = None
    difference: float | None = None
    """The largest between the two outputs."""
    peer_reason: str = ""
    ours_reason: str = ""

    def ratio(self) -> str:
        if not (self.peer and self.ours):
            return NONE
        low, middle, high = ratios(self.peer.samples, self.ours.samples)
        return f"**{middle:.2f}** ({low:.2f}–{high:.2f})"

    def cells(self) -> list[str]:
        both = (self.peer, self.ours)
        times = [
            cell for timed in both for cell in (timed.cells(self.row) if timed else [NONE] * 2)
        ]
        errors = [timed and timed.error for timed in both] + [self.difference]
        shown = [NONE if error is None else f"{error:.1e}" for error in errors]
        return [self.row.name, self.name, self.ratio(), *times, *shown]

    def progress(self) -> str:
        if self.peer is None:
            return f"{self.name}: {self.peer_reason}"
        ours = self.ours.cells(self.row)[0] if self.ours else self.ours_reason
        return f"{self.name}: {self.peer.cells(self.row)[0]} ms; ours: {ours}; {self.ratio()}"

    def summary(self) -> dict:
        work = {"work": self.row.work, "unit": self.row.unit}
        out = {"row": self.row.name, **asdict(self.row), **work, "name": self.name}
        out["peer"] = self.peer.summary(self.row) if self.peer else self.peer_reason
        out["ours"] = self.ours.summary(self.row) if self.ours else self.ours_reason
        if self.peer and self.ours:
            out["ratio_quartiles"] = ratios(self.peer.samples, self.ours.samples)
            out["difference"] = self.difference
        return out


@dataclass(frozen=True)
class Report:
    """All that was found, in the order in which it was."""

    conditions: dict[str, str]
    comparisons: list[Comparison]

    def markdown(self) -> str:
        facts = "\n".join(f"- {name}: {value}" for name, value in self.conditions.items())
        timed = [comparison for comparison in self.comparisons if comparison.peer]
        units = dict.fromkeys(comparison.row.unit for comparison in timed)
        tables = [_table(unit, [one for one in timed if one.row.unit == unit]) for unit in units]
        sections = [facts, *tables, *([LEGEND] if timed else []), self._absent()]
        return "\n\n".join(section for section in sections if section)

    def _absent(self) -> str:
        """Each reason once, with the rows that it explains."""
        rows = defaultdict(dict)
        for one in self.comparisons:
            if one.peer_reason:
                rows[f"{one.name}: {one.peer_reason}"][one.row.name] = None
            if one.ours_reason:
                rows[f"ours: {one.ours_reason}"][one.row.name] = None
        return "\n".join(f"- {reason}: {', '.join(names)}" for reason, names in rows.items())

    def json(self) -> dict:
        comparisons = [comparison.summary() for comparison in self.comparisons]
        return {"conditions": self.conditions, "comparisons": comparisons}


def _table(unit: str, comparisons: list[Comparison]) -> str:
    times = ["peer, ms", unit, "ours, ms", unit]
    headers = ["row", "peer", "peer / ours", *times, "peer - f64", "ours - f64", "peer - ours"]
    cells = [comparison.cells() for comparison in comparisons]
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True)


def cpu_name() -> str:
    """The processor, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _digits(x: float) -> str:
    """Three of them, and no exponent."""
    return f"{x:.0f}" if x >= 100 else f"{x:#.3g}"
