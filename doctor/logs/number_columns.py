"""Numbers read out of bytes, a whole column at once."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from doctor.points import Flags, Floats, Ints

# Bytes that must follow the last number of a text.
PADDING = b"\n" * 32

Bytes = npt.NDArray[np.uint8]

DIGITS = np.isin(np.arange(256), list(b"0123456789"))
# All digits are one, so that what repeats itself but for its numbers is equal.
EQUAL_DIGITS = np.where(DIGITS, ord("0"), np.arange(256)).astype(np.uint8)
WORD = 8
# Odd numbers to mix the words of a piece of text with.
_MIX = np.array([pow(0x9E3779B97F4A7C15, n, 2**64) for n in range(1, 17)], np.uint64)
_DECIMAL = np.isin(np.arange(256), list(b"0123456789.eE+-"))
_COMMA, _DOT, _PLUS, _MINUS = map(ord, ",.+-")
# Characters of a number, without sign and exponent, that are read at once, and the powers of ten that floats hold exactly.
WIDTH = 15
_TENS: Floats = 10.0 ** np.arange(23, dtype=np.float64)
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


def fingerprints(rows: Bytes) -> "npt.NDArray[np.uint64]":
    """A number for each row of bytes that is the same for equal rows; rows are some words wide, no more than 16."""
    words = np.ascontiguousarray(rows).view(np.uint64)
    mixed: npt.NDArray[np.uint64] = (words * _MIX[: words.shape[1]]).sum(axis=1, dtype=np.uint64)
    return mixed


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
    values, plain = _plain_decimals(text, starts, stops)
    good = decimal.copy()
    rest = np.flatnonzero(decimal & ~plain)
    try:
        values[rest] = _all_floats(text, starts[rest], stops[rest])
    except ValueError:
        _read_singly(text, rest, starts, stops, values, good)
    _read_thousands(text, np.flatnonzero(decimal & (text[stops] == _COMMA)), starts, stops, values)
    _read_words(text, np.flatnonzero(word), starts, stops, values, good)
    return values, stops, good


def _word_follows(text: Bytes, starts: Ints) -> Flags:
    """Where nan or inf stands, behind a sign or not."""
    first = np.where(np.isin(text[starts], list(b"+-")), text[starts + 1], text[starts]) | 0x20
    flags: Flags = np.isin(first, list(b"ni"))
    return flags


def _plain_decimals(text: Bytes, starts: Ints, stops: Ints) -> tuple[Floats, Flags]:
    """The values of all numbers of at most 15 characters, and which are such: their digits and the power of ten are both
    exact as floats, so that one division rounds as float() does."""
    stops, exponent = _exponents(text, starts, stops)
    length = stops - starts - np.isin(text[starts], (_PLUS, _MINUS))
    digits, fraction, odd = _digits(text, stops, length)
    dotted, power = fraction >= 0, exponent - np.maximum(fraction, 0)
    plain = (odd == dotted) & (length > dotted) & (length <= WIDTH) & (np.abs(power) < len(_TENS))
    mantissa = np.where(dotted, _without_gap(digits, _TENS[np.maximum(fraction, 0)]), digits)
    tens = _TENS[np.minimum(np.abs(power), len(_TENS) - 1)]
    values = np.where(power < 0, mantissa / tens, mantissa * tens)
    return np.where(text[starts] == _MINUS, -values, values), plain


def _digits(text: Bytes, stops: Ints, length: Ints) -> tuple[Floats, Ints, Ints]:
    """The last digits of numbers, with a zero for whatever is none; how many stand behind the point (-1 if there is no point);
    how many are none. A column at a time: a matrix product would wake all cores for it."""
    digits, fraction, odd = np.zeros(len(stops)), np.full(len(stops), -1), np.zeros(len(stops), np.int64)
    for left in range(min(WIDTH, int(length.max(initial=0))), 0, -1):
        byte, inside = text[np.maximum(stops - left, 0)], left <= length
        digit = byte - np.uint8(ord("0"))
        known = inside & (digit < 10)
        digits = digits * 10 + np.where(known, digit, 0)
        odd += inside & ~known
        fraction[inside & (byte == _DOT)] = left - 1
    return digits, fraction, odd


def _without_gap(digits: Floats, tens: Floats) -> Floats:
    """Digits with a zero at this power of ten, without it."""
    return digits - 9 * tens * np.floor(digits / (10 * tens))


def _exponents(text: Bytes, starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """Where the numbers end without an exponent of two digits, such as e-05, and the exponents (0 where there is none)."""
    letter, sign, high, low = (text[np.maximum(stops - n, 0)] for n in (4, 3, 2, 1))
    found = ((letter | 0x20) == ord("e")) & np.isin(sign, (_PLUS, _MINUS)) & (stops - starts > 4)
    size = (high.astype(np.int64) - ord("0")) * 10 + low - ord("0")
    return stops - 4 * found, np.where(found, np.where(sign == _MINUS, -size, size), 0)


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
