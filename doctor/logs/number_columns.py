"""Numbers read out of bytes, a whole column at once."""

import re

import numpy as np
import numpy.typing as npt

from doctor.points import Floats, Ints

WIDTH = 24

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

_DIGIT, _DOT, _EXPONENT, _SIGN, _COMMA = 1, 2, 4, 8, 16


def _classes() -> Bytes:
    table = np.zeros(256, np.uint8)
    table[list(b"0123456789")] = _DIGIT
    table[list(b".")] = _DOT
    table[list(b"eE")] = _EXPONENT
    table[list(b"+-")] = _SIGN
    table[list(b",")] = _COMMA
    return table


_CLASSES = _classes()
_THOUSANDS = re.compile(rb"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def numbers_at(data: Bytes, starts: Ints) -> tuple[Floats, Ints, Flags]:
    """The numbers that start at these offsets of ``data``: (values, end offsets, which of them are numbers at all).

    Reads decimal and scientific notation, nan and inf in any case, and thousands separated by commas. ``data`` needs WIDTH
    bytes of padding behind the last start.
    """
    window = data[starts[:, None] + np.arange(WIDTH)]
    lengths = _lengths(window)
    text = np.where(np.arange(WIDTH) < lengths[:, None], window, 0).astype(np.uint8)
    found = (text & 0xF0 == 0x30).any(axis=1)
    values = np.full(len(starts), np.nan)
    values[found] = np.ascontiguousarray(text[found]).view(f"S{WIDTH}").ravel().astype(np.float64)
    _read_thousands(window, lengths, values)
    _read_words(window, lengths, values, found)
    return values, starts + lengths, found


def _lengths(window: Bytes) -> Ints:
    """How many bytes of each row belong to a decimal number."""
    kind = _CLASSES[window]
    before = np.zeros_like(kind)
    before[:, 1:] = kind[:, :-1]
    after, second = np.zeros_like(kind), np.zeros_like(kind)
    after[:, :-1], second[:, :-2] = kind[:, 1:], kind[:, 2:]
    dots = np.cumsum(kind == _DOT, axis=1, dtype=np.uint8)
    exponents = np.cumsum(kind == _EXPONENT, axis=1, dtype=np.uint8)
    column = np.arange(WIDTH)
    good = kind == _DIGIT
    good |= (kind == _DOT) & (dots == 1) & (exponents == 0)
    good |= (kind == _SIGN) & ((column == 0) | (before == _EXPONENT))
    signed = (after == _SIGN) & (second == _DIGIT)
    good |= (kind == _EXPONENT) & (exponents == 1) & ((after == _DIGIT) | signed) & (before & (_DIGIT | _DOT) > 0)
    lengths: Ints = np.where(good.all(axis=1), WIDTH, good.argmin(axis=1)).astype(np.int64)
    return lengths


def _read_thousands(window: Bytes, lengths: Ints, values: Floats) -> None:
    """Rows whose number stops at a comma that only groups its digits, one by one: they are few."""
    rows = np.flatnonzero((lengths > 0) & (lengths < 4 + 1) & (window[np.arange(len(window)), np.minimum(lengths, WIDTH - 1)] == ord(",")))
    for row in rows:
        found = _THOUSANDS.match(window[row].tobytes())
        if found:
            values[row], lengths[row] = float(found[0].replace(b",", b"")), found.end()


def _read_words(window: Bytes, lengths: Ints, values: Floats, found: Flags) -> None:
    """nan and inf, behind a sign or not."""
    signed = (_CLASSES[window[:, 0]] == _SIGN).astype(np.int64)
    rows = np.arange(len(window))
    word = np.stack([window[rows, signed + n] | 0x20 for n in range(3)], axis=1)
    for text, value in ((b"nan", np.nan), (b"inf", np.inf)):
        here = (word == np.frombuffer(text, np.uint8)).all(axis=1)
        values[here] = np.where(window[here, 0] == ord("-"), -value, value)
        lengths[here] = signed[here] + 3
        found |= here
    longer = found & np.isinf(values) & (window[rows, np.minimum(signed + 3, WIDTH - 1)] | 0x20 == ord("i"))
    lengths[longer] = signed[longer] + len("infinity")
