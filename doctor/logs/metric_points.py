"""Metric lines to points: the dense regions of a block are read in one pass over columns, never line by line."""

import re
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from doctor.logs.metric_prefixes import LineHeads
from doctor.logs.metric_records import IS_STEP, StepReader, find_records, has_role, steps_taken
from doctor.logs.metric_regions import Regions, cut_regions
from doctor.logs.number_columns import PADDING, Bytes, Flags, Numbers, numbers_at
from doctor.metric_keys import KEYS, RESUME, ROLES, STEP, STEP_IN_EPOCH
from doctor.points import Ints, Points, joined

NAMES = tuple(dict.fromkeys(key.series for key in KEYS if key.series not in ROLES))

_SERIES = np.array([NAMES.index(key.series) if key.series in NAMES else -1 for key in KEYS])
_UNIT = np.array([key.unit for key in KEYS])
_INVERSE = np.array([key.inverse for key in KEYS])
_RESUME = has_role(RESUME)
_PRIMARY = np.array([key.primary for key in KEYS]) | _RESUME
_ANY_STEP = int(np.flatnonzero(has_role(STEP))[-1])
_SECONDS = has_role("step_time") & (_UNIT == 1) & ~_INVERSE
_LOSS = has_role("loss") | has_role("eval_loss")
# Numbers behind which a letter may stand: units, and "0/100" or "12:" behind steps.
_WITH_UNIT = (
    has_role("step_time") | has_role("memory") | has_role("throughput") | has_role(STEP) | has_role(STEP_IN_EPOCH)
)

# A dict that a narrow terminal, or a pretty printer, broke into lines; only logs as short as a paste are mended.
_BROKEN = re.compile(rb"""\{['"][^{}\n]{0,4000}\n(?:[^{}\n]{0,4000}\n){0,40}?[^{}\n]{0,4000}\}""")
_PASTE = 4 * 1024 * 1024

Hits = Sequence[tuple[int, int]]


class MetricReader:
    """Collects the points of one log, block by block. ``scan`` finds the hits of ``metric_patterns()`` in bytes."""

    def __init__(self, path: str, scan: Callable[[bytes], Hits]) -> None:
        self._path = path
        self._scan = scan
        self._steps = StepReader()
        self._parts: list[Points] = []

    def take(self, data: bytes, hits: Hits, first_line: int) -> None:
        """Read the hits (pattern number, end offset) of one block whose first line has this number.

        Only the hits that belong to the block, not those that come again in the next one.
        """
        if len(data) <= _PASTE and _BROKEN.search(data):
            data = _BROKEN.sub(_mended, data)
            hits = self._scan(data)
        key, end = _columns(hits)
        primary = end[_PRIMARY[key]]
        if len(primary):
            regions = cut_regions(data, np.sort(primary), first_line)
            inside, end = regions.moved(end)
            self._read(regions, key[inside], end)

    def points(self) -> Points:
        """All points so far."""
        return joined(self._path, NAMES, self._parts)

    def _read(self, regions: Regions, key: Ints, end: Ints) -> None:
        text = np.frombuffer(regions.text + PADDING, np.uint8)
        numbers = _numbers(text, *_one_per_place(key, end))
        records = find_records(text[: len(regions.text)], numbers)
        steps, restarts = self._steps.steps(regions.text, numbers, records), self._steps.restarts(numbers, records)
        which = ~IS_STEP[numbers.key] & (records.of_number >= 0)
        inner, record = numbers.only(which), records.of_number[which]
        series = _SERIES[inner.key]
        first = _first_places(record * len(NAMES) + series)
        heads = LineHeads(regions.text, records.start)
        self._parts.append(
            Points(
                path=self._path,
                names=NAMES,
                series=series[first],
                record=record[first],
                value=inner.value[first],
                step=steps,
                line=regions.lines(records.start),
                rank=heads.ranks(),
                time=heads.times(),
                restart=restarts,
                total=steps_taken(numbers),
            )
        )


def points_in_text(text: str, scan: Callable[[bytes], Hits]) -> Points:
    """The points of a text, such as a signature's sample."""
    data = text.encode("utf-8", "replace")
    reader = MetricReader("", scan)
    reader.take(data, scan(data), 1)
    return reader.points()


def _mended(found: "re.Match[bytes]") -> bytes:
    """A broken dict on one line, with empty lines behind it, so that the lines below keep their numbers."""
    return found[0].replace(b"\n", b"") + b"\n" * found[0].count(b"\n")


def _columns(hits: Hits) -> tuple[Ints, Ints]:
    flat = np.fromiter(chain.from_iterable(hits), np.int64, 2 * len(hits))
    return flat[::2], flat[1::2]


def _one_per_place(key: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Where several keys end at the same number, the one that stands first in KEYS."""
    order = np.argsort(end * len(KEYS) + key, kind="stable")
    key, end = key[order], end[order]
    first = np.ones(len(end), np.bool_)
    first[1:] = end[1:] != end[:-1]
    return key[first], end[first]


def _numbers(text: Bytes, key: Ints, end: Ints) -> Numbers:
    """The numbers of these hits in their series' units; what is no number, or another one, is left out."""
    start = end - 1
    start = np.where((start > 0) & np.isin(text[start - 1], list(b"+-")), start - 1, start)
    value, stop, good = numbers_at(text, start)
    value = np.where(_SECONDS[key] & _behind(text, stop, b"ms"), value * 1e-3, value) * _UNIT[key]
    with np.errstate(divide="ignore"):
        value = np.where(_INVERSE[key], 1 / value, value)
    good &= _WITH_UNIT[key] | ~_is_letter(text[stop])
    good &= np.isfinite(value) | (text[stop] != ord("-"))
    # "Validation loss 6312:  0.149" tells the step behind the name.
    colon = np.flatnonzero(_LOSS[key] & (text[stop] == ord(":")))
    key[[row for row in colon if b"." not in text[start[row] : stop[row]].tobytes()]] = _ANY_STEP
    return Numbers(key, start, stop, value).only(good | _RESUME[key])


def _behind(text: Bytes, stop: Ints, unit: bytes) -> Flags:
    """Whether a unit follows, behind a blank or not."""
    stop = np.where(text[stop] == ord(" "), stop + 1, stop)
    flags: Flags = np.all([text[stop + n] == byte for n, byte in enumerate(unit)], axis=0)
    return flags


def _is_letter(byte: Bytes) -> Flags:
    low = byte | 0x20
    flags: Flags = ((low >= ord("a")) & (low <= ord("z"))) | (byte == ord("_"))
    return flags


def _first_places(values: Ints) -> Ints:
    """The ascending indices at which a value stands for the first time."""
    order = np.argsort(values, kind="stable")
    new = np.ones(len(values), np.bool_)
    new[1:] = np.diff(values[order]) != 0
    places: Ints = np.sort(order[new])
    return places
