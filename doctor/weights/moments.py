"""Statistics of runs of elements: fast for the large float tensors, in float64 for everything else.

A chunk is at most CHUNK bytes, so that it stays in the second-level cache while it is gone over. NumKong sums elements and
squares in one pass, 16-bit floats in float32 without widening them first: over rows of ROW elements, everything above a row
in float64.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numkong
import numpy as np
import numpy.typing as npt

from doctor.weights.dtypes import Dtype, table_of

CHUNK = 1 << 19
ROW = 8192  # sums of squares of so many 16-bit floats are good to 9e-7 in float32
BLOCK = 1 << 16  # elements that are taken to float64 at a time
CANCELLATION = 0.5  # mean^2 is this part of the mean square: the variance would lose digits in float32
SMALLEST, LARGEST = 1e-12, 1e15  # squares of these still are normal numbers in float32

# What NumKong calls the types that it is asked to sum.
KINDS: dict[str, Literal["bf16", "f16", "f32"]] = {"BF16": "bf16", "F16": "f16", "F32": "f32"}

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """What is known of a run of elements; ``m2`` is the sum of squared deviations from the mean.

    ``first`` is the index of its first NaN or Inf. Mean, m2 and absmax are over all elements: one NaN makes them NaN.
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    absmax: float = 0.0
    nan: int = 0
    inf: int = 0
    zeros: int = 0
    first: int | None = None

    @property
    def std(self) -> float:
        """The unbiased standard deviation; NaN for fewer than two elements, as in torch."""
        return math.sqrt(self.m2 / (self.count - 1)) if self.count > 1 else math.nan

    @property
    def rms(self) -> float:
        """The root of the mean square; NaN for no elements."""
        return math.sqrt(self.m2 / self.count + self.mean * self.mean) if self.count else math.nan

    @property
    def norm(self) -> float:
        """The L2 norm."""
        return self.rms * math.sqrt(self.count) if self.count else 0.0

    def shifted(self, start: int) -> "Moments":
        """The same for a run that begins at element ``start`` of a longer one."""
        first = None if self.first is None else self.first + start
        return Moments(self.count, self.mean, self.m2, self.absmax, self.nan, self.inf, self.zeros, first)


def merge(parts: Iterable[Moments]) -> Moments:
    """The moments of runs put together (Chan, Golub and LeVeque 1979), in the given order."""
    count, mean, m2, absmax, nan, inf, zeros = 0, 0.0, 0.0, 0.0, 0, 0, 0
    first: int | None = None
    for part in parts:
        total = count + part.count
        if not total:
            continue
        delta = part.mean - mean
        mean += delta * part.count / total
        m2 += part.m2 + delta * delta * count * part.count / total
        absmax = part.absmax if math.isnan(part.absmax) else max(absmax, part.absmax)
        count, nan, inf, zeros = total, nan + part.nan, inf + part.inf, zeros + part.zeros
        first = first if part.first is None or (first is not None and first < part.first) else part.first
    return Moments(count, mean, m2, absmax, nan, inf, zeros, first)


def exact(values: npt.NDArray[np.floating | np.integer]) -> Moments:
    """The moments of a small array in float64: one pass, and a second where the first would lose digits."""
    wide = values.astype(np.float64)
    if not wide.size:
        return Moments()
    with np.errstate(invalid="ignore", over="ignore"):
        total, squares = float(wide.sum()), float(np.einsum("i,i->", wide, wide))
    if not math.isfinite(squares):
        return _with_nonfinite(wide)
    mean = total / wide.size
    close = total * mean > 0.999 * squares
    m2 = float(np.square(wide - mean).sum()) if close else squares - total * mean
    absmax = max(float(wide.max()), -float(wide.min()))
    return Moments(wide.size, mean, max(m2, 0.0), absmax, zeros=int(wide.size - np.count_nonzero(wide)))


def _with_nonfinite(wide: Floats) -> Moments:
    """The same for an array with NaN or Inf, or whose squares overflow."""
    finite = np.isfinite(wide)
    nan, bad = int(np.isnan(wide).sum()), int(wide.size - finite.sum())
    zeros = int(wide.size - np.count_nonzero(wide))
    if not bad:
        return Moments(wide.size, float(wide.mean()), math.inf, float(np.abs(wide).max()), zeros=zeros)
    absmax = math.nan if nan else math.inf
    return Moments(wide.size, math.nan, math.nan, absmax, nan, bad - nan, zeros, int(finite.argmin()))


Fill = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Views:
    """One buffer seen as its integers without and with sign, and as rows of ROW elements."""

    unsigned: npt.NDArray[np.unsignedinteger]
    signed: npt.NDArray[np.signedinteger]
    rows: list[npt.NDArray[np.unsignedinteger]]


class Workspace:
    """The buffer of one thread: ``chunk`` takes CHUNK bytes from a file."""

    def __init__(self) -> None:
        self.chunk: Bytes = np.empty(CHUNK, np.uint8)
        self._views: dict[tuple[int, int], _Views] = {}

    def run(self, nbytes: int, dtype: Dtype, fill: Fill, precise: bool = False) -> Moments:
        """The moments of a run of ``nbytes`` bytes; ``fill(at, size)`` puts a part of it into ``chunk``.

        ``precise`` is in float64 throughout. What the fast way can't do (NaN and Inf, squares out of range, a mean that
        outweighs the deviation) is read again and done so too.
        """
        size = dtype.bits // 8
        whole = 0 if precise or dtype.name not in KINDS else nbytes - nbytes % (ROW * size)
        fast = self._fast(whole, dtype, fill) if whole else None
        start = whole if fast else 0
        return merge([*([fast] if fast else []), self._exact(start, nbytes, dtype, fill).shifted(start // size)])

    def _exact(self, start: int, end: int, dtype: Dtype, fill: Fill) -> Moments:
        parts = []
        for at in range(start, end, CHUNK):
            count = min(CHUNK, end - at)
            fill(at, count)
            data = self.chunk[:count]
            found = _from_codes(data, dtype.name) if dtype.bits == 8 else _in_blocks(data, dtype)
            parts.append(found.shifted((at - start) * 8 // dtype.bits))
        return merge(parts)

    def _fast(self, nbytes: int, dtype: Dtype, fill: Fill) -> Moments | None:
        total, squares, largest, zeros, kind = 0.0, 0.0, 0, 0, KINDS[dtype.name]
        for at in range(0, nbytes, CHUNK):
            size = min(CHUNK, nbytes - at)
            fill(at, size)
            views = self._seen_as(size, dtype.bits // 8)
            largest, zeros = max(largest, _magnitude(views)), zeros + _zeros(views)
            for row in views.rows:
                of_row, squares_of_row = numkong.moments(row, dtype=kind)
                total, squares = total + of_row, squares + squares_of_row
        count = nbytes * 8 // dtype.bits
        if zeros == count:
            return Moments(count, zeros=count)
        absmax = float(as_float64(np.array([largest], f"<u{dtype.bits // 8}"), dtype)[0])
        mean = total / count
        if not SMALLEST < absmax < LARGEST or mean * total > CANCELLATION * squares:  # includes NaN and Inf
            return None
        return Moments(count, mean, squares - mean * total, absmax, zeros=zeros)

    def _seen_as(self, size: int, width: int) -> _Views:
        if (size, width) not in self._views:
            data = self.chunk[:size]
            unsigned, signed = data.view(f"<u{width}"), data.view(f"<i{width}")
            self._views[size, width] = _Views(unsigned, signed, list(unsigned.reshape(-1, ROW)))
        return self._views[size, width]


def _magnitude(views: _Views) -> int:
    """The bits of the largest magnitude. The sign is the highest bit, so the bits of floats compare as they do."""
    sign = 1 << (8 * views.unsigned.itemsize - 1)
    return max(int(views.signed.max()), int(views.unsigned.max()) - sign, 0)


def _zeros(views: _Views) -> int:
    """How many elements are 0 or -0."""
    sign = 1 << (8 * views.unsigned.itemsize - 1)
    if views.unsigned.min() and int(views.signed.min()) != -sign:
        return 0
    return views.unsigned.size - int(np.count_nonzero(views.unsigned & views.unsigned.dtype.type(sign - 1)))


def as_float64(data: npt.NDArray[np.generic], dtype: Dtype) -> Floats:
    """Raw elements as float64, shape (n,)."""
    if dtype.bits == 8:
        return table_of(dtype.name)[data.view(np.uint8)]
    if dtype.name == "BF16":
        return (data.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    return data.view(dtype.numpy).astype(np.float64)


def _in_blocks(data: Bytes, dtype: Dtype) -> Moments:
    step = BLOCK * dtype.bits // 8
    starts = range(0, data.size, step)
    return merge(exact(as_float64(data[at : at + step], dtype)).shifted(at * 8 // dtype.bits) for at in starts)


def _from_codes(data: Bytes, name: str) -> Moments:
    """The moments of an 8-bit type from how often each of its 256 codes occurs."""
    table = table_of(name)
    counts = np.bincount(data, minlength=256)
    present = counts > 0
    values, weights = table[present], counts[present]
    nan = int(weights[np.isnan(values)].sum())
    bad = int(weights[~np.isfinite(values)].sum())
    mean = float(weights @ values) / data.size if data.size and not bad else math.nan if bad else 0.0
    m2 = float(weights @ np.square(values - mean)) if not bad else math.nan
    absmax = math.nan if nan else float(np.abs(values).max(initial=0.0))
    first = int(np.argmax(~np.isfinite(table)[data])) if bad else None
    return Moments(data.size, mean, m2, absmax, nan, bad - nan, int(weights[values == 0].sum()), first)
