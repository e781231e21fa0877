"""What the comparison wants of a library."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from attention import Attention
from rotation import Rotation
from rows import Row


class Unavailable(Exception):
    """A library that is not there, or a row that it cannot do: the reason, in words."""


@dataclass(frozen=True)
class Contender:
    """A prepared computation: everything but the computation itself is done."""

    run: Callable[[], object]
    output: Callable[[], np.ndarray]
    """What the last run computed, in f32: shaped as the row's `error` says. Where it works in
    place, each run goes on from what the one before left."""


Offers = dict[str, Callable[[Row, object], Contender]]
"""Makers of contenders by name, of a row and its tensors. One may raise `Unavailable`."""


class Peer(Protocol):
    """A library, loaded, on one thread: the ways in which it can do a row."""

    version: str

    def attention(self, row: Attention) -> Offers: ...

    def rotation(self, row: Rotation) -> Offers: ...


def offers(peer: Peer, row: Row) -> Offers:
    match row:
        case Attention():
            return peer.attention(row)
        case Rotation():
            return peer.rotation(row)
    raise TypeError(f"no row: {row}")
