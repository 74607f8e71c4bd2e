"""Keys and numbers of structured sources."""

import math

import pytest

from doctor.points import Points
from doctor.traces.rows import key_of, number_of, points_of


def listed(points: Points) -> list[tuple[float, dict[str, float]]]:
    """(step, {series: value}) of each record."""
    rows: dict[int, dict[str, float]] = {}
    for n in range(len(points)):
        rows.setdefault(int(points.record[n]), {})[points.names[points.series[n]]] = float(points.value[n])
    return [(float(points.step[n]), row) for n, row in rows.items()]


@pytest.mark.parametrize(
    ("key", "series"),
    [
        ("loss", "loss"),
        ("Loss", "loss"),
        ("train/loss", "loss"),
        ("train_loss_step", "loss"),
        ("eval/loss", "eval_loss"),
        ("val_loss", "eval_loss"),
        ("train/grad_norm", "grad_norm"),
        ("lr-AdamW", "learning_rate"),
        ("train/rewards/margins", "rewards_margin"),
        ("completions/mean_length", "completion_length"),
        ("memory(GiB)", "memory"),
        ("train/epoch", "epoch"),
        ("Loss/train", "loss"),
        ("Loss/val", "eval_loss"),
        ("loss/valid", "eval_loss"),
        ("Loss/test", "eval_loss"),
        ("Accuracy/val", "eval_accuracy"),
        ("TrainLoss", "loss"),
        ("valLoss", "eval_loss"),
        ("ValAcc", "eval_accuracy"),
        ("train_ppl", "perplexity"),
        ("valid_ppl", "eval_perplexity"),
        ("mean_reward", "reward"),
        ("reward_mean", "reward"),
        ("avg_reward", "reward"),
    ],
)
def test_keys_name_series(key: str, series: str) -> None:
    found = key_of(key)
    assert found is not None
    assert found.series == series


@pytest.mark.parametrize(
    "key", ["train_loss_epoch", "loss_type", "elapsed_time", "percentage", "aux/loss_weight", "system/gpu"]
)
def test_other_keys_name_none(key: str) -> None:
    assert key_of(key) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        ("0.91", 0.91),
        ("310/900", 310.0),
        ("34.4%", 34.4),
        ("7,282", 7282.0),
        (True, None),
        (None, None),
        ("12m", None),
        ([1], None),
    ],
)
def test_numbers_may_be_text(value: object, number: float | None) -> None:
    assert number_of(value) == number


def test_rows_keep_steps_lines_and_units_and_drop_summaries() -> None:
    rows = [
        {"current_steps": 5, "loss": "1.5", "max_memory_allocated": 2**30},
        {"elapsed_time": "0:01"},
        {"step": 6, "epoch": 1.0},
        {"train_runtime": 3.0, "train_loss": 1.2},
        {"_step": 7, "train_speed(iter/s)": 4, "eval_loss": math.inf},
    ]
    points = points_of("x", rows, [1, 2, 3, 4, 5])
    assert listed(points) == [(5.0, {"loss": 1.5, "memory": 1.0}), (7.0, {"step_time": 0.25, "eval_loss": math.inf})]
    assert points.line.tolist() == [1, 5]
