"""The lines of one block: their numbers, what stands around a hit, and what follows it."""

from collections.abc import Iterator

from doctor.logs import block_cuts
from doctor.logs.block_cuts import LogBlock
from doctor.logs.prefixes import Line, behind_return, decoded, has_labels, read_lines, strip_prefixes

# A hit in a longer line is read in a window around it: whole logs come on one line.
LONG_LINE = 8 * 1024
BEFORE, AFTER = 300, 1500
LONGEST_PREFIX = 200


class BlockLines:
    """A block's bytes as lines: ``first`` is the number of the one that holds its start, ``newlines`` how many end in it.

    Numbers must be asked for in ascending order of offsets, so that line ends are counted once, or else from the end.
    ``labelled`` is whether lines begin with the numbers of their tasks: None until a line with a large number asks.
    """

    def __init__(self, block: LogBlock, first: int, newlines: int, labelled: bool | None = None) -> None:
        self.labelled = labelled
        self._block = block
        self._counted = block.start
        self._number = self._asked = first
        self._end = block.end
        self._last = first + newlines

    @property
    def _data(self) -> bytes:
        """The block's bytes, which are read from its file only if a line is asked for."""
        return self._block.data

    def number(self, offset: int) -> int:
        """The number of the line that holds this offset."""
        if offset <= self._end and self._end - offset < offset - self._counted:
            self._asked = self._last - self._data.count(b"\n", offset, self._end)
            return self._asked
        self._number += self._data.count(b"\n", self._counted, offset)
        self._counted = max(self._counted, offset)
        self._asked = self._number
        return self._asked

    def around(self, end: int) -> Line:
        """The clean text around a match that ends here: its line, or what stands between the carriage returns around it."""
        start, stop = self.piece(end)
        prefix = self._prefix(self._bounds(end)[0], start)
        lines = read_lines(prefix + self._data[start:stop], self._has_labels)
        return lines[0].with_text("\n".join(line.text for line in lines))

    def piece(self, end: int) -> tuple[int, int]:
        """Where the text around a match that ends here starts and stops."""
        start, stop = self._bounds(end)
        start = max(start, self._data.rfind(b"\r", start, end) + 1)
        back = self._data.find(b"\r", end, stop)
        stop = stop if back < 0 else back
        if stop - start > LONG_LINE:
            start, stop = max(start, end - BEFORE), min(stop, end + AFTER)
        return start, stop

    def following(self, end: int) -> Iterator[tuple[int, Line]]:
        """The line in which a match ends, and all behind it, numbered; of each what stands behind its last carriage return."""
        number = self._asked
        begin, stop = self._bounds(end)
        start = max(begin, self._data.rfind(b"\r", begin, end) + 1)
        reach = end + block_cuts.OVERLAP  # as far as every block holds, wherever it was cut
        stop = min(stop, reach)
        while start < len(self._data) and stop <= reach:
            raw = behind_return(self._data[start:stop])
            for line in read_lines(self._prefix(begin, stop - len(raw)) + raw, self._has_labels):
                yield number, line
            begin = start = stop + 1
            number += 1
            stop = self._line_end(start)

    def before(self, end: int) -> Line | None:
        """The line before the one in which a match ends, as far as the block holds it."""
        stop = self._bounds(end)[0] - 1
        start = self._data.rfind(b"\n", 0, max(stop, 0)) + 1
        return read_lines(self._data[start:stop], self._has_labels)[-1] if stop > start else None

    def above(self, end: int) -> str:
        """The two lines before the one in which a match ends as one text: a hard wrap may stand between them."""
        stop = max(self._bounds(end)[0] - 1, 0)
        start = self._data.rfind(b"\n", 0, max(self._data.rfind(b"\n", 0, stop), 0)) + 1
        return decoded(self._data[start:stop]).replace("\n", "")

    def behind(self, end: int) -> Iterator[tuple[int, Line]]:
        """The lines behind the one in which a match ends, numbered."""
        return (numbered for numbered in self.following(end) if numbered[0] > self._asked)

    def _prefix(self, begin: int, start: int) -> bytes:
        """What a launcher put in front of a line, before the carriage return of a progress bar that stands in it."""
        back = self._data.find(b"\r", begin, min(start, begin + LONGEST_PREFIX))
        head = self._data[begin:back] if back > begin else b""
        return head if head and strip_prefixes(decoded(head + b"x")).text == "x" else b""

    def _has_labels(self) -> bool:
        """Few logs have a line that asks, so that the block is searched only then."""
        if self.labelled is None:
            self.labelled = has_labels(self._data)
        return self.labelled

    def _bounds(self, end: int) -> tuple[int, int]:
        return self._data.rfind(b"\n", 0, max(end - 1, 0)) + 1, self._line_end(end - 1)

    def _line_end(self, start: int) -> int:
        stop = self._data.find(b"\n", max(start, 0))
        return len(self._data) if stop < 0 else stop
