"""Points: what was measured during training, as columns. Text logs, JSON, CSV and event files all become this."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
# Numbers of records, lines, ranks and series, of which a long log has millions.
Small = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

NO_RANK = -1

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Points:
    """The points of one source, in its order.

    A record is one line of a log, or one row of a table: it holds points of several series, taken at the same moment.

    ``names[series[i]]`` is the series of point i, ``value[i]`` its value and ``record[i]`` the number of its record.
    ``step[r]`` is the global step of record r (NaN where the source doesn't tell it), ``line[r]`` its line (counted from 1;
    0 where there are no lines), ``rank[r]`` the rank that printed it (NO_RANK where unknown), ``time[r]`` its time in
    seconds on an arbitrary clock (NaN where unknown), ``restart[r]`` whether the source says that training was resumed
    between the record before and this one. ``total`` is the number of steps that the source says were taken (NaN where
    unknown).

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
    restart: npt.NDArray[np.bool_]
    total: float = math.nan

    def __len__(self) -> int:
        return len(self.value)


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
    )


def joined(path: str, names: tuple[str, ...], parts: list[Points]) -> Points:
    """The points of consecutive parts of one source; all parts have these names."""

    def column(name: str, empty: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
        return np.concatenate([empty, *(getattr(part, name) for part in parts)])

    ints, floats = np.empty(0, np.int32), np.empty(0, np.float64)
    offsets = np.cumsum([0, *(len(part.step) for part in parts)], dtype=np.int32)
    record = [part.record + offset for part, offset in zip(parts, offsets, strict=False)]
    return Points(
        path=path,
        names=names,
        series=column("series", ints),
        record=np.concatenate([ints, *record]),
        value=column("value", floats),
        step=column("step", floats),
        line=column("line", ints),
        rank=column("rank", ints),
        time=column("time", floats),
        restart=column("restart", np.empty(0, np.bool_)),
        total=parts[-1].total if parts else math.nan,
    )
