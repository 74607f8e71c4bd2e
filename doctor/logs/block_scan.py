"""What one block of a log holds, found without knowing the others: so blocks can be looked at in any order, in any process."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from doctor.logs.block_lines import BlockLines
from doctor.logs.marks import FACT, METRIC
from doctor.logs.metrics import STAGE
from doctor.logs.prefixes import Line
from doctor.logs.scan import Scanner
from doctor.logs.source import Block

# So many of the last hits of progress are looked at; a line may name several losses.
LAST_PROGRESS = 16

if TYPE_CHECKING:
    from doctor.logs.metric_columns import ColumnReader, MetricColumns


@dataclass(frozen=True, slots=True)
class Scanned:
    """What is in a block.

    ``hits`` are (owner, end) of what is to be looked at, in the order of their ends; ``newlines`` counts the line ends between
    the block's start and its end; ``metrics`` is None if it has none. For each end of a hit of METRIC, ``steps`` has the number
    of line ends between the block's start and it, and its line, of which only the prefixes are kept; ``labelled`` is what these
    lines have shown, as BlockLines has it.
    """

    hits: list[tuple[str, int]]
    newlines: int
    metrics: MetricColumns | None = None
    steps: Mapping[int, tuple[int, Line]] = field(default_factory=dict)
    labelled: bool | None = None


class BlockScanner:
    """Scans blocks. ``owners[n]`` is the signature id (or the mark) that pattern n of the scanner belongs to."""

    def __init__(self, scanner: Scanner, owners: Sequence[str]) -> None:
        self._scanner = scanner
        self._owners = owners
        self._first_metric = owners.index(METRIC) if METRIC in owners else len(owners)
        self._columns: ColumnReader | None = None

    def scan(self, block: Block) -> Scanned:
        """The hits and the metrics of one block. Numpy is loaded by the first metric line."""
        metrics, others = self._split(block, self._scanner.hits(block.data))
        if not metrics:
            return Scanned(others, block.data.count(b"\n", block.start, block.end))
        from doctor.logs.metric_columns import ColumnReader
        from doctor.logs.metric_regions import LineEnds

        self._columns = self._columns or ColumnReader()
        ends = LineEnds(block.data)
        newlines = ends.between(block.start, block.end)
        columns = self._columns.read(block.data, metrics, ends, whole=not block.start)
        lines = BlockLines(block, 0, newlines)
        steps = {
            end: (ends.between(block.start, end - 1), lines.around(end).with_text(""))
            for owner, end in others
            if owner == METRIC
        }
        return Scanned(others, newlines, columns, steps, lines.labelled)

    def _split(self, block: Block, hits: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[tuple[str, int]]]:
        """(number, end) of the block's own metric hits, and (owner, end) of the hits to look at that no earlier block had.

        Of metric hits only the last are looked at: they show that training goes on, which a stage's name does not. What a line
        of metrics says of the learning rate is no setting.
        """
        owners, first = self._owners, self._first_metric
        metrics = [(pattern - first, end) for pattern, end in hits if owners[pattern] == METRIC]
        beside = _OnLines(block.data, [end for _, end in metrics])
        metrics = [(number, end) for number, end in metrics if block.start < end <= block.end]
        others = [
            (owners[pattern], end)
            for pattern, end in hits
            if end > block.start and (owner := owners[pattern]) != METRIC and not (owner == FACT and end in beside)
        ]
        steps = [end for number, end in metrics if number != STAGE]
        progress = ((METRIC, end) for end in steps[-LAST_PROGRESS:])
        return metrics if steps else [], sorted([*others, *progress], key=itemgetter(1))


class _OnLines:
    """The lines on which these ascending end offsets lie, as a set of offsets."""

    def __init__(self, data: bytes, ends: list[int]) -> None:
        self._data = data
        self._ends = ends

    def __contains__(self, end: int) -> bool:
        ends, behind = self._ends, bisect_left(self._ends, end)
        before = behind > 0 and self._data.find(b"\n", ends[behind - 1], end - 1) < 0
        return before or (behind < len(ends) and self._data.find(b"\n", end, ends[behind] - 1) < 0)
