"""Ranks and times of metric lines, taken from the prefixes of all lines at once."""

import re
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from doctor.logs.number_columns import PADDING
from doctor.points import NO_RANK, Floats, Ints, Small

# Prefixes stand in the first bytes of a line. Whether they name ranks and times is the same for all lines of a logger, so a
# few lines of a block tell whether to look, and how far.
HEAD = 96
PROBE = 50
SLACK = 4

_RANK = re.compile(rb"[^\n]{0,60}?(?:(?:\[rank|\[default|\[RANK[:= ]|\(RANK )(\d{1,6})[\])]|^(\d{1,5}): (?=\D))")
_TIME = re.compile(rb"[^\n]{0,60}?(?:\b\d{4}[-/]|\b[IWE]|(?<![\d/-]))(\d\d)[-/]?(\d\d)[ T](\d\d):(\d\d):(\d\d)")
_DAYS_BEFORE = (0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


class LineHeads:
    """The beginnings of the lines in which records stand."""

    def __init__(self, text: bytes, starts: Ints) -> None:
        newlines = np.concatenate(([-1], np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))))
        self._start = newlines[np.searchsorted(newlines, starts) - 1] + 1
        self._data = np.frombuffer(text + PADDING * (HEAD // len(PADDING) + 1), np.uint8)

    def ranks(self) -> Small:
        """The rank of each record, NO_RANK where no prefix names one."""
        return self._column(_RANK, lambda found: int(found[1] or found[2]), NO_RANK).astype(np.int32)

    def times(self) -> Floats:
        """Seconds since the start of the year, NaN where no prefix holds a date and a time."""
        return self._column(_TIME, _seconds, np.nan)

    def _column(
        self, pattern: "re.Pattern[bytes]", read: "Callable[[re.Match[bytes]], float]", missing: float
    ) -> Floats:
        """What a pattern says of each line. Lines with the same beginning are read once."""
        probed = self._heads(np.concatenate((self._start[:PROBE], self._start[-PROBE:])), HEAD)
        ends = [found.end() for found in map(pattern.match, probed.tolist()) if found]
        if not ends:
            return np.full(len(self._start), missing)
        heads, which = np.unique(self._heads(self._start, min(max(ends) + SLACK, HEAD)), return_inverse=True)
        found = [pattern.match(head) for head in heads.tolist()]
        values: Floats = np.array([read(one) if one else missing for one in found], np.float64)[which]
        return values

    def _heads(self, starts: Ints, width: int) -> "np.ndarray[tuple[int], np.dtype[np.bytes_]]":
        return np.ascontiguousarray(sliding_window_view(self._data, width)[starts]).view(f"S{width}").ravel()


def _seconds(found: "re.Match[bytes]") -> float:
    month, day, hours, minutes, seconds = map(int, found.groups())
    days = _DAYS_BEFORE[min(month, 12)] + day
    return days * 86400.0 + hours * 3600 + minutes * 60 + seconds
