"""What is made of a shape: which of several causes is told, what is a note, and what healthy runs resemble it."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.facts import Fact, Facts
from doctor.finding import Confidence, Finding, Role, Severity
from doctor.points import points_of_rows
from doctor.signature import Signature
from doctor.traces.match import find

Judge = Callable[..., tuple[Finding, ...]]
RANDOM = np.random.default_rng(5)
START = RANDOM.bit_generator.state


@pytest.fixture(scope="module")
def judge(signatures: list[Signature]) -> Judge:
    """Everything that is found in series that are all taken at the same steps, and at some of them; None is no point."""

    def judged(
        series: Mapping[str, list[float | None]], every: int = 10, facts: Facts | None = None
    ) -> tuple[Finding, ...]:
        length = len(next(iter(series.values())))
        rows = [{name: one for name, values in series.items() if (one := values[n]) is not None} for n in range(length)]
        points = points_of_rows("x", rows, [float(every * (n + 1)) for n in range(length)])
        return find([points], signatures, facts or {}).findings

    return judged


def of(findings: tuple[Finding, ...], id: str) -> Finding | None:
    return next((one for one in findings if one.id == id), None)


@pytest.fixture(autouse=True)
def same_noise_in_any_order() -> None:
    RANDOM.bit_generator.state = START


def noisy(values: list[float], noise: float = 0.01) -> list[float]:
    return (np.array(values) + RANDOM.normal(0, noise, len(values))).tolist()


def fall(start: float, end: float, count: int, pace: float = 8.0) -> list[float]:
    return [end + (start - end) * float(np.exp(-n / pace)) for n in range(count)]


def test_a_zero_loss_is_a_hidden_nan_only_where_it_is_a_cross_entropy(judge: Judge) -> None:
    zeros = [0.0] * 12
    signed = judge({"loss": [-0.15, -0.14, 0.001, 0.12, *zeros]})
    small = judge({"loss": [0.01, 0.02, 0.03, 0.12, *zeros]})
    reward = judge({"loss": [0.6, 0.7, 0.8, 1.2, *zeros], "reward": [0.1 * n for n in range(16)]})
    assert [of(one, "trace/loss-zero-grad-nan") for one in (signed, small, reward)] == [None] * 3
    found = of(judge({"loss": [3.0, 2.9, 9.0, 170.0, *zeros]}), "trace/loss-zero-grad-nan")
    assert found is not None
    assert "prints no gradient norm" in found.cause
    assert "NaN while" not in found.title
    assert found.confidence is Confidence.MEDIUM


def test_an_overfit_needs_a_training_loss_that_falls_beyond_its_noise(judge: Judge) -> None:
    evals = [1.9, 1.7, 1.6, 1.5, 1.55, 1.7, 1.8, 1.95, 2.1, 2.2]
    falling = judge({"loss": noisy(fall(2.0, 0.5, 10, 4)), "eval_loss": evals})
    flat = judge({"loss": noisy([1.0] * 10, 0.06), "eval_loss": evals})
    assert of(falling, "trace/overfit") is not None
    assert of(flat, "trace/overfit") is None


def test_an_evaluation_loss_that_only_dipped_is_no_overfit(judge: Judge) -> None:
    evals = [0.106, 0.108, 0.105, 0.106, 0.104, 0.101, 0.01, 0.0006, 0.002, 0.06, 0.105, 0.104, 0.1, 0.094]
    assert of(judge({"loss": fall(0.3, 0.01, 14), "eval_loss": evals}), "trace/overfit") is None


@pytest.mark.parametrize(
    ("metric", "values", "severity", "told"),
    [
        ("eval_f1", [0.34, 0.41, 0.45, 0.47, 0.51, 0.53, 0.55, 0.56], Severity.NOTE, True),
        ("eval_wer", [0.9, 0.6, 0.5, 0.45, 0.43, 0.41, 0.4, 0.39], Severity.NOTE, True),
        ("eval_f1", [0.34, 0.45, 0.504, 0.511, 0.518, 0.521, 0.53, 0.533], Severity.WARNING, True),
        ("eval_accuracy", [0.5, 0.7, 0.8, 0.78, 0.75, 0.72, 0.7, 0.65], Severity.WARNING, False),
        ("eval_wer", [0.9, 0.6, 0.4, 0.41, 0.44, 0.46, 0.5, 0.52], Severity.WARNING, False),
    ],
    ids=["improves", "less is better", "at its best, but hardly better", "falls as well", "rises as well"],
)
def test_a_quality_that_still_improves_tells_the_checkpoint(
    metric: str, values: list[float], severity: Severity, told: bool, judge: Judge
) -> None:
    evals = [1.36, 1.26, 1.2, 1.25, 1.4, 1.6, 1.8, 1.9]
    found = of(judge({"loss": fall(2.1, 0.1, 8, 3), "eval_loss": evals, metric: values}), "trace/overfit")
    assert found is not None
    assert found.severity is severity
    assert (f"Choose the checkpoint by {metric}" in found.fix) is told
    assert ("Take the checkpoint at step 30" in found.fix) is not told


def test_a_run_that_ends_above_its_start_has_diverged_wherever_its_best_lies(judge: Judge) -> None:
    values = noisy([*np.linspace(5.5, 20, 40).tolist(), *np.linspace(20, 3.2, 40).tolist(), *[18.0] * 35], 0.3)
    found = of(judge({"loss": values}), "trace/diverged")
    assert found is not None
    assert "worse than before any training" in found.cause
    healthy = judge({"loss": noisy([6.9, 12.0, 30.0, 20.0, *fall(9.0, 3.0, 60)])})
    assert of(healthy, "trace/diverged") is None


@settings(max_examples=40, deadline=None)
@given(start=st.floats(1, 12), end=st.floats(0.05, 1), noise=st.floats(0, 0.1), seed=st.integers(0, 99))
def test_a_loss_that_falls_neither_diverges_nor_stands_still(
    start: float, end: float, noise: float, seed: int, judge: Judge
) -> None:
    random = np.random.default_rng(seed)
    level = end * start
    values = (np.array(fall(start, level, 120, 15)) + random.normal(0, noise * level, 120)).tolist()
    found = {one.id for one in judge({"loss": values})}
    assert not found & {"trace/diverged", "trace/loss-stands-still"}


def test_of_several_spikes_the_one_that_stays_is_told(judge: Judge) -> None:
    values = noisy(fall(5.0, 3.0, 120))
    for place, peak, length in ((40, 1.0, 4), (60, 4.0, 4)):
        values[place : place + length] = [one + peak for one in values[place : place + length]]
    worst = of(judge({"loss": values}), "trace/loss-spike")
    assert worst is not None
    assert worst.captures["first_step"] == "610"
    values[100:] = [one + 0.8 for one in values[100:]]
    stays = of(judge({"loss": values}), "trace/loss-spike")
    assert stays is not None
    assert stays.captures["first_step"] == "1010"


@pytest.mark.parametrize(("noise", "found"), [(0.0001, True), (0.01, False)])
def test_a_loss_that_stands_still_behind_its_first_drop(noise: float, found: bool, judge: Judge) -> None:
    values = [5.94, 5.49, 5.45, 5.44, 5.17, 2.9, *noisy([2.897] * 94, noise)]
    assert (of(judge({"loss": values}), "trace/loss-stands-still") is not None) is found
    assert of(judge({"loss": values[5:]}), "trace/loss-stands-still") is None  # no drop is seen


def test_a_guess_tells_how_many_classes_there_are(judge: Judge) -> None:
    guess = {"loss": noisy([1.394] * 12, 0.003), "eval_loss": [1.391] * 12, "eval_accuracy": [0.241] * 12}
    found = of(judge(guess, every=100), "trace/plateau-ln-classes")
    assert found is not None
    assert found.captures["vocabulary"] == "4"
    falling = [1.125 - 0.0005 * n for n in range(50)]
    guess3 = {"loss": falling, "eval_loss": [1.107] * 50, "eval_accuracy": [0.3315] * 50}
    assert of(judge(guess3), "trace/plateau-ln-classes") is not None
    assert of(judge(guess3 | {"eval_accuracy": [0.45] * 50}), "trace/plateau-ln-classes") is None
    learned = guess | {"eval_accuracy": [0.55] * 12}
    assert of(judge(learned, every=100), "trace/plateau-ln-classes") is None


def test_a_reward_that_collapses_is_the_root_of_clipping_that_starts_there(judge: Judge) -> None:
    reward = [0.825, 0.95, 1.0, 0.775, 0.525, *[0.0] * 35]
    late = {"reward": reward, "clipped_completions": [0.05, 0.0, 0.05, 0.05, 0.3, *[1.0] * 35]}
    found = judge(late)
    collapse, clipped = of(found, "grpo/reward-collapse"), of(found, "grpo/completions-clipped")
    assert collapse is not None
    assert clipped is not None
    assert (collapse.role, clipped.role) == (Role.ROOT, Role.ECHO)
    assert "clipped completions goes from 0.05 to 1" in collapse.cause


@settings(max_examples=60, deadline=None)
@given(rate=st.floats(0.05, 0.9), slope=st.floats(0, 0.5), count=st.integers(20, 200), seed=st.integers(0, 99))
def test_a_noisy_reward_does_not_collapse(rate: float, slope: float, count: int, seed: int, judge: Judge) -> None:
    random = np.random.default_rng(seed)
    share = np.clip(rate + slope * np.arange(count) / count, 0, 1)
    for values in ((random.random(count) < share).astype(float), share + random.normal(0, 0.2, count)):
        assert of(judge({"reward": values.tolist(), "loss": [0.0] * count}), "grpo/reward-collapse") is None


def test_single_extreme_rewards_hide_no_collapse(judge: Judge) -> None:
    reward = [*noisy([-5.8] * 60, 0.1), *noisy([-11.1] * 40, 0.3)]
    reward[12], reward[60], reward[75] = -70.0, -2855.0, -128.0
    found = of(judge({"reward": reward, "loss": [0.1] * 100}), "grpo/reward-collapse")
    assert found is not None
    assert found.captures["first_step"] == "610"


def test_entropy_that_explodes_within_the_first_points(judge: Judge) -> None:
    entropy = [0.46, 1.34, 2.6, 2.7, 6.0, 7.6, 8.4, 9.3, 10.7, *np.linspace(10.9, 11.6, 12).tolist()]
    found = judge({"entropy": entropy, "reward": [0.0, 0.25, *[0.0] * 19], "policy_loss": [0.0] * 21})
    assert of(found, "grpo/entropy-explosion") is not None


def test_the_stretch_with_the_highest_value_loss_is_told(judge: Judge) -> None:
    values = noisy([0.05] * 120, 0.005)
    values[40:43], values[90:93] = [78.0, 3.9, 7.8], [2800.0, 900.0, 300.0]
    found = of(judge({"value_loss": values, "reward": noisy([1.0] * 120)}), "ppo/value-loss-explodes")
    assert found is not None
    assert (found.captures["first_step"], found.captures["value"]) == ("910", "2800")


def test_an_accuracy_that_has_fallen_and_stands(judge: Judge) -> None:
    stuck = {"accuracy": [0.99, 0.73, 0.68, 0.58, *[0.6] * 17], "loss": [0.01, *[0.0] * 20]}
    assert of(judge(stuck), "trace/accuracy-collapse") is not None
    for values in ([0.5, 0.9, 0.95, *[0.96] * 18], [0.99, 0.73, 0.68, *[0.6, 0.61] * 9]):
        assert of(judge({"accuracy": values}), "trace/accuracy-collapse") is None


def test_an_accumulation_that_no_log_tells_is_not_stated(judge: Judge) -> None:
    loss = noisy([13.8 - 0.05 * n for n in range(40)], 0.02)
    evals = [value / 3.4 if n % 5 == 4 else None for n, value in enumerate(loss)]
    found = of(judge({"loss": loss, "eval_loss": evals}), "trace/loss-scaled-by-accumulation")
    assert found is not None
    assert "gradient_accumulation_steps is" not in found.cause
    assert "names no gradient accumulation" in found.cause


def test_advice_for_adapters_needs_a_model_that_may_have_them(judge: Judge) -> None:
    flat = {"loss": noisy([11.48] * 60, 0.002)}
    plain = of(judge(flat), "trace/plateau-ln-vocab")
    tuned = of(judge(flat, facts={"config.base_model": Fact("x/y")}), "trace/plateau-ln-vocab")
    assert plain is not None
    assert tuned is not None
    assert "lora_target_linear" not in plain.cause + plain.fix
    assert "learning rate" in plain.cause
    assert "lora_target_linear" in tuned.cause


def test_the_name_in_a_models_own_config_does_not_say_that_weights_were_loaded(judge: Judge) -> None:
    high = {"loss": noisy(fall(9.5, 7.4, 100, 40), 0.01)}
    assert of(judge(high, facts={"config.model_name_or_path": Fact("x/y")}), "trace/loss-starts-high") is not None
    dumped = {key: Fact("model/epoch29") for key in ("config._name_or_path", "model.name")}
    assert of(judge(high, facts=dumped), "trace/loss-starts-high") is None


def test_a_slow_start_is_told_with_its_own_steps_and_only_where_it_lasts(judge: Judge) -> None:
    slow = noisy(fall(10.8, 6.0, 60, 120), 0.01)
    found = of(judge({"loss": slow}), "trace/slow-start")
    assert found is not None
    assert f"The loss was {slow[0]:.4g} at step 10 " in found.cause
    assert f"{slow[10]:.4g} at step 110," in found.cause
    long = noisy(fall(7.6, 3.6, 2000, 60), 0.01)
    assert of(judge({"loss": long}), "trace/slow-start") is None


def test_a_climb_before_the_nan_points_to_the_learning_rate(judge: Judge) -> None:
    climbing = of(judge({"loss": [5.5, 7.3, 8.0, 8.5, 8.2, 9.5, 9.5, 9.0, *[np.nan] * 5]}, every=1), "trace/loss-nan")
    sudden = of(judge({"loss": [5.5, 5.3, 5.0, 4.5, 4.2, 4.1, 4.0, 3.9, *[np.nan] * 5]}, every=1), "trace/loss-nan")
    assert climbing is not None
    assert sudden is not None
    assert "learning rate is too high" in climbing.cause
    assert "Possible causes" not in climbing.cause
    assert "if fp16 = true" in sudden.cause


def test_rows_known_by_heart_are_a_note_where_nothing_is_evaluated(judge: Judge) -> None:
    scratch = fall(10.9, 0.1, 60)
    found = of(judge({"loss": scratch}), "trace/loss-by-heart")
    assert found is not None
    assert found.severity is Severity.NOTE
    assert of(judge({"loss": scratch, "eval_loss": fall(10.9, 4, 60)}), "trace/loss-by-heart") is None
    tuned = {"loss": fall(4.2, 0.003, 60, 4), "epoch": [0.5 * n for n in range(60)]}
    assert of(judge(tuned), "trace/loss-by-heart") is not None
    assert of(judge(tuned | {"epoch": [0.05 * n for n in range(60)]}), "trace/loss-by-heart") is None


def test_long_steps_in_a_rhythm_are_a_note(judge: Judge) -> None:
    def stall(*long: int) -> Severity:
        found = of(judge({"step_time": [600.0 if n in long else 2.0 + n % 3 / 10 for n in range(200)]}), "trace/stall")
        assert found is not None
        return found.severity

    assert stall(25, 50, 75, 100, 125) is Severity.NOTE
    assert stall(25, 75, 100, 175) is Severity.NOTE
    assert stall(25, 31, 104, 166, 180) is Severity.WARNING


def test_a_gradient_norm_that_was_always_high_has_not_exploded(judge: Judge) -> None:
    loss = fall(8.0, 3.0, 60)
    unscaled = [1e5 + 1e6 * float(np.exp(-n / 20)) for n in range(60)]
    assert of(judge({"loss": loss, "grad_norm": unscaled}), "trace/grad-norm-exploding") is None
    grown = [1.0] * 30 + [2000.0] * 30
    assert of(judge({"loss": loss, "grad_norm": grown}), "trace/grad-norm-exploding") is not None


def test_a_spike_that_is_back_after_many_steps_but_few_points_is_a_note(judge: Judge) -> None:
    calm = [1.25 + 0.01 * (n % 7) for n in range(300)]
    risen = [8.0 - 0.1 * n for n in range(60)]
    back = of(judge({"loss": [*calm, *risen, *calm]}, every=100), "trace/loss-spike")
    assert back is not None
    assert back.severity is Severity.NOTE
    stays = of(judge({"loss": [*calm, *[6.0] * 150, *calm]}, every=100), "trace/loss-spike")
    assert stays is not None
    assert (stays.severity, "not back by step 40000" in stays.cause) == (Severity.WARNING, True)


def test_evaluations_that_are_nan_are_judged_without_a_training_loss(judge: Judge) -> None:
    nan = float("nan")
    assert of(judge({"eval_loss": [2.1, nan, nan]}), "trace/eval-loss-nan-alone") is not None
    assert of(judge({"eval_loss": [nan, 2.1, 2.0]}), "trace/eval-loss-nan-alone") is None
    assert of(judge({"eval_loss": [nan] * 3, "loss": [2.0, 1.9, 1.8]}), "trace/eval-loss-nan-alone") is None
    assert of(judge({"eval_loss": [nan], "loss": [0.0]}), "trace/loss-zero-grad-nan") is not None
    assert of(judge({"eval_loss": [2.1], "loss": [0.0]}), "trace/loss-zero-grad-nan") is None


@pytest.mark.parametrize(("last", "found"), [(0.59, True), (0.42, False)])
def test_three_evaluations_are_enough_where_they_rise_by_half(last: float, found: bool, judge: Judge) -> None:
    evals = [None, None, 0.3, None, None, 0.4, None, None, last]
    seen = judge({"loss": fall(0.5, 0.03, 9, 3), "eval_loss": evals})
    assert (of(seen, "trace/overfit") is not None) is found


@pytest.mark.parametrize(("scale", "found"), [(0.003, True), (0.5, False)])
def test_a_loss_that_is_small_from_the_start_overfits_by_little(scale: float, found: bool, judge: Judge) -> None:
    evals = [scale, 0.002, 0.0021, 0.0025, 0.003, 0.004]
    assert (of(judge({"loss": fall(0.01, 0.0001, 6, 2), "eval_loss": evals}), "trace/overfit") is not None) is found


def test_an_evaluation_loss_far_above_its_best_is_lost_whatever_the_training_does(judge: Judge) -> None:
    evals = [0.0004, 0.008, 0.0036, 0.007, 0.01, 0.009, 0.007, 0.008]
    assert of(judge({"loss": noisy([0.03] * 8, 0.004), "eval_loss": evals}), "trace/eval-loss-lost") is not None
    near = [0.0004, 0.008, 0.0005, 0.007, 0.0006, 0.0009, 0.0007, 0.0008]
    assert of(judge({"loss": noisy([0.03] * 8, 0.004), "eval_loss": near}), "trace/eval-loss-lost") is None


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1.0, 4.3, 8.8, 13.5, 15.7, 15.0, 18.8, 20.8], True),
        ([1.0, 1.1, 1.2, 1.2, 1.3, 1.4, 1.4, 1.5], False),
        ([6.9, 12.0, 30.0, 20.0, 9.0, 7.0, 5.0, 4.0], False),
    ],
    ids=["runs away", "rises a little", "comes back"],
)
def test_few_points_diverge_where_they_run_away(values: list[float], found: bool, judge: Judge) -> None:
    assert (of(judge({"loss": values}), "trace/diverged") is not None) is found


@pytest.mark.parametrize(
    ("accuracy", "found"), [([0.06, 0.03, 0.09] * 8, True), ([0.45, 0.44, 0.46] * 8, False), ([0.0] * 24, False)]
)
def test_a_flat_loss_is_a_plateau_beside_an_accuracy_of_a_guess(
    accuracy: list[float], found: bool, judge: Judge
) -> None:
    seen = of(judge({"loss": noisy([2.8] * 24, 0.2), "accuracy": accuracy}, every=50), "trace/loss-plateau")
    assert (seen is not None and "the model guesses" in seen.cause) is found


def test_a_start_that_no_cross_entropy_has_is_not_too_good(judge: Judge) -> None:
    low = [0.01] * 40
    assert of(judge({"loss": [9.0, 5.0, *low]}), "trace/loss-too-good") is not None
    assert of(judge({"loss": [4287.0, 5.0, *low]}), "trace/loss-too-good") is None


@pytest.mark.parametrize(("length", "found"), [(1000, True), (1, False)])
def test_a_loss_that_is_low_once_the_rows_were_read_often_is_not_too_good(
    length: int, found: bool, judge: Judge
) -> None:
    losses = [9.0, 5.0, 2.0, 1.0, 0.5, *[0.01] * 40]
    epochs = [(step + 1) / length for step in range(len(losses))]
    seen = judge({"loss": losses, "eval_loss": [0.01] * len(losses), "epoch": epochs})
    assert (of(seen, "trace/loss-too-good") is not None) is found


def test_a_gradient_norm_that_drifts_or_bursts_all_along_does_not_explode(judge: Judge) -> None:
    losses = noisy(fall(25.0, 15.0, 150, 60))
    drifts = judge({"loss": losses, "grad_norm": np.geomspace(8, 270, 150).tolist()})
    bursts = [9.0 if n % 8 == 0 or 120 <= n < 123 else 0.3 for n in range(150)]
    assert of(drifts, "trace/grad-norm-exploding") is None
    assert of(judge({"loss": losses, "grad_norm": bursts}), "trace/grad-norm-exploding") is None
    once = [9.0 if 100 < n < 106 else 0.3 for n in range(150)]
    assert of(judge({"loss": losses, "grad_norm": once}), "trace/grad-norm-exploding") is not None
