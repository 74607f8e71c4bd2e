"""Points to runs and their series: steps filled in, restarts found, ranks merged."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from doctor.points import NO_RANK, Flags, Floats, Ints, Points, Small

Kind = TypeVar("Kind", bound=np.generic)

# Series whose records count as training steps where the source tells none.
TRAINING = ("loss", "policy_loss", "reward")
# So many lines must begin with ever higher numbers to be numbered by their steps.
LEAST_NUMBERED = 8
# So many times must rise, from no more than so many of their differences, to be a clock that counts from the start of a run.
LEAST_TIMES, MOST_AHEAD = 8, 3
# A step counter that falls below this share of what it had reached starts another run; above, training was resumed.
NEW_RUN = 0.2
# The series that holds the times of all records, and those of which every rank's own values are kept.
CLOCK = "clock"
STEP_TIME = "step_time"
RANKED = frozenset({STEP_TIME})


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one run: values at ascending steps, and the lines they stand on (0 where there are none). ``made_from``
    says of what the values were computed, if they are not there as such."""

    name: str
    path: str
    run: int
    steps: Floats
    values: Floats
    lines: Small
    made_from: str = ""

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Run:
    """The series of one run. ``restarts`` holds the first step behind each resumption; ``by_rank`` a series for each rank
    that prints its own values. ``counted`` is whether its steps are but its training records counted: nothing tells how many
    steps lie between them."""

    number: int
    path: str
    series: Mapping[str, Series]
    restarts: tuple[float, ...] = ()
    by_rank: Mapping[str, Mapping[int, Series]] = field(default_factory=dict)
    counted: bool = False


@dataclass(frozen=True, slots=True)
class _Records:
    """A row a record: its step, filled in and global within its run, its run, whether training was resumed before it, how many
    further stages have begun, and how many runs were done."""

    step: Floats
    run: Small
    restart: Flags
    stage: Ints
    ended: Ints


@dataclass(frozen=True, slots=True)
class _Values:
    """A row a point: the number of its series, its record, its value."""

    series: Small
    record: Small
    value: Floats

    def only(self, which: Flags) -> "_Values":
        return self if which.all() else _Values(self.series[which], self.record[which], self.value[which])

    def records(self) -> Ints:
        """The records that have a value, in order."""
        flags = np.zeros(int(self.record.max(initial=-1)) + 1, np.bool_)
        flags[self.record] = True
        return np.flatnonzero(flags)


@dataclass(frozen=True, slots=True)
class _Table:
    """The points of one series, a row a point, ordered by run and step."""

    run: Small
    step: Floats
    rank: Small
    value: Floats
    line: Small

    def only(self, which: Flags | Ints) -> "_Table":
        return _Table(self.run[which], self.step[which], self.rank[which], self.value[which], self.line[which])


@np.errstate(all="ignore")
def runs_of(points: Points, interval: float | None = None) -> list[Run]:
    """The runs in one source, in its order. ``interval`` is the number of steps between training records, where it is known
    and the source doesn't count. A log may hold any numbers; what can't be computed is compared as NaN."""
    points = _numbered(points)
    records = _records(points, interval)
    counted = bool(np.isnan(points.step).all()) and not interval and not points.total > 0
    values = _Values(points.series, points.record, points.value)
    values = _without_stale(_with_vanished(values, points.names), points.names)
    restarts = _restarts(records, values)
    values = values.only(_lasting(records, points.rank, values)[values.record])
    series: dict[int, dict[str, Series]] = {}
    ranks: dict[int, dict[str, dict[int, Series]]] = {}
    for name, record, value in _by_series(values, points):  # one by one, so that no step needs a copy of all points
        table = _latest(record, value, records, points)
        for one in _split(_merged(table), name, points.path):
            series.setdefault(one.run, {})[name] = one
        for rank, rows in _by_rank(table) if name in RANKED else ():
            for one in _split(rows, name, points.path):
                ranks.setdefault(one.run, {}).setdefault(name, {})[rank] = one
    return [
        Run(run, points.path, _timed(series[run]), restarts.get(run, ()), ranks.get(run, {}), counted)
        for run in sorted(series)
    ]


def _timed(series: dict[str, Series]) -> dict[str, Series]:
    """With differences for times of steps that rise from about nothing, by about as much each time: they count from the start."""
    one = series.get(STEP_TIME)
    if one is None or len(one) < LEAST_TIMES:
        return series
    taken = np.diff(one.values)
    steady = float(np.std(taken)) < float(np.mean(taken))
    if not (taken > 0).all() or not steady or one.values[0] > MOST_AHEAD * float(np.mean(taken)):
        return series
    return {**series, STEP_TIME: replace(one, steps=one.steps[1:], values=taken, lines=one.lines[1:])}


def _numbered(points: Points) -> Points:
    """With steps for labels: lines that begin with ever higher numbers and tell no step are one rank's, which counts in front
    ("100: loss 2.5")."""
    told = not np.isnan(points.step).all()
    if told or len(points.rank) < LEAST_NUMBERED or points.rank[0] == NO_RANK or (np.diff(points.rank) <= 0).any():
        return points
    return replace(points, step=points.rank.astype(np.float64), rank=np.full_like(points.rank, NO_RANK))


def _by_series(values: _Values, points: Points) -> Iterator[tuple[str, Small | Ints, Floats]]:
    """(name, records, values) of each series, and of one more: the time of each record that has one."""
    for number in np.unique(values.series).tolist():
        own = values.only(values.series == number)
        yield points.names[number], own.record, own.value
    timed = values.records()
    timed = timed[~np.isnan(points.time[timed])]
    yield CLOCK, timed, points.time[timed]


def _records(points: Points, interval: float | None) -> _Records:
    """The records of a source, those of each rank in a row."""
    epoch, counted = _column(points, "epoch"), bool(np.isnan(points.step).all())
    step = _counted(points, interval) if counted else points.step
    runs = np.zeros(len(step), np.int32)
    stages, ended = np.cumsum(points.stage, dtype=np.int64), np.cumsum(points.ended, dtype=np.int64)
    records = _Records(np.nan_to_num(_filled(step), nan=0.0), runs, points.restart.copy(), stages, ended)
    for rank in np.unique(points.rank):
        _find_runs(records, np.flatnonzero(points.rank == rank), epoch, counted)
    return records


def _counted(points: Points, interval: float | None) -> Floats:
    """The steps of records that tell none: each rank's training records counted. The interval is known, or told by all steps
    that the source says were taken."""
    training = np.zeros(len(points.step), np.bool_)
    names = [points.names.index(name) for name in TRAINING if name in points.names]
    training[points.record[np.isin(points.series, names)]] = True
    counter = np.ones(len(training))
    for rank in np.unique(points.rank):
        own = points.rank == rank
        counter[own] = np.maximum(np.cumsum(training[own] if training[own].any() else ~training[own]), 1)
    told = points.total / counter.max(initial=1.0) if points.total > 0 else 1.0
    return counter * (interval or max(float(np.round(told)), 1.0))


def _column(points: Points, name: str) -> Floats:
    """The value of a series in each record, NaN where it has none."""
    column = np.full(len(points.step), np.nan)
    if name in points.names:
        which = points.series == points.names.index(name)
        column[points.record[which]] = points.value[which]
    return column


def _filled(values: Floats) -> Floats:
    """With the last known value where one is missing."""
    known = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))), dtype=np.int64)
    return values[known]


def _find_runs(records: _Records, rows: Ints, epoch: Floats, counted: bool) -> None:
    """Fill in the runs of one rank's records, and make the steps of an epoch-wise counter global."""
    epoch = _filled(epoch[rows])
    if not counted:
        records.step[rows] += _offsets(records.step[rows], epoch)
    counter = epoch if counted else records.step[rows]
    falls = np.diff(counter, prepend=np.nan) < 0
    new = falls & ((counter <= NEW_RUN * np.fmax.accumulate(counter)) | _behind_end(falls, records.ended[rows]))
    records.run[rows] = np.cumsum(new) + records.stage[rows]
    new |= np.diff(records.stage[rows], prepend=0) > 0
    records.restart[rows] = (records.restart[rows] | falls) & ~new & (np.arange(len(rows)) > 0)


def _behind_end(falls: Flags, ended: Ints) -> Flags:
    """At which falls of a counter a run has been done since the fall before."""
    behind, at = falls.copy(), np.flatnonzero(falls)
    behind[at] = np.diff(ended[at], prepend=0) > 0
    return behind


def _offsets(step: Floats, epoch: Floats) -> Floats:
    """What to add to steps that start again with each epoch: they fall where the epoch rises."""
    wraps = (np.diff(step, prepend=np.nan) < 0) & (np.diff(epoch, prepend=np.nan) > 0)
    return np.cumsum(np.where(wraps, np.roll(step, 1), 0.0))


def _with_vanished(values: _Values, names: tuple[str, ...]) -> _Values:
    """Megatron leaves the loss out of a line whose average is NaN: a line with its counters and no loss is a NaN loss,
    unless all its iterations were skipped."""
    if "nan_iterations" not in names:
        return values
    number = {name: names.index(name) for name in ("nan_iterations", "loss", "skipped")}
    skipped = values.record[(values.series == number["skipped"]) & (values.value > 0)]
    lossy = values.record[values.series == number["loss"]]
    lost = np.setdiff1d(values.record[values.series == number["nan_iterations"]], np.concatenate((lossy, skipped)))
    return _Values(
        np.concatenate((values.series, np.full(len(lost), number["loss"], np.int32))),
        np.concatenate((values.record, lost)),
        np.concatenate((values.value, np.full(len(lost), np.nan))),
    )


def _without_stale(values: _Values, names: tuple[str, ...]) -> _Values:
    """An eval loss that stands unchanged in each training line until the next evaluation counts once."""
    if "eval_loss" not in names:
        return values
    evals = np.flatnonzero(values.series == names.index("eval_loss"))
    evals = evals[np.argsort(values.record[evals], kind="stable")]
    training = values.record[values.series == (names.index("loss") if "loss" in names else -1)]
    kept = np.ones(len(values.value), np.bool_)
    kept[evals[~_changes(values.value[evals]) & np.isin(values.record[evals], training)]] = False
    return values.only(kept)


def _restarts(records: _Records, values: _Values) -> dict[int, tuple[float, ...]]:
    """The steps of each run before which training was resumed."""
    rows = values.records()
    rows = rows[records.restart[rows]]
    runs = {int(run): records.step[rows[records.run[rows] == run]] for run in np.unique(records.run[rows])}
    return {run: tuple(np.unique(steps).tolist()) for run, steps in runs.items()}


def _lasting(records: _Records, rank: Small, values: _Values) -> Flags:
    """Which records lead somewhere. Steps that were taken again after a resumption lead nowhere the first time."""
    rows = values.records()
    rows = rows[np.lexsort((rows, rank[rows], records.run[rows]))]
    lasting = np.zeros(len(records.step), np.bool_)
    first = np.flatnonzero(_changes(records.run[rows], rank[rows]))
    for part in np.split(rows, first[1:]):
        lowest_from = np.minimum.accumulate(records.step[part][::-1])[::-1]
        lasting[part] = records.step[part] <= np.append(lowest_from[1:], np.inf)[: len(part)]
    return lasting


def _latest(record: Small | Ints, value: Floats, records: _Records, points: Points) -> _Table:
    """One value for each step of a series and rank, the last one, ordered by run, step and record."""
    rank, step, run = _rows(points.rank, record), _rows(records.step, record), _rows(records.run, record)
    order = np.lexsort((record, rank, step, run))
    last = np.append(_changes(run[order], step[order], rank[order])[1:], True)[: len(order)]
    rows = order[last]
    rows = rows[np.lexsort((record[rows], step[rows], run[rows]))]
    line = _rows(_rows(points.line, record), rows)
    return _Table(_rows(run, rows), _rows(step, rows), _rows(rank, rows), _rows(value, rows), line)


def _rows(column: npt.NDArray[Kind], rows: Small | Ints) -> npt.NDArray[Kind]:
    """These rows of a column: the column itself if they are all of it, so that series share their steps and lines."""
    return column if np.array_equal(rows, np.arange(len(column))) else column[rows]


def _merged(table: _Table) -> _Table:
    """One value for each step: the median over ranks, or what is not finite if any rank has it."""
    starts = _changes(table.run, table.step)
    if starts.all():
        return table
    first, group = np.flatnonzero(starts), np.cumsum(starts) - 1
    count = np.diff(np.append(first, len(group)))
    ordered = table.value[np.lexsort((table.value, group))]
    medians = (ordered[first + (count - 1) // 2] + ordered[first + count // 2]) / 2
    broken = np.flatnonzero(~np.isfinite(table.value))[::-1]  # of equal places the first row is kept
    medians[group[broken]] = table.value[broken]
    return replace(table.only(first), value=medians, line=np.minimum.reduceat(table.line, first))


def _changes(*columns: Small | Floats) -> Flags:
    """Which rows differ from the one before in any of these columns; the first does."""
    changes = np.ones(len(columns[0]), np.bool_)
    changes[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return changes


def _by_rank(table: _Table) -> list[tuple[int, _Table]]:
    ranks = np.unique(table.rank).tolist()
    return [(rank, table.only(table.rank == rank)) for rank in ranks] if len(ranks) > 1 else []


def _split(table: _Table, name: str, path: str) -> Iterator[Series]:
    """The series of each run."""
    starts = np.flatnonzero(_changes(table.run)).tolist() if len(table.run) else []
    for start, stop in zip(starts, [*starts[1:], len(table.run)], strict=False):
        part = slice(start, stop)
        yield Series(name, path, int(table.run[start]), table.step[part], table.value[part], table.line[part])
