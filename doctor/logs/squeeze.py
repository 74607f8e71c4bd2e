"""The second pass over small inputs: text without white space, in which hard wraps and lost line ends don't matter.

A paste from a terminal of 80 columns breaks messages in mid-word. With all white space taken out of both the text and the
patterns, they meet again. Only literal patterns take part: without line ends, a wildcard would run through the whole log.
"""

from bisect import bisect_right
from collections.abc import Container, Iterator
from dataclasses import dataclass

import regex

from doctor.logs.confirm import Confirmed, confirm
from doctor.logs.index import Index
from doctor.logs.prefixes import read_lines
from doctor.logs.records import Record, advises, quotes
from doctor.logs.scan import squeezed_pattern
from doctor.signature import Text

# How far around a match the other patterns of a signature are looked for, in squeezed characters.
NEAR = 400
LONGEST_MATCH = 2000
MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class Squeezed:
    """``text`` is all lines of a log without white space; ``starts[i]`` is where line i (counted from 0) begins in it."""

    text: str
    starts: tuple[int, ...]
    lines: tuple[str, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The numbers of the lines (counted from 1) that a piece of the text came from."""
        return bisect_right(self.starts, start), max(bisect_right(self.starts, end - 1), 1)


def squeeze(data: bytes) -> Squeezed:
    """The clean lines of a log, squeezed."""
    lines = tuple(
        " ".join(line.text for line in read_lines(raw.rpartition(b"\r")[2]))
        for raw in data.replace(b"\r\n", b"\n").split(b"\n")
    )
    pieces = ["".join(line.strip("│|┃ ").split()) for line in lines]
    starts, position = [], 0
    for piece in pieces:
        starts.append(position)
        position += len(piece)
    return Squeezed("".join(pieces), tuple(starts), lines)


def second_pass(path: str, data: bytes, index: Index, found: Container[str]) -> Iterator[tuple[str, Record, Confirmed]]:
    """(signature id, record, match) of each signature not yet found that stands in a log across line ends."""
    squeezed = squeeze(data)
    for number, end in index.squeezed_scanner.hits(squeezed.text.encode()):
        id, pattern = index.squeezed[number]
        if id in found:
            continue
        for match in regex.compile(pattern).finditer(squeezed.text, max(0, end - LONGEST_MATCH), endpos=end + 1):
            record = _broken(path, squeezed, match.start(), match.end())
            if record is not None and not _denied(index.texts[id], squeezed, match.start(), match.end()):
                yield id, record, _confirmed(index.texts[id], record)


def _broken(path: str, squeezed: Squeezed, start: int, end: int) -> Record | None:
    """The lines of a match as a record; None if it is on one line (the first pass has seen it) or no statement."""
    first, last = squeezed.span(start, end)
    lines = squeezed.lines[first - 1 : last]
    if not 1 < len(lines) <= MOST_LINES or advises(" ".join(lines)) or any(map(quotes, lines)):
        return None
    return Record(path, first, last, "".join(lines), None, None, None)


def _denied(text: Text, squeezed: Squeezed, start: int, end: int) -> bool:
    near = squeezed.text[max(0, start - NEAR) : end + NEAR]
    return any(regex.search(pattern, near) for pattern in map(squeezed_pattern, text.none) if pattern)


def _confirmed(text: Text, record: Record) -> Confirmed:
    """The match with its captures, where putting the lines together brings the original words back."""
    return confirm(text, record) or Confirmed(0, record.line, record.text, {})
