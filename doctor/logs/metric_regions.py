"""The parts of a block that hold metric lines, put together into one short text, so that what follows is dense."""

from dataclasses import dataclass

import numpy as np

from doctor.points import Ints

# Metric lines nearer than this lie in one region; a line's start and end are looked for no further than REACH from a hit.
NEAR = 256
REACH = 8192
MOST_INDENTED = 60


class LineEnds:
    """Where the lines of a block end. They are counted from the one that holds the block's start, which is 0."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self.offsets: Ints = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
        self._before = np.searchsorted(self.offsets, start)

    def numbers(self, offsets: Ints) -> Ints:
        """The lines that hold these offsets."""
        found: Ints = np.searchsorted(self.offsets, offsets) - self._before
        return found

    def number(self, offset: int) -> int:
        """The line that holds an offset."""
        return int(np.searchsorted(self.offsets, offset) - self._before)

    def of_hits(self, ends: list[int]) -> list[int]:
        """The lines that hold the last bytes of hits that end there."""
        found: list[int] = self.numbers(np.array(ends, np.int64) - 1).tolist()
        return found


@dataclass(frozen=True, slots=True)
class Regions:
    """Whole lines cut out of a block. Region r starts at offset ``source[r]`` of the block and ``start[r]`` of ``text``, and its
    first line has the number ``line[r]``."""

    text: bytes
    source: Ints
    start: Ints
    line: Ints

    def moved(self, ends: Ints) -> Ints:
        """End offsets of the block as end offsets of ``text``; all must lie in a region."""
        region = np.searchsorted(self.source, ends - 1, side="right") - 1
        moved: Ints = ends - self.source[region] + self.start[region]
        return moved

    def lines(self, offsets: Ints) -> Ints:
        """The line numbers of offsets of ``text``."""
        newlines = np.flatnonzero(np.frombuffer(self.text, np.uint8) == ord("\n"))
        region = np.searchsorted(self.start, offsets, side="right") - 1
        before = np.searchsorted(newlines, offsets) - np.searchsorted(newlines, self.start[region])
        found: Ints = self.line[region] + before
        return found


def cut_regions(data: bytes, ends: Ints, lines: LineEnds) -> Regions:
    """The lines around these hits, each with the line before it (which may name the epoch)."""
    newlines = lines.offsets
    groups = np.flatnonzero(np.diff(ends) > NEAR) + 1
    firsts, lasts = ends[np.concatenate(([0], groups))], ends[np.concatenate((groups - 1, [len(ends) - 1]))]
    begins = _starts_above(newlines, firsts - 1)
    stops = _with_indented(data, _line_ends(newlines, lasts - 1, len(data)))
    begins[1:] = np.maximum(begins[1:], np.maximum.accumulate(stops)[:-1])
    kept = begins < stops
    begins, stops = begins[kept], stops[kept]
    text = b"".join([data[begin:stop] for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True)])
    lengths = stops - begins
    return Regions(text, begins, np.cumsum(lengths) - lengths, lines.numbers(begins))


def _starts_above(newlines: Ints, offsets: Ints) -> Ints:
    """Where the lines before those of these offsets start; no further than REACH away, and no nearer than the own line's."""
    line = np.searchsorted(newlines, offsets)
    starts = np.concatenate(([0], newlines + 1))
    own = np.maximum(starts[line], offsets - REACH)
    above: Ints = np.maximum(starts[np.maximum(line - 1, 0)], own - 1 - REACH)
    found: Ints = np.where(own == starts[line], above, own)
    return found


def _line_ends(newlines: Ints, offsets: Ints, length: int) -> Ints:
    """Behind the ends of the lines of these offsets, no further than REACH away."""
    ends = np.append(newlines + 1, length)[np.searchsorted(newlines, offsets)]
    found: Ints = np.minimum(ends, np.minimum(offsets + REACH, length))
    return found


def _with_indented(data: bytes, stops: Ints) -> Ints:
    """Behind the indented lines that follow: what stands under a header that names the step."""
    behind = np.frombuffer(data, np.uint8)[np.minimum(stops, len(data) - 1)]
    followed = np.flatnonzero(np.isin(behind, list(b" \t")))
    stops[followed] = [_block_end(data, stop) for stop in stops[followed].tolist()]
    return stops


def _block_end(data: bytes, end: int) -> int:
    """The end of the indented lines that follow: what stands under a header that names the step."""
    for _ in range(MOST_INDENTED):
        if data[end : end + 1] not in (b" ", b"\t"):
            break
        end = _line_end(data, end)
    return end


def _line_end(data: bytes, offset: int) -> int:
    end = data.find(b"\n", offset, offset + REACH)
    return min(offset + REACH, len(data)) if end < 0 else end + 1
