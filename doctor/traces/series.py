"""Points to runs and their series: steps filled in, restarts found, ranks merged. The only place that needs pandas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from doctor.errors import LogError
from doctor.points import Floats, Ints, Points
from doctor.traces.robust import NOISE_OF_CHANGE
from doctor.whole_file import write_whole

# Series whose records count as training steps where the source tells none.
TRAINING = ("loss", "policy_loss", "reward")
# A step counter that falls below this share of what it had reached starts another run; above, training was resumed.
NEW_RUN = 0.2
# The series that holds the times of all records, and those of which every rank's own values are kept.
CLOCK = "clock"
RANKED = frozenset({"step_time"})


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one run: values at ascending steps, and the lines they stand on (0 where there are none)."""

    name: str
    path: str
    run: int
    steps: Floats
    values: Floats
    lines: Ints

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Run:
    """The series of one run. ``restarts`` holds the first step behind each resumption; ``by_rank`` a series for each rank
    that prints its own values."""

    number: int
    path: str
    series: Mapping[str, Series]
    restarts: tuple[float, ...] = ()
    by_rank: Mapping[str, Mapping[int, Series]] = field(default_factory=dict)


def runs_of(points: Points, interval: float | None = None) -> list[Run]:
    """The runs in one source, in its order. ``interval`` is the number of steps between training records, where it is known
    and the source doesn't count."""
    records = _records(points, interval)
    values = pd.DataFrame({"series": points.series, "record": points.record, "value": points.value})
    values = _without_stale(_with_vanished(values, points.names), points.names)
    table = values.merge(records, left_on="record", right_index=True).sort_values("record", kind="stable")
    restarts = table[table["restart"]].groupby("run")["step"].unique()
    table = _with_clock(_without_overlaps(table), len(points.names))
    names = (*points.names, CLOCK)
    series = _split(_merged(_latest(table)), names, points.path)
    ranked = table[table["series"].isin([n for n, name in enumerate(names) if name in RANKED])]
    ranks = {rank: _split(_latest(rows), names, points.path) for rank, rows in _by_rank(ranked)}
    return [
        Run(run, points.path, own, tuple(sorted(restarts.get(run, ()))), _of_ranks(run, ranks))
        for run, own in series.items()
    ]


def _records(points: Points, interval: float | None) -> pd.DataFrame:
    """A row a record: step, epoch, line, rank, time, run, restart."""
    records = pd.DataFrame(
        {"step": points.step, "line": points.line, "rank": points.rank, "time": points.time, "restart": points.restart}
    )
    records["epoch"] = _column(points, "epoch")
    counted = bool(np.isnan(points.step).all())
    if counted:
        training = np.zeros(len(records), np.bool_)
        names = [points.names.index(name) for name in TRAINING if name in points.names]
        training[points.record[np.isin(points.series, names)]] = True
        counter = np.maximum(np.cumsum(training if training.any() else ~training), 1)
        records["step"] = counter * (interval or _interval(points, counter))
    records["step"] = records["step"].ffill().fillna(0.0)
    parts = [_with_runs(rows.copy(), counted) for _, rows in records.groupby("rank", sort=True)]
    return pd.concat(parts).sort_index() if parts else records.assign(run=0)


def _interval(points: Points, counter: Ints) -> float:
    """The steps between training records: all steps that the source says were taken, divided by the number of records."""
    return max(float(np.round(points.total / counter[-1])), 1.0) if points.total > 0 and len(counter) else 1.0


def _column(points: Points, name: str) -> Floats:
    """The value of a series in each record, NaN where it has none."""
    column = np.full(len(points.step), np.nan)
    if name in points.names:
        which = points.series == points.names.index(name)
        column[points.record[which]] = points.value[which]
    return column


def _with_runs(rows: pd.DataFrame, counted: bool) -> pd.DataFrame:
    """The records of one rank with their run, and with the steps of an epoch-wise counter made global."""
    epoch = rows["epoch"].ffill()
    if counted:
        falls = epoch.diff() < 0
        new = falls & (epoch <= NEW_RUN * epoch.cummax())
    else:
        rows["step"] += _offsets(rows["step"], epoch)
        falls = rows["step"].diff() < 0
        new = falls & (rows["step"] <= NEW_RUN * rows["step"].cummax())
    rows["run"] = new.cumsum()
    rows["restart"] = (rows["restart"] | falls) & ~new & (np.arange(len(rows)) > 0)
    return rows


def _offsets(step: "pd.Series[float]", epoch: "pd.Series[float]") -> "pd.Series[float]":
    """What to add to steps that start again with each epoch: they fall where the epoch rises."""
    wraps = (step.diff() < 0) & (epoch.diff() > 0)
    added: pd.Series[float] = step.shift().where(wraps, 0.0).cumsum()
    return added


def _with_vanished(values: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """Megatron leaves the loss out of a line whose average is NaN: a line with its counters and no loss is a NaN loss,
    unless all its iterations were skipped."""
    if "nan_iterations" not in names:
        return values
    number = {name: names.index(name) for name in ("nan_iterations", "loss", "skipped")}
    counted = values.loc[values["series"] == number["nan_iterations"], "record"]
    lost = counted[~counted.isin(values.loc[values["series"] == number["loss"], "record"])]
    skipped = values[(values["series"] == number["skipped"]) & (values["value"] > 0)]["record"]
    lost = lost[~lost.isin(skipped)]
    added = pd.DataFrame({"series": number["loss"], "record": lost, "value": np.nan})
    return pd.concat([values, added], ignore_index=True)


def _without_stale(values: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """An eval loss that stands unchanged in each training line until the next evaluation counts once."""
    if "eval_loss" not in names:
        return values
    evals = values[values["series"] == names.index("eval_loss")].sort_values("record")
    training = values.loc[values["series"] == (names.index("loss") if "loss" in names else -1), "record"]
    stale = evals["value"].eq(evals["value"].shift()) & evals["record"].isin(training)
    return values.drop(index=evals.index[stale])


def _without_overlaps(table: pd.DataFrame) -> pd.DataFrame:
    """Without the steps that were taken again after a resumption: those before it lead nowhere."""
    backwards = table[::-1]
    groups = [backwards["run"], backwards["rank"]]
    later = backwards["step"].groupby(groups).cummin().groupby(groups).shift(1)
    return table[~(table["step"] > later[::-1])]


def _with_clock(table: pd.DataFrame, number: int) -> pd.DataFrame:
    """With one more series: the time of each record that has one."""
    clock = table[table["time"].notna()].drop_duplicates("record")
    return pd.concat([table, clock.assign(series=number, value=clock["time"])], ignore_index=True)


def _latest(table: pd.DataFrame) -> pd.DataFrame:
    """One value for each step of a series and rank, the last one, in the order of steps."""
    ordered = table.sort_values(["run", "series", "step", "record"], kind="stable")
    return ordered[~ordered.duplicated(["run", "series", "step", "rank"], keep="last")]


def _merged(table: pd.DataFrame) -> pd.DataFrame:
    """One value for each step of a series: the median over ranks, or what is not finite if any rank has it."""
    place = ["run", "series", "step"]
    if not table.duplicated(place).any():
        return table
    broken = table[~np.isfinite(table["value"])].drop_duplicates(place).set_index(place)["value"]
    merged = table.groupby(place, sort=True).agg(value=("value", "median"), line=("line", "min"))
    merged.loc[broken.index, "value"] = broken
    return merged.reset_index()


def _by_rank(table: pd.DataFrame) -> list[tuple[int, pd.DataFrame]]:
    ranks = sorted(set(table["rank"].tolist()))
    return [(rank, table[table["rank"] == rank]) for rank in ranks] if len(ranks) > 1 else []


def _of_ranks(run: int, ranks: Mapping[int, Mapping[int, Mapping[str, Series]]]) -> dict[str, dict[int, Series]]:
    """{series: {rank: its values}} of one run."""
    found: dict[str, dict[int, Series]] = {}
    for rank, runs in ranks.items():
        for name, one in runs.get(run, {}).items():
            found.setdefault(name, {})[rank] = one
    return found


def _split(table: pd.DataFrame, names: tuple[str, ...], path: str) -> dict[int, dict[str, Series]]:
    """{run: {name: series}} of a table that is ordered by both."""
    run, series = table["run"].to_numpy(np.int64), table["series"].to_numpy(np.int64)
    steps, values = table["step"].to_numpy(np.float64), table["value"].to_numpy(np.float64)
    lines = table["line"].to_numpy(np.int64)
    changes = np.flatnonzero((np.diff(run) != 0) | (np.diff(series) != 0)) + 1
    starts = [0, *changes.tolist()] if len(run) else []
    found: dict[int, dict[str, Series]] = {}
    for start, stop in zip(starts, [*starts[1:], len(run)], strict=False):
        name, number, part = names[series[start]], int(run[start]), slice(start, stop)
        found.setdefault(number, {})[name] = Series(name, path, number, steps[part], values[part], lines[part])
    return found


def median_before(values: Floats, width: int, least: int) -> Floats:
    """For each point the median of the ``width`` points before it; NaN where there are fewer than ``least``."""
    return pd.Series(values).rolling(width, min_periods=least, closed="left").median().to_numpy(np.float64)


def noise_before(values: Floats, width: int, least: int) -> Floats:
    """For each point the noise of the points before it: from the changes between neighbours, so that a trend doesn't count."""
    return NOISE_OF_CHANGE * median_before(np.abs(np.diff(values, prepend=np.nan)), width, least)


def median_of_windows(values: Floats, width: int) -> Floats:
    """The median of every window of ``width`` neighbours, in order; of all, if there are no more points than that."""
    width = min(width, len(values))
    return pd.Series(values).rolling(width).median().to_numpy(np.float64)[width - 1 :]


def write_points(path: Path, runs: Sequence[Run]) -> None:
    """All points of all series as a table, .csv or .parquet: path, run, series, step, value, line.

    The file appears whole or not at all; LogError if it can't be written.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise LogError(f"{path}: the points go into a .csv or a .parquet file")
    table = _table(runs)
    write = table.to_csv if path.suffix == ".csv" else table.to_parquet
    try:
        write_whole(path, lambda beside: write(beside, index=False))
    except OSError as fault:
        raise LogError(f"{path}: can't be written: {fault.strerror or fault}; choose another place") from None
    except ImportError:
        raise LogError(f"{path}: Parquet needs pyarrow; install it, or write a .csv") from None


def _table(runs: Sequence[Run]) -> pd.DataFrame:
    columns = ["path", "run", "series", "step", "value", "line"]
    parts = [
        pd.DataFrame({"step": one.steps, "value": one.values, "line": one.lines}).assign(
            path=one.path, run=one.run, series=one.name
        )
        for run in runs
        for one in run.series.values()
    ]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)
