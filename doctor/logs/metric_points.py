"""Metric columns of consecutive blocks to the points of one log."""

import numpy as np

from doctor.logs.metric_columns import NAMES, ColumnReader, MetricColumns
from doctor.logs.metric_elapsed import AVERAGED, ElapsedReader
from doctor.logs.metric_records import StepReader
from doctor.logs.metric_regions import LineEnds
from doctor.logs.metrics import metric_hits
from doctor.points import Flags, PointColumns, Points


class MetricReader:
    """Collects the points of one log, block by block; remembers between them what one says of the next."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._steps = StepReader()
        self._elapsed = ElapsedReader()
        self._resumed = False
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
                restart=self._restarts(columns.restart),
                total=columns.total,
            )
        )

    def points(self) -> Points:
        """All points; no more lines can be taken."""
        return self._points.points()

    def _restarts(self, restart: Flags) -> Flags:
        """Which records are the first behind a place that says the run was resumed."""
        restart = restart.copy()
        restart[0] |= self._resumed
        self._resumed = bool(restart[-1])
        return restart[:-1]


def points_in_text(text: str, path: str = "") -> Points:
    """The points of a text, such as a signature's sample."""
    data = text.encode("utf-8", "replace")
    reader, columns = MetricReader(path), ColumnReader().read(data, metric_hits(data), LineEnds(data), whole=True)
    if columns is not None:
        reader.take(columns, 1)
    return reader.points()
