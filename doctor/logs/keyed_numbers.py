"""Numbers and the keys in front of them, found in a text without looking at one after the other.

What stands before a number is cut out as a window, its digits made equal. A log repeats itself, so there are few different
windows, and only those are asked which key they end with.
"""

import re
from functools import cache

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from doctor.logs.number_columns import DIGITS, EQUAL_DIGITS, PADDING, Bytes, Numbers, fingerprints, numbers_at
from doctor.metric_keys import KEYS, STEP, Key
from doctor.points import Flags, Ints

WINDOW = 48

# What may stand in front of a key: the line's start, a colour, punctuation, or a blank behind anything but a word.
_LEFT = r"(?:\A|\x1b\[[\d;]{0,20}m ?|\n ?|[^\w /.-]|[^a-z_] )"
_SEPARATOR = r"""['"]?\)?[ \t:=]+['"]?(?:tensor\(|np\.float\d\d\()?"""

# Bytes that stand in front of a number, that start one, and that start nan or inf.
_BEFORE, _NUMBER, _WORD = 1, 2, 3
_KINDS = np.zeros(256, np.uint8)
_KINDS[list(b"'\":=([ \t#")] = _BEFORE
_KINDS[list(b"0123456789.+-")] = _NUMBER
_KINDS[list(b"nNiI")] = _WORD


# Steps that are printed short: 50K, 1.2M.
_THOUSANDS = np.ones(256)
_THOUSANDS[list(b"KkM")] = 1e3, 1e3, 1e6


class KeyFinder:
    """Finds numbers and their keys in the texts of one log; remembers the windows that it has seen."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)
        self._keys = np.empty(0, np.int64)

    def numbers(self, text: bytes) -> Numbers:
        """All numbers in a text that stand behind one of KEYS, in the order of the text."""
        data = np.frombuffer(b"\n" * WINDOW + text + PADDING, np.uint8)
        starts = _starts(data)
        key = self._keys_before(data, starts)
        starts, key = starts[key >= 0], key[key >= 0]
        value, stop, good = numbers_at(data, starts)
        value = np.where(has_series(STEP)[key], value * _THOUSANDS[data[stop]], value)
        label = (data[stop] == ord("%")) & (data[stop + 1] == ord("|"))  # a progress bar's percent behind its label
        return Numbers(key, starts - WINDOW, stop - WINDOW, value).only(good & ~label)

    def _keys_before(self, data: Bytes, starts: Ints) -> Ints:
        """The number of the key in front of each start, -1 where there is none."""
        windows = sliding_window_view(EQUAL_DIGITS[data], WINDOW)[starts - WINDOW]
        mixed = fingerprints(windows)
        place = np.searchsorted(self._known, mixed)
        new = np.append(self._known, 0)[place] != mixed
        if new.any():
            self._learn(mixed[new], windows[new])
            place = np.searchsorted(self._known, mixed)
        keys: Ints = self._keys[place]
        return keys

    def _learn(self, mixed: "npt.NDArray[np.uint64]", windows: Bytes) -> None:
        known, first = np.unique(mixed, return_index=True)
        keys = [_key_before(windows[row].tobytes()) for row in first.tolist()]
        order = np.argsort(together := np.concatenate((self._known, known)))
        self._known, self._keys = together[order], np.concatenate((self._keys, keys)).astype(np.int64)[order]


def _starts(data: Bytes) -> Ints:
    """Where numbers may start: behind a separator, with a digit, a sign, nan or inf; not within a time of day."""
    kind = _KINDS[data]
    found = np.flatnonzero((kind[:-1] == _BEFORE) & (kind[1:] >= _NUMBER)) + 1
    found = found[(found >= WINDOW) & (found < len(data) - len(PADDING))]
    low, third = data[found] | 0x20, data[found + 2] | 0x20
    word = np.where(low == ord("n"), third == ord("n"), third == ord("f"))
    within_time = (data[found - 1] == ord(":")) & DIGITS[data[found - 2]]
    starts: Ints = found[np.where(kind[found] == _WORD, word, ~within_time)]
    return starts


def _key_before(window: bytes) -> int:
    """The number of the key at the end of a window; what stands in lines above doesn't count."""
    window = window[window.rfind(b"\n", 0, -1) :] if b"\n" in window else window
    return next((number for number, pattern in enumerate(_patterns()) if pattern.search(window)), -1)


@cache
def _patterns() -> "list[re.Pattern[bytes]]":
    return [re.compile(_pattern(key).encode()) for key in KEYS]


def _pattern(key: Key) -> str:
    separator = _SEPARATOR if key.separator is None else key.separator
    return rf"(?i){_LEFT}(?:{key.spelling}){separator}\Z"


@cache
def has_series(*names: str) -> Flags:
    """Which of KEYS are one of these series (or have one of these roles)."""
    return np.array([key.series in names for key in KEYS])
