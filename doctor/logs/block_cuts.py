"""How a log is cut into blocks: a stream as it comes, a plain file by offsets, so that each block is read by whoever scans it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from weakref import finalize

from doctor.errors import LogError

BLOCK = 4 * 1024 * 1024
OVERLAP = 256 * 1024
# So much of the line in front of a block comes again, or of one that it starts in the middle of.
CONTEXT = 16 * 1024
# The last line end before a cut is looked for in so much at a time.
WINDOW = 64 * 1024


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a log. Matches that end behind ``start`` and not behind ``end`` belong to this block.

    The bytes behind ``end`` come again in the next. Those before ``start`` came before: the line in front, or the
    start of one that was cut. Only the first block of a log starts at 0.
    """

    data: bytes
    end: int
    start: int = 0


class PlainFile:
    """A file whose pieces are read by their offsets; its descriptor is closed with the last reference to it."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.descriptor = os.dup(descriptor)
        finalize(self, os.close, self.descriptor)

    def behind_line_end(self, low: int, high: int) -> int:
        """The offset behind the last line end between two offsets; 0 if there is none."""
        while high > low:
            window = max(low, high - WINDOW)
            found = read_at(self.path, self.descriptor, window, high).rfind(b"\n")
            if found >= 0:
                return window + found + 1
            high = window
        return 0


@dataclass(frozen=True)
class Extent:
    """A block of a plain file, which is read when its data is asked for; shorter than ``size`` if the file has shrunk."""

    file: PlainFile
    offset: int
    size: int
    end: int
    start: int = 0

    @cached_property
    def data(self) -> bytes:
        """The bytes of the block."""
        return read_at(self.file.path, self.file.descriptor, self.offset, self.offset + self.size)


LogBlock = Block | Extent


def read_at(path: str, descriptor: int, start: int, stop: int) -> bytes:
    """The bytes of a file between two offsets, as far as it has them; LogError if they can't be read."""
    pieces = []
    try:
        while start < stop and (piece := os.pread(descriptor, stop - start, start)):
            pieces.append(piece)
            start += len(piece)
    except OSError as fault:
        raise unreadable(path, fault) from None
    return b"".join(pieces)


def unreadable(path: str, fault: Exception) -> LogError:
    """The error for a log that can't be read or unpacked to its end."""
    reason = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    return LogError(f"{path}: can't be read to its end: {reason}; check that the file is whole and readable")


def cut_stream(chunks: Iterator[bytes]) -> Iterator[Block]:
    """Blocks that overlap by OVERLAP bytes, cut behind a line end where one is in reach."""
    kept, start = b"", 0
    for chunk in chunks:
        data = kept + chunk
        reach = max(len(data) - OVERLAP, start)
        end = data.rfind(b"\n", start, reach) + 1 or reach
        if end > start:
            yield Block(data, end, start)
            start = min(CONTEXT, end - (data.rfind(b"\n", 0, end - 1) + 1))
            data = data[end - start :]
        kept = data
    if len(kept) > start:
        yield Block(kept, len(kept), start)


def cut_file(file: PlainFile, size: int, on_read: Callable[[int], None]) -> Iterator[Extent]:
    """The same blocks of the first ``size`` bytes of a file, of which only what lies around the cuts is read."""
    begin = done = 0  # offsets: of the block, and of what is done with it
    for stop in [*range(BLOCK, size, BLOCK), size]:
        reach = max(stop - OVERLAP, done)
        end = file.behind_line_end(done, reach) or reach
        if end > done:
            yield Extent(file, begin, stop - begin, end - begin, done - begin)
            on_read(end - done)
            done, begin = end, max(file.behind_line_end(max(begin, end - 1 - CONTEXT), end - 1), begin, end - CONTEXT)
    if size > done:
        yield Extent(file, begin, size - begin, size - begin, done - begin)
        on_read(size - done)
