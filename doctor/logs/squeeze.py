"""The second pass over small inputs: text without white space, in which hard wraps and lost line ends don't matter.

A paste from a terminal of 80 columns breaks messages in mid-word. With all white space taken out of both the text and the
patterns, they meet again. Only literal patterns take part: without line ends, a wildcard would run through the whole log.
"""

import re
from bisect import bisect_right
from collections.abc import Container, Iterator
from dataclasses import dataclass

import regex

from doctor.logs.confirm import PATIENCE, Confirmed, confirm
from doctor.logs.index import Index
from doctor.logs.prefixes import Line, has_labels, read_lines
from doctor.logs.records import Record, advises, quotes
from doctor.logs.scan import squeezed_pattern
from doctor.signature import Text

# How far around a match the other patterns of a signature are looked for, in squeezed characters.
NEAR = 400
LONGEST_MATCH = 2000
LONGEST_TAIL = 64
MOST_LINES = 12

_COLOUR = re.compile(rb"\x1b|\\u001[bB]|\\x1b|\\033")


@dataclass(frozen=True, slots=True)
class Squeezed:
    """``text`` is all lines of a log without white space; ``starts[i]`` is where line i (counted from 0) begins in it.

    ``coloured`` holds the numbers of the lines (counted from 1) that had colours in them, where the first pass is blind.
    """

    text: str
    starts: tuple[int, ...]
    lines: tuple[Line, ...]
    coloured: frozenset[int] = frozenset()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The numbers of the lines (counted from 1) that a piece of the text came from."""
        return bisect_right(self.starts, start), max(bisect_right(self.starts, end - 1), 1)


def squeeze(data: bytes) -> Squeezed:
    """The clean lines of a log, squeezed."""
    raws = [raw.rpartition(b"\r")[2] for raw in data.replace(b"\r\n", b"\n").split(b"\n")]
    labelled = has_labels(data)
    lines = tuple(_one_line(read_lines(raw, lambda: labelled)) for raw in raws)
    pieces = ["".join(line.text.strip("│|┃ ").split()) for line in lines]
    starts, position = [], 0
    for piece in pieces:
        starts.append(position)
        position += len(piece)
    coloured = frozenset(n for n, raw in enumerate(raws, 1) if _COLOUR.search(raw))
    return Squeezed("".join(pieces), tuple(starts), lines, coloured)


def _one_line(lines: list[Line]) -> Line:
    return lines[0].with_text(" ".join(line.text for line in lines))


@dataclass(frozen=True, slots=True)
class Mended:
    """A match across line ends: the signature's id, the first of its lines, and their numbers."""

    id: str
    line: Line
    first: int
    last: int
    confirmed: Confirmed


def second_pass(data: bytes, index: Index, found: Container[str], skipped: dict[str, str]) -> Iterator[Mended]:
    """The matches of each signature not yet found that stand in a log across line ends, or across colours in one line.

    ``skipped`` is told which signature was given up, and why.
    """
    squeezed, seen = squeeze(data), set[tuple[str, int, int]]()
    for number, end in index.squeezed_scanner.hits(squeezed.text.encode("ascii", "replace")):
        id, pattern = index.squeezed[number]
        try:
            for first, last in _spans(pattern, squeezed, end) if id not in found else ():
                confirmed = _mended(index.texts[id], squeezed, first, last) if (id, first, last) not in seen else None
                seen.add((id, first, last))
                if confirmed is not None:
                    yield Mended(id, squeezed.lines[first - 1], first, last, confirmed)
        except TimeoutError:
            skipped[id] = "its pattern took too long on the lines of the log put together"


def _spans(pattern: str, squeezed: Squeezed, end: int) -> Iterator[tuple[int, int]]:
    """The first and the last line of each match near a hit of the scan."""
    start, stop = max(0, end - LONGEST_MATCH), end + LONGEST_TAIL
    for match in regex.compile(pattern).finditer(squeezed.text, start, stop, timeout=PATIENCE):
        yield squeezed.span(match.start(), match.end())


def _mended(text: Text, squeezed: Squeezed, first: int, last: int) -> Confirmed | None:
    """What a signature finds in lines put together; None if the first pass has seen them or they are no statement."""
    lines = [line.text for line in squeezed.lines[first - 1 : last]]
    colours_only = len(lines) == 1
    if (colours_only and first not in squeezed.coloured) or len(lines) > MOST_LINES:
        return None
    if advises(" ".join(lines)) or any(map(quotes, lines)) or _denied(text, squeezed, first, last):
        return None
    together = (Record("", first, last, between.join(lines), None, None, None) for between in ("", " "))
    found = next(filter(None, (confirm(text, record) for record in together)), None)
    return found if found or colours_only else Confirmed(0, first, "".join(lines), {})


def _denied(text: Text, squeezed: Squeezed, first: int, last: int) -> bool:
    start, end = (
        squeezed.starts[first - 1],
        squeezed.starts[last] if last < len(squeezed.starts) else len(squeezed.text),
    )
    near = squeezed.text[max(0, start - NEAR) : end + NEAR]
    return any(regex.search(pattern, near, timeout=PATIENCE) for pattern in map(squeezed_pattern, text.none) if pattern)
