"""What one block of a log holds, found without knowing the others: so blocks can be looked at in any order, in any process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from doctor.logs.block_cuts import LogBlock
from doctor.logs.block_lines import BlockLines
from doctor.logs.marks import FACT, METRIC
from doctor.logs.metrics import EVALUATION, HEADINGS, STAGE, Hits
from doctor.logs.prefixes import Line
from doctor.logs.scan import Scanner

# So many of the last hits of progress are looked at; a line may name several losses.
LAST_PROGRESS = 16

if TYPE_CHECKING:
    from doctor.logs.metric_columns import ColumnReader, MetricColumns
    from doctor.logs.metric_regions import LineEnds


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
        first = owners.index(METRIC) if METRIC in owners else 0
        self._metrics = range(first, first + owners.count(METRIC))
        self._facts = frozenset(number for number, owner in enumerate(owners) if owner == FACT)
        self._columns: ColumnReader | None = None

    def scan(self, block: LogBlock) -> Scanned:
        """The hits and the metrics of one block: of hits those to be looked at that no earlier block had."""
        metrics, others = self._apart(self._scanner.hits(block.data), block.start)
        if any(number not in (STAGE, EVALUATION) for number, _ in metrics):
            return self._with_metrics(block, metrics, others)
        newlines = block.data.count(b"\n", block.start, block.end)
        return Scanned([(self._owners[number], end) for number, end in others], newlines)

    def _apart(self, hits: Hits, start: int) -> tuple[Hits, Hits]:
        """The hits of metrics, numbered as METRIC_PATTERNS are, and those of others that no earlier block had."""
        first, last = self._metrics.start, self._metrics.stop
        metrics, others = [], []
        for number, end in hits:
            if first <= number < last:
                metrics.append((number - first, end))
            elif end > start:
                others.append((number, end))
        return metrics, others

    def _with_metrics(self, block: LogBlock, metrics: Hits, others: Hits) -> Scanned:
        """The same for a block that holds metrics. Numpy is loaded by the first of them.

        Of metric hits only the last are looked at: they show that training goes on, which a heading does not.
        """
        from doctor.logs.metric_columns import ColumnReader
        from doctor.logs.metric_regions import LineEnds

        self._columns = self._columns or ColumnReader()
        line_ends = LineEnds(block.data, block.start)
        own = [(number, end) for number, end in metrics if block.start < end <= block.end]
        columns = self._columns.read(block.data, own, line_ends, whole=not block.start)
        taken = [end for number, end in own if number not in HEADINGS][-LAST_PROGRESS:]
        steps, labelled = _steps(block, line_ends, taken)
        looked_at = [*self._beside(metrics, others, line_ends), *((METRIC, end) for end in taken)]
        return Scanned(sorted(looked_at, key=itemgetter(1)), line_ends.number(block.end), columns, steps, labelled)

    def _beside(self, metrics: Hits, others: Hits, line_ends: LineEnds) -> list[tuple[str, int]]:
        """The hits beside those of metrics. What a line of metrics says of the learning rate is no setting."""
        metric_lines = frozenset(line_ends.of_hits([end for number, end in metrics if number != EVALUATION]))
        lines = line_ends.of_hits([end for _, end in others])
        return [
            (self._owners[number], end)
            for (number, end), line in zip(others, lines, strict=True)
            if not (number in self._facts and line in metric_lines)
        ]


def _steps(block: LogBlock, line_ends: LineEnds, ends: list[int]) -> tuple[dict[int, tuple[int, Line]], bool | None]:
    """The lines of these ends as ``Scanned`` has them, and whether they are labelled."""
    lines = BlockLines(block, 0, line_ends.number(block.end))
    steps = {end: (line_ends.number(end - 1), lines.around(end).with_text("")) for end in ends}
    return steps, lines.labelled
