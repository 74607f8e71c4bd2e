"""Metric columns of consecutive blocks to the points of one log."""

import numpy as np

from doctor.logs.metric_columns import NAMES, ColumnReader, MetricColumns
from doctor.logs.metric_elapsed import AVERAGED, ElapsedReader
from doctor.logs.metric_records import StepReader
from doctor.logs.metric_regions import LineEnds
from doctor.logs.metrics import metric_hits
from doctor.points import Flags, PointColumns, Points, Small


class MetricReader:
    """Collects the points of one log, block by block; remembers between them what one says of the next."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._steps = StepReader()
        self._elapsed = ElapsedReader()
        self._resumed, self._stages, self._ended = _Announced(), _Announced(), _Announced()
        self._points = PointColumns(path, NAMES)

    def take(self, columns: MetricColumns, first_line: int) -> None:
        """Add the metrics of the next block, whose first line has this number."""
        steps = self._steps.steps(columns.steps)
        averaged = self._elapsed.step_times(columns.elapsed, steps)
        known = np.flatnonzero(~np.isnan(averaged))
        self._points.add(
            Points(
                path=self._path,
                names=NAMES,
                series=np.append(columns.series, np.full(len(known), NAMES.index(AVERAGED), np.int32)),
                record=np.append(columns.record, known.astype(np.int32)),
                value=np.append(columns.value, averaged[known]),
                step=steps,
                line=columns.line + np.int32(first_line),
                rank=columns.rank,
                time=columns.time,
                restart=self._resumed.numbers(columns.resumed) > 0,
                stage=self._stages.rises(columns.stages),
                ended=self._ended.numbers(columns.ended) > 0,
                total=columns.total,
            )
        )

    def points(self) -> Points:
        """All points; no more lines can be taken."""
        return self._points.points()


class _Announced:
    """What stands between records and speaks of the next one, which may be in the next block."""

    def __init__(self) -> None:
        self._waits = 0
        self._most = 1

    def numbers(self, behind: Small) -> Small:
        """The number that was said in front of each record, or 0; the last in ``behind`` is for the next block's first."""
        numbers = behind.copy()
        numbers[0] = max(numbers[0], self._waits)
        self._waits = int(numbers[-1])
        return numbers[:-1]

    def rises(self, behind: Small) -> Flags:
        """Which records have a number in front of them that is higher than all before, which began with 1."""
        numbers = self.numbers(behind)
        most = np.maximum.accumulate(np.append(self._most, numbers))
        self._most = int(most[-1])
        rises: Flags = numbers > most[:-1]
        return rises


def points_in_text(text: str, path: str = "") -> Points:
    """The points of a text, such as a signature's sample."""
    data = text.encode("utf-8", "replace")
    reader, columns = MetricReader(path), ColumnReader().read(data, metric_hits(data), LineEnds(data), whole=True)
    if columns is not None:
        reader.take(columns, 1)
    return reader.points()
