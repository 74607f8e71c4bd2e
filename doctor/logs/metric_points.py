"""Metric lines to points: the dense regions of a block are read in one pass over columns, never line by line."""

import re
from dataclasses import replace

import numpy as np

from doctor.logs.keyed_numbers import KeyFinder, has_series
from doctor.logs.metric_elapsed import AVERAGED, ElapsedReader
from doctor.logs.metric_prefixes import LineHeads
from doctor.logs.metric_records import IS_STEP, Records, StepReader, find_records, steps_taken
from doctor.logs.metric_regions import cut_regions
from doctor.logs.metric_tables import written_out
from doctor.logs.metrics import RESUME, TABLE, Hits, metric_hits
from doctor.logs.number_columns import PADDING, Bytes, Numbers
from doctor.metric_keys import ELAPSED, KEYS, ROLES, STEP, STEP_IN_EPOCH, UNNAMED_TIME
from doctor.points import Flags, Floats, Ints, PointColumns, Points, Small

NAMES = (*dict.fromkeys(key.series for key in KEYS if key.series not in ROLES), AVERAGED)

_SERIES = np.array([NAMES.index(key.series) if key.series in NAMES else -1 for key in KEYS], np.int32)
_UNIT = np.array([key.unit for key in KEYS])
_INVERSE = np.array([key.inverse for key in KEYS])
_STEPS = has_series(STEP, STEP_IN_EPOCH)
_ANY_STEP = int(np.flatnonzero(has_series(STEP))[-1])
_SECONDS = has_series("step_time", ELAPSED) & (_UNIT == 1) & ~_INVERSE
_ELAPSED = has_series(ELAPSED)
_LOSS = has_series("loss", "eval_loss")
_UNNAMED = np.array([key.spelling == UNNAMED_TIME for key in KEYS])
# Numbers behind which a letter may stand: units, and "0/100" or "12:" behind steps.
_WITH_UNIT = has_series("step_time", "memory", "throughput", STEP, STEP_IN_EPOCH, ELAPSED)

# A dict that a narrow terminal, or a pretty printer, broke into lines. Only logs as short as a paste are mended: the hits of a
# mended text are looked for anew, and a block among others holds lines that come again in the next one.
_BROKEN = re.compile(rb"""\{['"][^{}\n]{0,4000}\n(?:[^{}\n]{0,4000}\n){0,40}?[^{}\n]{0,4000}\}""")
_PASTE = 4 * 1024 * 1024
# A line of a training sample that is printed, which may quote anything.
_QUOTED = re.compile(
    rb"\n[^\w\n]{0,4}(?i:prompt|completion|question|answer|instruction|response|chosen|rejected)(?: \d+)?[^\w\n]{0,4}: [^\n]*"
)


class MetricReader:
    """Collects the points of one log, block by block."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._keys = KeyFinder()
        self._steps = StepReader()
        self._elapsed = ElapsedReader()
        self._points = PointColumns(path, NAMES)

    def take(self, data: bytes, hits: Hits, first_line: int) -> None:
        """Read the metric lines of one block whose first line has this number.

        ``hits`` are those of METRIC_PATTERNS, in the order of their ends, that belong to the block, not those that come again
        in the next one.
        """
        if first_line == 1 and len(data) < _PASTE:
            data, hits = _on_lines(data, hits)
        if not hits:
            return
        ends = np.array([end for _, end in hits], np.int64)
        regions = cut_regions(data, ends, first_line)
        regions = replace(regions, text=_QUOTED.sub(_blanked, b"\n" + regions.text)[1:])
        resumed = regions.moved(np.array([end for number, end in hits if number == RESUME], np.int64))
        numbers = _in_units(regions.text, self._keys.numbers(regions.text))
        records = find_records(np.frombuffer(regions.text, np.uint8), numbers)
        steps, restarts = self._steps.steps(regions.text, numbers, records), self._steps.restarts(resumed, records)
        series, record, value = _columns(numbers, records, self._elapsed.step_times(numbers, records, steps))
        heads = LineHeads(regions.text, records.start)
        self._points.add(
            Points(
                path=self._path,
                names=NAMES,
                series=series,
                record=record,
                value=value,
                step=steps,
                line=regions.lines(records.start).astype(np.int32),
                rank=heads.ranks(),
                time=heads.times(),
                restart=restarts,
                total=steps_taken(numbers),
            )
        )

    def points(self) -> Points:
        """All points; no more lines can be taken."""
        return self._points.points()


def points_in_text(text: str, path: str = "") -> Points:
    """The points of a text, such as a signature's sample."""
    data = text.encode("utf-8", "replace")
    reader = MetricReader(path)
    reader.take(data, metric_hits(data), 1)
    return reader.points()


def _on_lines(data: bytes, hits: Hits) -> tuple[bytes, Hits]:
    """A whole log with broken dicts and tables as a line a record, and the hits in it."""
    mended = _BROKEN.sub(_mended, data)
    mended = written_out(mended) if any(number == TABLE for number, _ in hits) else mended
    return mended, metric_hits(mended) if mended != data else hits


def _columns(numbers: Numbers, records: Records, averaged: Floats) -> tuple[Small, Small, Floats]:
    """(series, record, value) of each point: of the numbers in records, and of the step times between two of them."""
    which = ~IS_STEP[numbers.key] & (records.of_number >= 0)
    inner, record = numbers.only(which), records.of_number[which]
    first = _first_places(record * len(NAMES) + _SERIES[inner.key])
    known = np.flatnonzero(~np.isnan(averaged))
    series = np.concatenate((_SERIES[inner.key][first], np.full(len(known), NAMES.index(AVERAGED), np.int32)))
    records_of = np.concatenate((record[first], known)).astype(np.int32)
    return series, records_of, np.concatenate((inner.value[first], averaged[known]))


def _blanked(found: "re.Match[bytes]") -> bytes:
    return b"\n" + b" " * (len(found[0]) - 1)


def _mended(found: "re.Match[bytes]") -> bytes:
    """A broken dict on one line, with empty lines behind it, so that the lines below keep their numbers."""
    return found[0].replace(b"\n", b"") + b"\n" * found[0].count(b"\n")


def _in_units(raw: bytes, numbers: Numbers) -> Numbers:
    """The numbers in their series' units; what turns out to be another number is left out."""
    text = np.frombuffer(raw + PADDING, np.uint8)
    key, value, stop = numbers.key, numbers.value, numbers.stop
    milliseconds = _behind(text, stop, b"ms")
    value = np.where(_SECONDS[key] & milliseconds, value * 1e-3, value) * _UNIT[key]
    value = np.where(_ELAPSED[key] & _behind(text, stop, b"m") & ~milliseconds, value * 60, value)
    with np.errstate(divide="ignore"):
        value = np.where(_INVERSE[key], 1 / value, value)
    good = (_WITH_UNIT[key] | ~_is_letter(text[stop])) & (np.isfinite(value) | (text[stop] != ord("-")))
    good &= milliseconds | ~_UNNAMED[key]
    good &= ~(_STEPS[key] & (text[stop] == ord("%")))  # how far a bar is, not where
    # "Validation loss 6312:  0.149" tells the step behind the name.
    colon = np.flatnonzero(_LOSS[key] & (text[stop] == ord(":")))
    key = key.copy()
    key[[row for row in colon if raw[numbers.start[row] : stop[row]].isdigit()]] = _ANY_STEP
    return Numbers(key, numbers.start, stop, value).only(good)


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
