"""Numbers and the keys in front of them, found in a text without looking at one after the other.

What stands before a number is cut out as a window, its digits made equal. A log repeats itself, so there are few different
windows, and only those are asked which key they end with.
"""

import re
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from doctor.logs.number_columns import PADDING, Bytes, Flags, Numbers, numbers_at
from doctor.metric_keys import KEYS, Key
from doctor.points import Ints

WINDOW = 56
WORD = 8

# What may stand in front of a key: the line's start, a colour, punctuation, or a blank behind anything but a word.
_LEFT = r"(?:\A|\x1b\[[\d;]{0,20}m ?|\n ?|[^\w /.-]|[^a-z_] )"
_SEPARATOR = r"""['"]?\)?[ \t:=]+['"]?(?:tensor\(|np\.float\d\d\()?"""

_STARTS = np.isin(np.arange(256), list(b"0123456789.+-"))
_WORD_STARTS = np.isin(np.arange(256), list(b"nNiI"))
_BEFORE = np.isin(np.arange(256), list(b"'\":=([ \t#"))
_EQUAL_DIGITS = np.where(np.isin(np.arange(256), list(b"0123456789")), ord("0"), np.arange(256)).astype(np.uint8)
# Odd numbers to mix the words of a window with.
_MIX = np.random.default_rng(0).integers(1, 2**62, WINDOW // WORD, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def numbers_with_keys(text: bytes) -> Numbers:
    """All numbers in a text that stand behind one of KEYS, in the order of the text."""
    data = np.frombuffer(b"\n" * WINDOW + text + PADDING, np.uint8)
    starts = _starts(data)
    key = _keys(data, starts)
    starts, key = starts[key >= 0], key[key >= 0]
    value, stop, good = numbers_at(data, starts)
    return Numbers(key, starts - WINDOW, stop - WINDOW, value).only(good)


def _starts(data: Bytes) -> Ints:
    """Where numbers may start: behind a separator, with a digit, a sign, nan or inf."""
    before = np.zeros(len(data), np.bool_)
    before[1:] = _BEFORE[data[:-1]]
    starts = np.flatnonzero(before & _STARTS[data])
    words = np.flatnonzero(before & _WORD_STARTS[data])
    low = data[words + 2] | 0x20
    words = words[np.where(data[words] | 0x20 == ord("n"), low == ord("n"), low == ord("f"))]
    found: Ints = np.sort(np.concatenate((starts, words)))
    return found[(found >= WINDOW) & (found < len(data) - len(PADDING))]


def _keys(data: Bytes, starts: Ints) -> Ints:
    """The number of the key in front of each start, -1 where there is none."""
    if not len(starts):
        return np.empty(0, np.int64)
    windows = sliding_window_view(_EQUAL_DIGITS[data], WINDOW)[starts - WINDOW]
    mixed = (np.ascontiguousarray(windows).view(np.uint64) * _MIX).sum(axis=1, dtype=np.uint64)
    _, first, which = np.unique(mixed, return_index=True, return_inverse=True)
    found: Ints = np.array([_key_before(windows[row].tobytes()) for row in first.tolist()], np.int64)[which]
    return found


@cache
def _key_before(window: bytes) -> int:
    window = window[window.rfind(b"\n", 0, -1) :] if b"\n" in window else window
    return next((number for number, pattern in enumerate(_patterns()) if pattern.search(window)), -1)


@cache
def _patterns() -> "list[re.Pattern[bytes]]":
    return [re.compile(_pattern(key).encode()) for key in KEYS]


def _pattern(key: Key) -> str:
    separator = _SEPARATOR if key.separator is None else key.separator
    return rf"(?i){_LEFT}(?:{key.spelling}){separator}\Z"


def has_series(*names: str) -> Flags:
    """Which of KEYS are one of these series (or have one of these roles)."""
    return np.array([key.series in names for key in KEYS])
