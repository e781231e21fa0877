"""A peer beside ours on one row: both checked, then timed."""

from collections.abc import Callable
from functools import partial

import numpy as np
import timing
from peer import Contender, Unavailable, offers
from report import Comparison, Timed
from rows import Row

from ours import Ours


class Contest:
    """One row. Ours is prepared and checked once, then each peer against it."""

    def __init__(self, ours: Ours, row: Row, effort: timing.Effort):
        self._row, self._inputs, self._effort = row, row.tensors(), effort
        self._reason = ""
        try:
            (make,) = offers(ours, row).values()
            self._ours = make(row, self._inputs)
            self._output, self._error = self._checked(self._ours)
        except Unavailable as reason:
            self._reason = str(reason)

    def against(self, name: str, make: Callable[[Row, object], Contender]) -> Comparison:
        result = partial(Comparison, self._row, name)
        try:
            peer = make(self._row, self._inputs)
            output, error = self._checked(peer)
        except Exception as reason:  # noqa: BLE001, whatever a peer throws, the others go on
            return result(peer_reason=describe(reason))
        if self._reason:
            (theirs,) = timing.alternate([peer.run], self._effort)
            return result(Timed(theirs, error), ours_reason=self._reason)
        theirs, ours = timing.alternate([peer.run, self._ours.run], self._effort)
        difference = float(np.abs(output - self._output).max())
        return result(Timed(theirs, error), Timed(ours, self._error), difference)

    def _checked(self, contender: Contender) -> tuple[np.ndarray, float]:
        """The output of one run, and its error. Raises `Unavailable` if it is wrong."""
        contender.run()
        output = np.array(contender.output())
        error = self._row.error(self._inputs, output)
        limit = self._row.limit(self._inputs)
        if not error <= limit:
            raise Unavailable(
                f"wrong, so not timed: {error:.1e} from f64, where rounding explains {limit:.1e}"
            )
        return output, error


def describe(reason: Exception) -> str:
    """One line of it."""
    if isinstance(reason, Unavailable):
        return str(reason)
    lines = [line for line in str(reason).splitlines() if line.strip()]
    return ": ".join([type(reason).__name__, *lines[:1]])
