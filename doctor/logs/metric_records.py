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
_EPOCH, _END = has_series("epoch"), has_series(END)
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
    for row, keys in enumerate((_PRIMARY, ~IS_STEP, _END)):
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


class StepReader:
    """Finds the step of each record; remembers between texts what headers and epoch lines said."""

    def __init__(self) -> None:
        self._header = np.nan
        self._epoch = np.nan
        self._first_epoch = np.nan
        self._resumed = False

    def steps(self, text: bytes, numbers: Numbers, records: Records) -> Floats:
        """The global step of each record, NaN where it can't be told."""
        step = first_of(numbers, records, _STEP)
        epoch = self._epochs(numbers, records)
        self._add_in_epoch(text, numbers, records, epoch, step)
        self._add_bars(text, numbers, records, epoch, step)
        header, self._header = _carried(numbers, records, _HEADER, self._header)
        return np.where(np.isnan(step), header, step)

    def restarts(self, resumed: Ints, records: Records) -> Flags:
        """Which records are the first behind a place that says the run was resumed."""
        restart = np.zeros(len(records) + 1, np.bool_)
        restart[0] = self._resumed
        restart[np.searchsorted(records.start, resumed)] = True
        self._resumed = bool(restart[len(records)])
        return restart[: len(records)]

    def _epochs(self, numbers: Numbers, records: Records) -> Floats:
        """The epoch of each record, its own or that of the last line that told one; counted from 1."""
        own = first_of(numbers, records, _EPOCH)
        carried, self._epoch = _carried(numbers, records, _EPOCH, self._epoch)
        epoch = np.where(np.isnan(own), carried, own)
        if np.isnan(self._first_epoch) and not np.isnan(epoch).all():
            self._first_epoch = epoch[~np.isnan(epoch)][0]
        return epoch + (self._first_epoch == 0)

    def _add_in_epoch(self, text: bytes, numbers: Numbers, records: Records, epoch: Floats, step: Floats) -> None:
        """Steps that start again in each epoch, made global where the epoch's length stands behind a slash."""
        which = _STEP_IN_EPOCH[numbers.key] & (records.of_number >= 0)
        if not which.any():
            return
        inner, record = numbers.only(which), records.of_number[which]
        padded = np.frombuffer(text + PADDING, np.uint8)
        skipped = inner.stop + np.where(padded[inner.stop + 1] == ord(" "), 2, 1)
        length, _, good = numbers_at(padded, skipped)
        good &= padded[inner.stop] == ord("/")
        before = np.where(good & ~np.isnan(epoch[record]), (epoch[record] - 1) * length, 0)
        missing = np.isnan(step[record])
        step[record[missing]] = (inner.value + before)[missing]

    def _add_bars(self, text: bytes, numbers: Numbers, records: Records, epoch: Floats, step: Floats) -> None:
        """Steps of progress bars. A bar in front of a dict is older than the dict, so it says nothing."""
        quoted = np.zeros(len(records), np.bool_)
        data = np.frombuffer(text, np.uint8)
        inner = numbers.only((records.of_number >= 0) & _PRIMARY[numbers.key])
        near = np.stack([data[np.maximum(inner.start - n, 0)] for n in range(1, 5)])
        quoted[records.of_number[(records.of_number >= 0) & _PRIMARY[numbers.key]]] = np.isin(near, (34, 39)).any(
            axis=0
        )
        rows = np.flatnonzero(np.isnan(step) & ~quoted)
        pieces = [text[a:b] for a, b in zip(records.start[rows].tolist(), records.stop[rows].tolist(), strict=True)]
        found = np.array([_bar(piece) for piece in pieces], np.float64).reshape(-1, 2)
        inside = np.where(np.isnan(epoch[rows]), 0, np.floor(epoch[rows]) - 1) * found[:, 1]
        step[rows] = found[:, 0] + inside


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


def _carried(numbers: Numbers, records: Records, keys: Flags, before: float) -> tuple[Floats, float]:
    """For each record the last number of these keys in front of its end, and the last of all."""
    inner = numbers.only(keys[numbers.key])
    values = np.concatenate(([before], inner.value))
    return values[np.searchsorted(inner.start, records.stop)], float(values[-1])
