"""Losses that are told by perplexities only."""

from collections.abc import Callable
from math import log

import pytest

from doctor.points import Points
from doctor.traces.perplexity import with_losses
from doctor.traces.series import Run, runs_of

Read = Callable[[str], Points]


def run_of(text: str, read: Read) -> Run:
    (run,) = runs_of(read(text))
    return with_losses(run)


def test_both_losses_are_told(read: Read) -> None:
    run = run_of("step 1 train ppl 900.5 valid_ppl 1000.5\nstep 2 train ppl 800.5 valid_ppl nan\n", read)
    assert run.series["loss"].values.tolist() == pytest.approx([log(900.5), log(800.5)])
    assert run.series["loss"].steps.tolist() == [1.0, 2.0]
    assert run.series["eval_loss"].values.tolist() == pytest.approx([log(1000.5), float("nan")], nan_ok=True)


@pytest.mark.parametrize("line", ["train_loss 7.5 train_ppl 1.5", "val_loss 7.5 train_ppl 1.5"])
def test_a_loss_that_is_printed_is_the_one(line: str, read: Read) -> None:
    run = run_of(f"step 1 {line}\n", read)
    assert all(not series.made_from for series in run.series.values())


def test_what_overflowed_or_was_rounded_to_one_is_left_out(read: Read) -> None:
    run = run_of("step 1 ppl inf\nstep 2 ppl 20.5\nstep 3 ppl 1.00\n", read)
    assert run.series["loss"].steps.tolist() == [2.0]


def test_values_below_one_are_no_perplexities(read: Read) -> None:
    assert "loss" not in run_of("step 1 ppl 20.5\nstep 2 ppl 0.5\n", read).series
