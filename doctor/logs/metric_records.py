"""Which numbers belong together, and at which step, time and rank they were printed."""

import re
from dataclasses import dataclass

import numpy as np

from doctor.logs.keyed_numbers import has_series
from doctor.logs.number_columns import PADDING, Bytes, Numbers, numbers_at
from doctor.metric_keys import END, HEADER, KEYS, RATE, ROLES, STEP, STEP_IN_EPOCH
from doctor.points import Flags, Floats, Ints

# What ends a record: a line's end, a progress bar's return, the end of a dict.
_ENDS = np.isin(np.arange(256), list(b"\n\r}"))

IS_STEP = np.array([key.series in ROLES for key in KEYS])


_HEADER, _STEP, _STEP_IN_EPOCH = has_series(HEADER), has_series(STEP), has_series(STEP_IN_EPOCH)
IS_END = has_series(END)
_EPOCH = has_series("epoch")
_PRIMARY = np.array([key.primary for key in KEYS])


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a text: where each starts and stops, and the record of each number (-1 if it belongs to none)."""

    start: Ints
    stop: Ints
    of_number: Ints

    def __len__(self) -> int:
        return len(self.start)


def find_records(text: Bytes, numbers: Numbers) -> Records:
    """Pieces of text that hold a primary number and a metric, and don't sum up the run."""
    ends = np.flatnonzero(_ENDS[text])
    piece = _under_headers(text, ends, numbers, np.searchsorted(ends, numbers.start))
    holds = np.zeros((3, len(ends) + 1), np.bool_)
    for row, keys in enumerate((_PRIMARY, ~IS_STEP, IS_END)):
        holds[row, piece[keys[numbers.key]]] = True
    kept = np.flatnonzero(holds[0] & holds[1] & ~holds[2])
    of_number = np.searchsorted(kept, piece)
    known = of_number < len(kept)
    known[known] = kept[of_number[known]] == piece[known]
    bounds = np.concatenate(([-1], ends, [len(text)]))
    return Records(bounds[kept] + 1, bounds[kept + 1], np.where(known, of_number, -1))


def _under_headers(text: Bytes, ends: Ints, numbers: Numbers, piece: Ints) -> Ints:
    """The piece of each number; indented lines under a header that names the step belong to the header's piece."""
    header = np.flatnonzero(_HEADER[numbers.key])
    if not len(header):
        return piece
    start = np.concatenate(([-1], ends))[piece] + 1
    indented = np.isin(text[np.minimum(start, len(text) - 1)], list(b" \t"))
    above = np.searchsorted(header, np.arange(len(piece)), side="right") - 1
    moved: Ints = np.where(indented & (above >= 0), piece[header[above]], piece)
    return moved


@dataclass(frozen=True, slots=True)
class Steps:
    """What a text says of the steps of its records; NaN where it says nothing.

    ``own[r]`` is the global step in record r, ``inside[r]`` the step within the epoch and ``length[r]`` the epoch's length,
    ``bar[r]`` and ``bar_total[r]`` the progress bar in a record that tells no other step, ``epoch[r]`` and ``header[r]`` what
    the last line with an epoch or a header said before the record ended.
    """

    own: Floats
    inside: Floats
    length: Floats
    bar: Floats
    bar_total: Floats
    epoch: Floats
    header: Floats
    last_epoch: float
    last_header: float


def steps_told(text: bytes, numbers: Numbers, records: Records) -> Steps:
    """The steps of the records of one text."""
    own = first_of(numbers, records, _STEP)
    inside, length = _in_epoch(text, numbers, records)
    bar, bar_total = _bars(text, numbers, records, np.isnan(own) & np.isnan(inside))
    epoch, last_epoch = _carried(numbers, records, _EPOCH)
    header, last_header = _carried(numbers, records, _HEADER)
    named = first_of(numbers, records, _EPOCH)
    epoch = np.where(np.isnan(named), epoch, named)
    return Steps(own, inside, length, bar, bar_total, epoch, header, last_epoch, last_header)


def _in_epoch(text: bytes, numbers: Numbers, records: Records) -> tuple[Floats, Floats]:
    """Steps that start again in each epoch, and the epoch's length where it stands behind a slash."""
    inside, lengths = np.full(len(records), np.nan), np.full(len(records), np.nan)
    which = _STEP_IN_EPOCH[numbers.key] & (records.of_number >= 0)
    if which.any():
        inner, record = numbers.only(which), records.of_number[which]
        padded = np.frombuffer(text + PADDING, np.uint8)
        skipped = inner.stop + np.where(padded[inner.stop + 1] == ord(" "), 2, 1)
        length, _, good = numbers_at(padded, skipped)
        good &= padded[inner.stop] == ord("/")
        inside[record], lengths[record] = inner.value, np.where(good, length, np.nan)
    return inside, lengths


def _bars(text: bytes, numbers: Numbers, records: Records, asked: Flags) -> tuple[Floats, Floats]:
    """(n, total) of the progress bars in these records. A bar in front of a dict is older than the dict, so it says nothing."""
    found = np.full((len(records), 2), np.nan)
    rows = np.flatnonzero(asked & ~_quoted(text, numbers, records))
    pieces = [text[a:b] for a, b in zip(records.start[rows].tolist(), records.stop[rows].tolist(), strict=True)]
    found[rows] = np.array([_bar(piece) for piece in pieces], np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _quoted(text: bytes, numbers: Numbers, records: Records) -> Flags:
    """Which records have a primary number behind a quoted key, as dicts do."""
    quoted = np.zeros(len(records), np.bool_)
    data = np.frombuffer(text, np.uint8)
    which = (records.of_number >= 0) & _PRIMARY[numbers.key]
    near = np.stack([data[np.maximum(numbers.start[which] - n, 0)] for n in range(1, 5)])
    quoted[records.of_number[which]] = np.isin(near, (34, 39)).any(axis=0)
    return quoted


class StepReader:
    """Finds the step of each record; remembers between texts what headers and epoch lines said."""

    def __init__(self) -> None:
        self._header = np.nan
        self._epoch = np.nan
        self._from_zero = False

    def steps(self, told: Steps) -> Floats:
        """The global step of each record, NaN where it can't be told; in-epoch steps count from the first epoch's start."""
        epoch = self._epochs(told)
        before = np.nan_to_num((epoch - 1) * told.length)
        step = np.where(np.isnan(told.own), told.inside + before, told.own)
        bar = told.bar + np.where(np.isnan(epoch), 0, np.floor(epoch) - 1) * told.bar_total
        step = np.where(np.isnan(step), bar, step)
        header = np.where(np.isnan(told.header), self._header, told.header)
        self._header = self._header if np.isnan(told.last_header) else told.last_header
        return np.where(np.isnan(step), header, step)

    def _epochs(self, told: Steps) -> Floats:
        """The epoch of each record, its own or that of the last line that told one. They are counted from 1; a run
        that counts from 0 may stand behind one that does not."""
        epoch = np.where(np.isnan(told.epoch), self._epoch, told.epoch)
        self._epoch = self._epoch if np.isnan(told.last_epoch) else told.last_epoch
        zeros = np.flatnonzero(epoch == 0)
        from_zero = np.full(len(epoch), self._from_zero)
        from_zero[zeros[0] if len(zeros) else len(epoch) :] = True
        self._from_zero |= bool(len(zeros))
        counted: Floats = epoch + from_zero
        return counted


_BAR = re.compile(rb"(\d+)/(\d+) ?(?:\[|- |\xe2\x94\x81|\xe2\x94\x80|\x1b\[\d+m\xe2\x94|train_loss)")


def _bar(piece: bytes) -> tuple[float, float]:
    """(n, total) of a progress bar: tqdm's n/total [, Keras' n/total with a bar or a hyphen behind."""
    found = _BAR.search(piece)
    return (float(found[1]), float(found[2])) if found else (np.nan, np.nan)


def steps_taken(numbers: Numbers) -> float:
    """The number of steps that a run's summary tells: its seconds times its steps per second; NaN without a summary."""
    seconds, rate = (numbers.value[has_series(role)[numbers.key]] for role in (END, RATE))
    return float(round(seconds[-1] * rate[-1])) if len(seconds) and len(rate) else np.nan


def first_of(numbers: Numbers, records: Records, keys: Flags) -> Floats:
    """For each record the number of the most specific of these keys, NaN where there is none."""
    which = keys[numbers.key] & (records.of_number >= 0)
    inner, record = numbers.only(which), records.of_number[which]
    order = np.lexsort((inner.start, inner.key, record))[::-1]
    found = np.full(len(records), np.nan)
    found[record[order]] = inner.value[order]  # of equal indices the last is kept, which is the most specific
    return found


def _carried(numbers: Numbers, records: Records, keys: Flags) -> tuple[Floats, float]:
    """For each record the last number of these keys in front of its end, and the last of all; NaN where there is none."""
    inner = numbers.only(keys[numbers.key])
    values = np.concatenate(([np.nan], inner.value))
    return values[np.searchsorted(inner.start, records.stop)], float(values[-1])
