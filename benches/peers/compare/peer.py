"""What the comparison wants of a library."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from rows import Row, Tensors


class Unavailable(Exception):
    """A library that is not there, or a row that it cannot do: the reason, in words."""


@dataclass(frozen=True)
class Contender:
    """A prepared attention: everything but the computation itself is done."""

    run: Callable[[], object]
    output: Callable[[], np.ndarray]
    """What the last run computed, `[q_len, q_heads, head_dim]` in f32."""


class Peer(Protocol):
    """A library, loaded, on one thread."""

    version: str

    def offers(self, row: Row) -> dict[str, Callable[[Row, Tensors], Contender]]:
        """The ways in which it can do this row, by name. Making one may raise `Unavailable`."""
