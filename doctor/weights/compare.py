"""Two checkpoints, tensor by tensor: which changed, by how much, which are the same bytes."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from doctor.errors import CheckpointError
from doctor.weights.dtypes import DTYPES
from doctor.weights.entries import Entry
from doctor.weights.measure import Measured
from doctor.weights.moments import as_float64
from doctor.weights.rescale import read_blocks
from doctor.weights.shapes import differs

STEP = 1 << 18  # elements


class Status(StrEnum):
    """What became of a tensor of the base."""

    SAME = "same"
    CHANGED = "changed"
    RESHAPED = "reshaped"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """A tensor against the base.

    ``distance`` is |w - b| / |b| in L2, ``ratio`` that of the standard deviations; None where they do not apply.
    """

    name: str
    status: Status
    distance: float | None = None
    ratio: float | None = None


def compare(
    mine: Sequence[Measured],
    base: Mapping[str, Measured],
    entries: Mapping[str, Entry],
    base_entries: Mapping[str, Entry],
) -> list[Change]:
    """Every tensor of both checkpoints, in the order of ``mine``; those that the base alone has come last."""
    with ThreadPoolExecutor() as pool:
        changes = list(pool.map(lambda tensor: _change(tensor, base, entries, base_entries), mine))
    names = {tensor.name for tensor in mine}
    return [*changes, *(Change(name, Status.REMOVED) for name in base if name not in names)]


def _change(
    tensor: Measured, base: Mapping[str, Measured], entries: Mapping[str, Entry], base_entries: Mapping[str, Entry]
) -> Change:
    other = base.get(tensor.name)
    if other is None:
        return Change(tensor.name, Status.ADDED)
    if other.shape != tensor.shape:
        return Change(tensor.name, Status.RESHAPED)
    ratio = tensor.moments.std / other.moments.std if other.moments.std > 0 else None
    if not differs(tensor, other):
        return Change(tensor.name, Status.SAME, 0.0, ratio)
    return Change(tensor.name, Status.CHANGED, _distance(entries[tensor.name], base_entries[tensor.name], other), ratio)


def _distance(mine: Entry, base: Entry, measured: Measured) -> float | None:
    """|w - b| / |b|; None for tensors in several pieces, or whose base is zero or not finite."""
    if len(mine.pieces) > 1 or len(base.pieces) > 1 or not 0 < measured.moments.norm < math.inf:
        return None
    squares = 0.0
    for at in range(0, mine.count, STEP):
        count = min(STEP, mine.count - at)
        difference = _values(mine, at, count) - _values(base, at, count)
        squares += float(difference @ difference)
    return math.sqrt(squares) / measured.moments.norm


def _values(entry: Entry, at: int, count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    dtype = DTYPES[entry.dtype]
    data = b"".join(read_blocks(entry.file, entry.pieces[0].offset + at * dtype.bits // 8, count * dtype.bits // 8))
    return as_float64(np.frombuffer(data, np.uint8), dtype)


def same_bytes(one: Entry, other: Entry) -> bool:
    """Whether two tensors of one dtype hold the same bytes; False if either can't be read."""
    if one.nbytes != other.nbytes or len(one.pieces) > 1 or len(other.pieces) > 1:
        return False
    pairs = zip(
        read_blocks(one.file, one.pieces[0].offset, one.nbytes),
        read_blocks(other.file, other.pieces[0].offset, other.nbytes),
        strict=True,
    )
    try:
        return all(mine == theirs for mine, theirs in pairs)
    except (OSError, CheckpointError):
        return False
