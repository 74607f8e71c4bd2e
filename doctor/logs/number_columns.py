"""Numbers read out of bytes, a whole column at once."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from doctor.points import Floats, Ints

# Bytes that must follow the last number of a text.
PADDING = b"\n" * 32

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

_DECIMAL = np.isin(np.arange(256), list(b"0123456789.eE+-"))
_COMMA = ord(",")
_NUMBER = re.compile(rb"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_THOUSANDS = re.compile(rb"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])")
_WORDS = ((b"infinity", np.inf), (b"nan", np.nan), (b"inf", np.inf))


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers behind keys, in the order of the text: the number of its key, where it starts and stops, its value."""

    key: Ints
    start: Ints
    stop: Ints
    value: Floats

    def only(self, which: Flags) -> "Numbers":
        """Those of the numbers."""
        return Numbers(self.key[which], self.start[which], self.stop[which], self.value[which])


def numbers_at(text: Bytes, starts: Ints) -> tuple[Floats, Ints, Flags]:
    """The numbers at these ascending offsets: (values, end offsets, which of them are numbers at all).

    Reads decimal and scientific notation, nan and inf in any case, and thousands separated by commas. ``text`` ends with
    PADDING.
    """
    decimal = _DECIMAL[text]
    ends = np.append(np.flatnonzero(decimal[:-1] & ~decimal[1:]) + 1, len(text) - 1)
    stops = np.where(decimal[starts], ends[np.searchsorted(ends, starts, side="right")], starts)
    word = _word_follows(text, starts)
    decimal = (stops > starts) & ~word
    values = np.full(len(starts), np.nan)
    good = decimal.copy()
    try:
        values[decimal] = _all_floats(text, starts[decimal], stops[decimal])
    except ValueError:
        _read_singly(text, np.flatnonzero(decimal), starts, stops, values, good)
    _read_thousands(text, np.flatnonzero(decimal & (text[stops] == _COMMA)), starts, stops, values)
    _read_words(text, np.flatnonzero(word), starts, stops, values, good)
    return values, stops, good


def _word_follows(text: Bytes, starts: Ints) -> Flags:
    """Where nan or inf stands, behind a sign or not."""
    first = np.where(np.isin(text[starts], list(b"+-")), text[starts + 1], text[starts]) | 0x20
    flags: Flags = np.isin(first, list(b"ni"))
    return flags


def _all_floats(text: Bytes, starts: Ints, stops: Ints) -> list[float]:
    """The numbers between these offsets; ValueError if one of them is none."""
    raw = text.tobytes()
    return [float(raw[start:stop]) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]


def _read_singly(text: Bytes, rows: Ints, starts: Ints, stops: Ints, values: Floats, good: Flags) -> None:
    """One by one: something in this text only looks like a number, such as a date or a version."""
    for row in rows.tolist():
        found = _NUMBER.match(text[starts[row] : stops[row]].tobytes())
        good[row] = found is not None
        if found:
            values[row], stops[row] = float(found[0]), starts[row] + found.end()


def _read_thousands(text: Bytes, rows: Ints, starts: Ints, stops: Ints, values: Floats) -> None:
    """Numbers that stop at a comma which may only group their digits; most have one such comma and no more."""
    digits = text[stops[rows, None] + np.arange(1, 4)].astype(np.int64) - ord("0")
    signed = np.isin(text[starts[rows]], list(b"+-"))
    grouped = (stops[rows] - starts[rows] - signed <= 3) & ((digits >= 0) & (digits < 10)).all(axis=1)
    rows, digits = rows[grouped], digits[grouped]
    behind = text[stops[rows] + 4]
    short = ~_DECIMAL[behind] & (behind != _COMMA)
    low = digits @ np.array([100, 10, 1])
    values[rows[short]] = (values[rows] * 1000 + np.copysign(low, values[rows]))[short]
    stops[rows[short]] += 4
    for row in rows[~short].tolist():
        found = _THOUSANDS.match(text[starts[row] : starts[row] + len(PADDING)].tobytes())
        if found:
            values[row], stops[row] = float(found[0].replace(b",", b"")), starts[row] + found.end()


def _read_words(text: Bytes, rows: Ints, starts: Ints, stops: Ints, values: Floats, good: Flags) -> None:
    for row in rows.tolist():
        piece = text[starts[row] : starts[row] + 10].tobytes().lower()
        word = piece.lstrip(b"+-")
        for spelling, value in _WORDS:
            if word.startswith(spelling):
                values[row] = -value if piece.startswith(b"-") else value
                stops[row] = starts[row] + len(piece) - len(word) + len(spelling)
                good[row] = True
                break
