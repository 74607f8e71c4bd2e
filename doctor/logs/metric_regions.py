"""The parts of a block that hold metric lines, put together into one short text, so that what follows is dense."""

from dataclasses import dataclass

import numpy as np

from doctor.points import Ints

# Metric lines nearer than this lie in one region; a line's start and end are looked for no further than REACH from a hit.
NEAR = 256
REACH = 8192
MOST_INDENTED = 60


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


def cut_regions(data: bytes, ends: Ints, first_line: int) -> Regions:
    """The lines around these hits, each with the line before it (which may name the epoch)."""
    groups = np.flatnonzero(np.diff(ends) > NEAR) + 1
    firsts, lasts = ends[np.concatenate(([0], groups))], ends[np.concatenate((groups - 1, [len(ends) - 1]))]
    pieces, source, lines = list[bytes](), list[int](), list[int]()
    stop, line = 0, first_line
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        begin = _line_start(data, _line_start(data, first - 1, stop) - 1, stop)
        line += data.count(b"\n", stop, begin)
        end = _block_end(data, _line_end(data, max(last - 1, begin)))
        pieces.append(data[begin:end])
        source.append(begin)
        lines.append(line)
        line, stop = line + data.count(b"\n", begin, end), end
    lengths = np.array([len(piece) for piece in pieces], np.int64)
    return Regions(b"".join(pieces), np.array(source), np.cumsum(lengths) - lengths, np.array(lines))


def _line_start(data: bytes, offset: int, least: int) -> int:
    least = max(least, offset - REACH, 0)
    return max(data.rfind(b"\n", least, max(offset, least)) + 1, least)


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
