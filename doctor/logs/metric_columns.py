"""Metric lines to columns: the dense regions of a block are read in one pass, never line by line, whatever other blocks hold."""

import re
from dataclasses import dataclass, replace

import numpy as np

from doctor.logs.keyed_numbers import KeyFinder, has_series
from doctor.logs.metric_elapsed import AVERAGED, elapsed_told
from doctor.logs.metric_evaluations import evaluated
from doctor.logs.metric_prefixes import LineHeads
from doctor.logs.metric_records import IS_END, IS_STEP, Records, Steps, find_records, steps_taken, steps_told
from doctor.logs.metric_regions import LineEnds, Regions, cut_regions
from doctor.logs.metric_tables import written_out
from doctor.logs.metrics import EVALUATION, RESUME, STAGE, TABLES, Hits, metric_hits
from doctor.logs.number_columns import PADDING, Bytes, Numbers
from doctor.metric_keys import ELAPSED, KEYS, ROLES, STEP, STEP_IN_EPOCH, UNNAMED_TIME
from doctor.points import Flags, Floats, Ints, Small

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
# A line that begins a stage: behind prefixes and decoration its number, and perhaps its name.
_STAGE_LINE = re.compile(
    rb"(?![^\n]*(?i:error|exit|fail|kill))(?:[^\n]{0,120}[\])|:-]\s)?[^\w\n]{0,40}(?:(?i:starting|begin(?:ning)?|entering|training)\s)?(?i:stage|phase|task|lesson|curriculum"
    rb"(?: stage| phase| level)?)[ #:]{1,3}(\d{1,2})(?: ?(?:of|/) ?\d{1,3})?(?:\s*[:(\[-][^\n=]{0,80})?[^\w\n]{0,40}"
)
# A line of a training sample that is printed, which may quote anything.
_QUOTED = re.compile(
    rb"\n[^\w\n]{0,4}(?i:prompt|completion|question|answer|instruction|response|chosen|rejected)(?: \d+)?[^\w\n]{0,4}: [^\n]*"
)


@dataclass(frozen=True, slots=True)
class MetricColumns:
    """What the metric lines of one block hold, as ``Points`` has it, but that lines are counted from the block's first (0).

    ``steps`` and ``elapsed`` (seconds since the loop's start) are what the records themselves say. ``resumed[r]`` is 1 if
    training was resumed in this block between record r and the one before, ``stages[r]`` the number of the stage that began
    there, or else 0, ``ended[r]`` 1 if a run was summed up there; the last entry stands for a record behind the block.
    """

    series: Small
    record: Small
    value: Floats
    steps: Steps
    elapsed: Floats
    line: Small
    rank: Small
    time: Floats
    resumed: Small
    stages: Small
    ended: Small
    total: float


class ColumnReader:
    """Reads the metric lines of blocks, each for itself; what is remembered between them saves time only."""

    def __init__(self) -> None:
        self._keys = KeyFinder()

    def read(self, data: bytes, hits: Hits, lines: LineEnds, *, whole: bool = False) -> MetricColumns | None:
        """The metric lines of one block; None if it has none. ``whole`` is whether it is all of its log, if it is small.

        ``hits`` are those of METRIC_PATTERNS, in the order of their ends, that belong to the block, not those that come again
        in the next one.
        """
        if whole and len(data) < _PASTE:
            data, hits, lines = _on_lines(data, hits, lines)
        if not hits:
            return None
        regions = cut_regions(data, np.array([end for _, end in hits], np.int64), lines)
        regions = replace(regions, text=_QUOTED.sub(_blanked, b"\n" + regions.text)[1:])
        numbers = _in_units(regions.text, self._keys.numbers(regions.text))
        resumed, stages, evaluations = (
            regions.moved(np.array([end for number, end in hits if number == one], np.int64))
            for one in (RESUME, STAGE, EVALUATION)
        )
        return _columns(regions, evaluated(regions.text, numbers, evaluations), resumed, stages)


def _on_lines(data: bytes, hits: Hits, lines: LineEnds) -> tuple[bytes, Hits, LineEnds]:
    """A whole log with broken dicts and tables as a line a record, and the hits and line ends in it."""
    mended = _BROKEN.sub(_mended, data)
    mended = written_out(mended) if any(number in TABLES for number, _ in hits) else mended
    return (data, hits, lines) if mended == data else (mended, metric_hits(mended), LineEnds(mended))


def _columns(regions: Regions, numbers: Numbers, resumed: Ints, stages: Ints) -> MetricColumns:
    records = find_records(np.frombuffer(regions.text, np.uint8), numbers)
    series, record, value = _points(numbers, records)
    heads = LineHeads(regions.text, records.start)
    return MetricColumns(
        series=series,
        record=record,
        value=value,
        steps=steps_told(regions.text, numbers, records),
        elapsed=elapsed_told(numbers, records),
        line=regions.lines(records.start).astype(np.int32),
        rank=heads.ranks(),
        time=heads.times(),
        resumed=_before(records, resumed, np.ones(1, np.int32)),
        stages=_before(records, stages, _stage_numbers(regions.text, stages)),
        ended=_before(records, numbers.start[IS_END[numbers.key]], np.ones(1, np.int32)),
        total=steps_taken(numbers),
    )


def _before(records: Records, ends: Ints, numbers: Small) -> Small:
    """The number that belongs to an offset for the first record behind it, 0 for all others; the last is for one behind the text."""
    found = np.zeros(len(records) + 1, np.int32)
    np.maximum.at(found, np.searchsorted(records.start, ends), numbers)
    return found


def _stage_numbers(text: bytes, ends: Ints) -> Small:
    """The numbers of the stages that the lines of these offsets begin, 0 where a line says more than that: a sentence, metrics."""
    found = [_STAGE_LINE.fullmatch(_line(text, end)) for end in ends.tolist()]
    return np.array([int(one[1]) if one else 0 for one in found], np.int32)


def _line(text: bytes, end: int) -> bytes:
    stop = text.find(b"\n", end)
    return text[text.rfind(b"\n", 0, end) + 1 : len(text) if stop < 0 else stop]


def _points(numbers: Numbers, records: Records) -> tuple[Small, Small, Floats]:
    """(series, record, value) of each number that stands in a record and is a metric: of a series the first in its record."""
    which = ~IS_STEP[numbers.key] & (records.of_number >= 0)
    inner, record = numbers.only(which), records.of_number[which]
    first = _first_places(record * len(NAMES) + _SERIES[inner.key])
    return _SERIES[inner.key][first], record[first].astype(np.int32), inner.value[first]


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
