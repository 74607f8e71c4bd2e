"""Points: what was measured during training, as columns. Text logs, JSON, CSV and event files all become this."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
# Numbers of records, lines, ranks and series, of which a long log has millions.
Small = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NO_RANK = -1


@dataclass(frozen=True, slots=True)
class Points:
    """The points of one source, in its order.

    A record is one line of a log, or one row of a table: it holds points of several series, taken at the same moment.

    ``names[series[i]]`` is the series of point i, ``value[i]`` its value and ``record[i]`` the number of its record.
    ``step[r]`` is the global step of record r (NaN where the source doesn't tell it), ``line[r]`` its line (counted from 1;
    0 where there are no lines), ``rank[r]`` the rank that printed it (NO_RANK where unknown), ``time[r]`` its time in
    seconds on an arbitrary clock (NaN where unknown), ``restart[r]`` whether the source says that training was resumed
    between the record before and this one, ``stage[r]`` whether it says that a further stage of training began there,
    ``ended[r]`` whether it summed up a run that was done.
    ``total`` is the number of steps that the source says were taken (NaN where unknown). ``unread`` names the columns of a
    table whose numbers are no metrics that are known, if it has no others.

    Units: step_time in seconds, memory in GiB, losses as printed.
    """

    path: str
    names: tuple[str, ...]
    series: Small
    record: Small
    value: Floats
    step: Floats
    line: Small
    rank: Small
    time: Floats
    restart: Flags
    stage: Flags
    ended: Flags
    total: float = math.nan
    unread: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.value)

    def staged(self, lines: Sequence[int]) -> "Points":
        """With a further stage from each of these lines on, where no steps are told: nothing else tells two runs apart."""
        begun = np.searchsorted(self.line, lines)
        if not len(lines) or not np.isnan(self.step).all():
            return self
        stage = self.stage.copy()
        stage[begun[begun < len(stage)]] = True
        return replace(self, stage=stage)


def points_of_rows(
    path: str, rows: list[Mapping[str, float]], steps: list[float], lines: list[int] | None = None
) -> Points:
    """Points from rows of {series: value}, as structured sources hold them."""
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    number = {name: n for n, name in enumerate(names)}
    return Points(
        path=path,
        names=names,
        series=np.array([number[name] for row in rows for name in row], np.int32),
        record=np.array([n for n, row in enumerate(rows) for _ in row], np.int32),
        value=np.array([value for row in rows for value in row.values()], np.float64),
        step=np.array(steps, np.float64),
        line=np.array(lines if lines is not None else [0] * len(rows), np.int32),
        rank=np.full(len(rows), NO_RANK, np.int32),
        time=np.full(len(rows), np.nan),
        restart=np.zeros(len(rows), np.bool_),
        stage=np.zeros(len(rows), np.bool_),
        ended=np.zeros(len(rows), np.bool_),
    )


class PointColumns:
    """The points of consecutive parts of one source, in columns that grow in place, so that no point is there twice."""

    def __init__(self, path: str, names: tuple[str, ...]) -> None:
        self._path, self._names = path, names
        self._columns = {name: bytearray() for name in _COLUMNS}
        self._records = np.int32(0)
        self._total = math.nan

    def add(self, part: Points) -> None:
        """Take one more part, of the same names; its records are counted on from those before."""
        for name, kind in _COLUMNS.items():
            values = part.record + self._records if name == "record" else getattr(part, name)
            self._columns[name] += values.astype(kind, copy=False).tobytes()
        self._records += np.int32(len(part.step))
        self._total = part.total

    def points(self) -> Points:
        """All points so far; no more can be added."""
        columns = {name: np.frombuffer(column, _COLUMNS[name]) for name, column in self._columns.items()}
        return Points(path=self._path, names=self._names, total=self._total, unread=(), **columns)


_COLUMNS: dict[str, type[np.generic]] = {
    "series": np.int32,
    "record": np.int32,
    "value": np.float64,
    "step": np.float64,
    "line": np.int32,
    "rank": np.int32,
    "time": np.float64,
    "restart": np.bool_,
    "stage": np.bool_,
    "ended": np.bool_,
}
