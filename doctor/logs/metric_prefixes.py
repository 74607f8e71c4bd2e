"""Ranks and times of metric lines, taken from the prefixes of all lines at once."""

import re

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from doctor.logs.number_columns import EQUAL_DIGITS, PADDING, WORD, fingerprints
from doctor.points import NO_RANK, Floats, Ints, Small

# Prefixes stand in the first bytes of a line. Whether they name ranks and times is the same for all lines of a logger, so a
# few lines of a block tell whether to look, and how far.
HEAD = 96
PROBE = 50
SLACK = 4

_RANK = re.compile(rb"[^\n]{0,60}?(?:(?:\[rank|\[default|\[RANK[:= ]|\(RANK )(\d{1,6})[\])]|^(\d{1,5}): (?=\D))")
_TIME = re.compile(rb"[^\n]{0,60}?(?:\b\d{4}[-/]|\b[IWE]|(?<![\d/-]))(\d\d)[-/]?(\d\d)[ T](\d\d):(\d\d):(\d\d)")
_DAYS_BEFORE = np.array((0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334))


class LineHeads:
    """The beginnings of the lines in which records stand."""

    def __init__(self, text: bytes, starts: Ints) -> None:
        newlines = np.concatenate(([-1], np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))))
        self._start = newlines[np.searchsorted(newlines, starts) - 1] + 1
        self._data = np.frombuffer(text + PADDING * (HEAD // len(PADDING) + 1), np.uint8)

    def ranks(self) -> Small:
        """The rank of each record, NO_RANK where no prefix names one."""
        rank = self._numbers(_RANK, 1)[:, 0]
        return np.where(np.isnan(rank), NO_RANK, rank).astype(np.int32)

    def times(self) -> Floats:
        """Seconds since the start of the year, NaN where no prefix holds a date and a time."""
        date = self._numbers(_TIME, 5)
        month = np.where(np.isnan(date[:, 0]), 0, np.minimum(date[:, 0], 12)).astype(np.int64)
        seconds: Floats = ((_DAYS_BEFORE[month] + date[:, 1]) * 24.0 + date[:, 2]) * 60 + date[:, 3]
        return seconds * 60 + date[:, 4]

    def _numbers(self, pattern: "re.Pattern[bytes]", groups: int) -> Floats:
        """What the groups of a pattern hold in each line, NaN where it doesn't match. Lines that differ in digits only are
        matched once."""
        probed = sliding_window_view(self._data, HEAD)[np.concatenate((self._start[:PROBE], self._start[-PROBE:]))]
        ends = [found.end() for head in probed if (found := pattern.match(head.tobytes()))]
        if not ends:
            return np.full((len(self._start), groups), np.nan)
        width = min(-(-(max(ends) + SLACK) // WORD) * WORD, HEAD)
        heads = EQUAL_DIGITS[sliding_window_view(self._data, width)[self._start]]
        _, first, which = np.unique(fingerprints(heads), return_index=True, return_inverse=True)
        spans = [_spans(pattern.match(heads[row].tobytes()), groups) for row in first.tolist()]
        return self._read(np.array(spans, np.int64)[which])

    def _read(self, spans: Ints) -> Floats:
        """The numbers between these (first, end) offsets of the lines."""
        start, size = self._start[:, None] + spans[..., 0], spans[..., 1] - spans[..., 0]
        values = np.where(size > 0, 0.0, np.nan)
        for n in range(int(size.max(initial=0))):
            values = np.where(n < size, values * 10 + self._data[start + n] - ord("0"), values)
        return values


def _spans(found: "re.Match[bytes] | None", groups: int) -> list[tuple[int, int]]:
    """Where the groups that took part in a match begin and end."""
    if found is None:
        return [(0, 0)] * groups
    return [found.span(n) for n in range(1, (found.lastindex or 0) + 1) if found.start(n) >= 0]
