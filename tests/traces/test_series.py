"""Points to runs: steps filled in, restarts told from new runs, ranks merged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.errors import LogError
from doctor.points import Points, points_of_rows
from doctor.traces import rolling
from doctor.traces.points_table import write_points
from doctor.traces.rolling import median_before, median_of_windows, noise_before
from doctor.traces.series import Run, runs_of

Read = Callable[[str], Points]


def listed(run: Run, name: str) -> list[tuple[float, float]]:
    series = run.series[name]
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def test_rows_without_steps_are_counted_and_an_evaluation_has_the_step_of_the_row_before(read: Read) -> None:
    text = "{'loss': 3.0, 'epoch': 0.1}\n{'loss': 2.0, 'epoch': 0.2}\n"
    text += "{'eval_loss': 2.5, 'epoch': 0.2}\n{'loss': 1.0, 'epoch': 0.3}\n"
    (run,) = runs_of(read(text), interval=10)
    assert listed(run, "loss") == [(10.0, 3.0), (20.0, 2.0), (30.0, 1.0)]
    assert listed(run, "eval_loss") == [(20.0, 2.5)]


@pytest.mark.parametrize(
    ("text", "interval", "counted"),
    [
        ("{'loss': 3.0, 'epoch': 0.1}\n", None, True),
        ("{'loss': 3.0, 'epoch': 0.1}\n", 10, False),
        (
            "{'loss': 3.0, 'epoch': 0.1}\n{'train_runtime': 10.0, 'train_steps_per_second': 2.0, 'train_loss': 3.0}\n",
            None,
            False,
        ),
        ("step 10, loss: 3.0\n", None, False),
    ],
)
def test_a_run_knows_whether_its_steps_are_only_counted(
    text: str, interval: float | None, counted: bool, read: Read
) -> None:
    assert [run.counted for run in runs_of(read(text), interval)] == [counted]


def test_each_ranks_rows_are_counted_alone(read: Read) -> None:
    text = "".join(f"[rank{rank}]: loss: {4 - n + rank / 10}\n" for n in (1, 2, 3) for rank in (0, 1, 2))
    (run,) = runs_of(read(text))
    assert listed(run, "loss") == [(1.0, 3.1), (2.0, 2.1), (3.0, 1.1)]


def test_lines_that_begin_with_their_steps_are_one_ranks(read: Read) -> None:
    (run,) = runs_of(read("".join(f"{n * 100}: loss {4 - n / 10}\n" for n in range(9))))
    assert listed(run, "loss") == [(n * 100.0, 4 - n / 10) for n in range(9)]
    (run,) = runs_of(read("".join(f"{rank}: loss {4 - n}\n" for n in (1, 2, 3) for rank in range(4))))
    assert listed(run, "loss") == [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]


def test_the_summary_tells_the_interval_where_no_setting_does(read: Read) -> None:
    text = "{'loss': 3.0, 'epoch': 0.5}\n{'loss': 2.0, 'epoch': 1.0}\n"
    text += "{'train_runtime': 10.0, 'train_steps_per_second': 5.0, 'train_loss': 2.5, 'epoch': 1.0}\n"
    (run,) = runs_of(read(text))
    assert listed(run, "loss") == [(25.0, 3.0), (50.0, 2.0)]


def test_a_counter_that_starts_again_is_another_run(read: Read) -> None:
    text = "".join(f"step {n}, loss: {4 - n / 10}\n" for n in (1, 2, 30, 1, 2, 3))
    first, second = runs_of(read(text))
    assert [step for step, _ in listed(first, "loss")] == [1.0, 2.0, 30.0]
    assert [step for step, _ in listed(second, "loss")] == [1.0, 2.0, 3.0]
    assert (first.number, second.number, second.restarts) == (0, 1, ())


@pytest.mark.parametrize(("summary", "runs"), [("{'train_runtime': 9.5, 'epoch': 3.0}\n", 2), ("", 1)])
def test_epochs_that_fall_behind_a_runs_summary_are_another_run(read: Read, summary: str, runs: int) -> None:
    first = "".join(f"{{'loss': 1.5, 'epoch': {n / 4}}}\n" for n in range(1, 13))
    evaluated = "{'eval_loss': 1.25, 'epoch': 3.0}\n"
    second = "".join(f"{{'loss': 2.5, 'epoch': {n / 2}}}\n" for n in range(4, 9))
    assert len(runs_of(read(first + summary + evaluated + second))) == runs


def test_a_further_stage_is_another_run_on_all_ranks(read: Read) -> None:
    lines = [f"[rank{rank}]: step: {step} loss: {step + rank}.5\n" for step in range(1, 5) for rank in (0, 1)]
    runs = runs_of(read("".join(["stage 1\n", *lines[:4], "[rank0]: stage 2\n", *lines[4:]])))
    assert [run.series["loss"].steps.tolist() for run in runs] == [[1.0, 2.0], [3.0, 4.0]]
    assert [run.restarts for run in runs] == [(), ()]


def test_steps_taken_again_behind_a_resumption_replace_those_before(read: Read) -> None:
    text = "".join(f"step {n}, loss: {9 - n}.0\n" for n in (4, 5, 6, 7)) + "".join(
        f"step {n}, loss: {9 - n}.5\n" for n in (6, 7, 8)
    )
    (run,) = runs_of(read(text))
    assert listed(run, "loss") == [(4.0, 5.0), (5.0, 4.0), (6.0, 3.5), (7.0, 2.5), (8.0, 1.5)]
    assert run.restarts == (6.0,)


def test_steps_that_start_again_with_each_epoch_go_on(read: Read) -> None:
    text = "".join(f"epoch {epoch}, batch {n}, loss: {5 - epoch - n / 100}\n" for epoch in (1, 2) for n in (10, 20, 30))
    (run,) = runs_of(read(text))
    assert [step for step, _ in listed(run, "loss")] == [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]


def test_ranks_are_merged_by_median_unless_one_is_not_finite(read: Read) -> None:
    lines = [(0, 1, "2.0"), (1, 1, "2.2"), (2, 1, "9.0"), (0, 2, "1.9"), (1, 2, "nan"), (2, 2, "1.8")]
    (run,) = runs_of(read("".join(f"[rank{rank}]: step: {step}  loss: {loss}\n" for rank, step, loss in lines)))
    assert run.series["loss"].values[0] == 2.2
    assert np.isnan(run.series["loss"].values[1])


def test_step_times_are_kept_for_each_rank(read: Read) -> None:
    text = "".join(
        f"[rank{rank}]: step: {step}  loss: 2.0  step_time: {rank + step / 10}\n" for step in (1, 2) for rank in (0, 3)
    )
    (run,) = runs_of(read(text))
    assert {rank: one.values.tolist() for rank, one in run.by_rank["step_time"].items()} == {
        0: [0.1, 0.2],
        3: [3.1, 3.2],
    }


def test_a_stale_evaluation_counts_once(read: Read) -> None:
    rows = [(1, 2.0), (2, 2.0), (3, 2.0), (4, 1.5), (5, 1.5)]
    (run,) = runs_of(
        read("".join(f"step: {n} | reduced_train_loss: {5 - n}.0 | val_loss: {value}\n" for n, value in rows))
    )
    assert listed(run, "eval_loss") == [(1.0, 2.0), (4.0, 1.5)]


MEGATRON = (
    " iteration {n:>8}/ 50 | learning rate: 1.0E-04 |{loss} loss scale: 1.0 | "
    "number of skipped iterations: {skipped:>3} | number of nan iterations: 0 |\n"
)


@pytest.mark.parametrize(("skipped", "broken"), [(0, True), (10, False)])
def test_a_megatron_line_without_its_loss_is_nan_unless_it_was_skipped(skipped: int, broken: bool, read: Read) -> None:
    text = MEGATRON.format(n=10, loss=" lm loss: 5.0E+00 |", skipped=0) + MEGATRON.format(
        n=20, loss="", skipped=skipped
    )
    (run,) = runs_of(read(text))
    assert run.series["loss"].steps.tolist() == ([10.0, 20.0] if broken else [10.0])
    assert not broken or np.isnan(run.series["loss"].values[1])


def test_times_become_a_clock(read: Read) -> None:
    (run,) = runs_of(read("".join(f"2025-01-02 03:0{n}:00 step {n}, loss: 2.0\n" for n in (1, 2, 4))))
    assert np.diff(run.series["clock"].values).tolist() == [60.0, 120.0]


def test_no_points_make_no_runs() -> None:
    assert runs_of(points_of_rows("x", [], [])) == []


def test_the_order_of_records_within_a_step_changes_nothing() -> None:
    rows = [{"loss": 3.0}, {"grad_norm": 1.0}, {"loss": 2.0}, {"grad_norm": 0.5}]
    one = points_of_rows("x", rows, [1, 1, 2, 2])
    other = points_of_rows("x", [rows[n] for n in (1, 0, 3, 2)], [1, 1, 2, 2])
    for name in ("loss", "grad_norm"):
        assert listed(runs_of(one)[0], name) == listed(runs_of(other)[0], name)
    assert listed(runs_of(replace(one, path="y"))[0], "loss") == [(1.0, 3.0), (2.0, 2.0)]


def test_times_that_count_from_the_start_are_the_differences() -> None:
    def times(values: list[float]) -> list[float]:
        rows = [{"loss": 2.0, "step_time": value} for value in values]
        (run,) = runs_of(points_of_rows("x", rows, list(range(1, len(rows) + 1))))
        return run.series["step_time"].values.tolist()

    assert times([80.0 * n for n in range(1, 11)]) == [80.0] * 9
    slower = [10.0 + n for n in range(10)]
    assert times(slower) == slower
    assert times([80.0, 160.0, 240.0]) == [80.0, 160.0, 240.0]


def test_medians_look_only_at_what_stands_before() -> None:
    values = np.array([1.0, 2.0, 3.0, 100.0, 4.0])
    assert np.array_equal(median_before(values, 3, 2), [np.nan, np.nan, 1.5, 2.0, 3.0], equal_nan=True)
    assert median_of_windows(values, 3)[1].tolist() == [2.0, 3.0, 4.0]
    assert median_of_windows(values, 9)[1].tolist() == [3.0]
    assert np.isnan(noise_before(values, 3, 2)[:3]).all()


@given(
    values=st.lists(st.sampled_from([1.0, 2.0, 3.5, -7.0, np.nan]), min_size=1, max_size=40),
    width=st.integers(1, 12),
    least=st.integers(1, 12),
    at_once=st.integers(1, 50),
)
def test_rolling_medians_are_those_of_pandas(values: list[float], width: int, least: int, at_once: int) -> None:
    series, least = np.array(values), min(least, width)
    rolling_before = pd.Series(series).rolling(width, min_periods=least, closed="left").median()
    rolling_of = pd.Series(series).rolling(min(width, len(series))).median().dropna()
    with patch.object(rolling, "AT_ONCE", at_once):
        assert np.array_equal(median_before(series, width, least), rolling_before, equal_nan=True)
        starts, medians = median_of_windows(series, width)
    known = ~np.isnan(medians)
    assert starts[-1] == len(series) - min(width, len(series))
    assert np.array_equal(medians[known], rolling_of)


def test_wide_windows_are_not_taken_at_every_point() -> None:
    starts, medians = median_of_windows(np.arange(10_001.0), 1000)
    assert (starts[0], starts[-1], medians[0], medians[-1]) == (0, 9001, 499.5, 9500.5)
    assert len(starts) == 602


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_table_of_all_points(suffix: str, read: Read, tmp_path: Path) -> None:
    path = tmp_path / f"points{suffix}"
    write_points(path, runs_of(read("step 1, loss: 3.0\nstep 2, loss: nan\n")))
    table = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert table.columns.tolist() == ["path", "run", "series", "step", "value", "line"]
    assert table["step"].tolist() == [1.0, 2.0]
    assert table["value"].isna().tolist() == [False, True]
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_table_that_cant_be_written_leaves_nothing(read: Read, tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"points\.txt: the points go into a \.csv or a \.parquet file"):
        write_points(tmp_path / "points.txt", [])
    with pytest.raises(LogError, match=r"points\.csv: can't be written: "):
        write_points(tmp_path / "missing" / "points.csv", runs_of(read("step 1, loss: 3.0\n")))
    assert list(tmp_path.iterdir()) == []
