"""Two libraries, timed by turns: what disturbs the one disturbs the other."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median, quantiles

TURN = 0.01
"""Seconds, far above the clock's steps: a shorter call is repeated to fill its turn."""


@dataclass(frozen=True)
class Effort:
    """When a comparison is long enough: both must be reached."""

    seconds: float
    turns: int


@dataclass
class Samples:
    """Seconds a call, one number a turn."""

    turns: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.turns)

    @property
    def best(self) -> float:
        return min(self.turns)


def pin() -> str:
    """Stays on one processor, so that no library uses a second one unseen. Says which."""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned"
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    return f"pinned to processor {cpu}"


def alternate(runs: list[Callable[[], object]], effort: Effort) -> list[Samples]:
    """Runs each in turn, now forwards, now backwards, as long as `effort` says."""
    contests = [(run, _calls(run), Samples()) for run in runs]
    start, turns = time.perf_counter(), 0
    while turns < effort.turns or time.perf_counter() - start < effort.seconds:
        for run, calls, samples in contests if turns % 2 == 0 else reversed(contests):
            samples.turns.append(_turn(run, calls))
        turns += 1
    return [samples for _, _, samples in contests]


def ratios(peer: Samples, ours: Samples) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of peer / ours, turn by turn."""
    low, middle, high = quantiles(
        (p / o for p, o in zip(peer.turns, ours.turns, strict=True)), n=4, method="inclusive"
    )
    return low, middle, high


def _calls(run: Callable[[], object]) -> int:
    """How many calls make a turn. They warm caches and branch predictors up, too."""
    return max(1, round(TURN / min(_turn(run, 1) for _ in range(2))))


def _turn(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
