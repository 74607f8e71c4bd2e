"""trainer_state.json, lines of JSON, golden values."""

import json
from pathlib import Path

import pytest

from doctor.errors import LogError
from doctor.points import Points
from doctor.traces.json_metrics import read_columns, read_golden_values, read_json_lines, read_trainer_state

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"


def series(points: Points, name: str) -> list[tuple[float, float]]:
    which = points.series == points.names.index(name)
    return list(zip(points.step[points.record[which]].tolist(), points.value[which].tolist(), strict=True))


def test_the_history_of_a_real_trainer() -> None:
    points = read_trainer_state(next((TRACES / "trainer5-healthy-saved").rglob("checkpoint-240/trainer_state.json")))
    loss, evals = series(points, "loss"), series(points, "eval_loss")
    assert [step for step, _ in loss] == [float(step) for step in range(4, 241, 4)]
    assert [step for step, _ in evals] == [40.0, 80.0, 120.0, 160.0, 200.0, 240.0]
    assert len(series(points, "grad_norm")) == len(series(points, "learning_rate")) == 60


def test_nan_in_a_history_is_read(tmp_path: Path) -> None:
    path = tmp_path / "training_logs.json"
    path.write_text(
        '{"log_history": [{"step": 1, "loss": NaN}, {"step": 2, "loss": Infinity}, {"step": 2, "train_runtime": 1.0}]}'
    )
    assert str(series(read_trainer_state(path), "loss")) == "[(1.0, nan), (2.0, inf)]"


@pytest.mark.parametrize("text", ["{", "[1]", "{}", '{"log_history": 3}', "[" * 3000])
def test_what_is_no_history_is_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    path.write_text(text)
    with pytest.raises(LogError, match=r"trainer_state\.json: .+; (check that|give the)"):
        read_trainer_state(path)


def test_json_lines_with_a_cut_last_one(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"current_steps": n, "loss": 3.0 - n, "lr": 1e-5, "epoch": n / 10} for n in (1, 2)]
    path.write_text("# started\n" + "".join(json.dumps(row) + "\n" for row in rows) + '{"current_steps": 3, "lo')
    points = read_json_lines(path)
    assert series(points, "loss") == [(1.0, 2.0), (2.0, 1.0)]
    assert points.line.tolist() == [2, 3]


def test_nested_rows_are_flattened_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 3, "train": {"loss": 1.5, "grad_norm": 0.5}}\n')
    assert series(read_json_lines(path), "loss") == [(3.0, 1.5)]


def test_an_object_of_lists_has_a_row_a_member(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    path.write_text('{"accuracy": [0.5, 0.7], "loss": [2.5, NaN], "val_loss": [2.6, 2.4], "params": {}, "lr": [0.1]}')
    points = read_columns(path)
    assert str(series(points, "loss")) == "[(nan, 2.5), (nan, nan)]"
    assert [value for _, value in series(points, "eval_loss")] == [2.6, 2.4]
    assert [value for _, value in series(points, "epoch")] == [1.0, 2.0]


def test_golden_values_leave_out_what_was_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    values = {
        "lm loss": {"start_step": 1, "values": {"1": 10.5, "2": "nan", "11": 9.5}},
        "iteration-time": {"values": {"1": 2.0}},
    }
    path.write_text(json.dumps(values))
    assert series(read_golden_values(path), "loss") == [(1.0, 10.5), (11.0, 9.5)]
