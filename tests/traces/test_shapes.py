"""The shapes, each at the edge of its rule: what is just enough, and what is not."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from doctor.facts import Fact, Facts
from doctor.finding import Confidence, Severity
from doctor.points import points_of_rows
from doctor.signature import Signature, Trace
from doctor.traces.robust import kendall_tau, longest_stretch, noise_of
from doctor.traces.series import Run, runs_of
from doctor.traces.shapes import SHAPES
from doctor.traces.training_setup import Objective, setup_of
from doctor.traces.view import Answer, Seen, Undecided, View
from doctor.traces.vocabularies import known_vocabulary, nearest_vocabulary

RANDOM = np.random.default_rng(0)
START = RANDOM.bit_generator.state


@pytest.fixture(scope="module")
def rule(signatures: list[Signature]) -> Mapping[str, Trace]:
    return {one.id: one.match for one in signatures if isinstance(one.match, Trace)}


def run_of(series: Mapping[str, list[float]], every: int = 10, facts: Facts | None = None) -> View:
    """A view of the first of these series; all are taken at the same steps."""
    length = len(next(iter(series.values())))
    rows = [{name: values[n] for name, values in series.items()} for n in range(length)]
    (run,) = runs_of(points_of_rows("x", rows, [float(every * (n + 1)) for n in range(length)]))
    return View(run.series[next(iter(series))], run, setup_of(run, facts or {}))


def ask(match: Trace, view: View) -> Answer:
    return SHAPES[match.shape].judge(view, {name: float(str(value)) for name, value in match.limits.items()})


@pytest.fixture(autouse=True)
def same_noise_in_any_order() -> None:
    RANDOM.bit_generator.state = START


def noisy(values: list[float], noise: float = 0.01) -> list[float]:
    return (np.array(values) + RANDOM.normal(0, noise, len(values))).tolist()


def fall(start: float, end: float, count: int, pace: float = 8.0) -> list[float]:
    return [end + (start - end) * float(np.exp(-n / pace)) for n in range(count)]


@pytest.mark.parametrize(("peak", "found"), [(0.2, False), (1.0, True)])
def test_a_spike_must_rise_above_ratio_and_noise(peak: float, found: bool, rule: Mapping[str, Trace]) -> None:
    values = noisy(fall(5.0, 3.0, 60))
    values[50:54] = [value + peak for value in values[50:54]]
    answer = ask(rule["trace/loss-spike"], run_of({"loss": values}))
    assert (isinstance(answer, Seen) and answer.first == 50) is found


def test_a_spike_that_recovers_is_a_note_and_one_that_lingers_is_not(rule: Mapping[str, Trace]) -> None:
    values = noisy(fall(5.0, 3.0, 80))
    back = [*values[:50], *(value + 1.5 for value in values[50:54]), *values[54:]]
    stays = [*values[:50], *(value + 1.5 for value in values[50:])]
    recovered, lingering = (ask(rule["trace/loss-spike"], run_of({"loss": one})) for one in (back, stays))
    assert isinstance(recovered, Seen)
    assert isinstance(lingering, Seen)
    assert (recovered.severity, recovered.captures["recovered"]) == (Severity.NOTE, "back at step 550")
    assert (lingering.severity, lingering.captures["recovered"]) == (None, "not back by the end of the log")


@pytest.mark.parametrize(
    ("peaks", "found"),
    [((9.2, 9.5), True), ((9.2,), False), ((9.2, 8.9), False), ((30.5, 3.0), False)],
    ids=["two sharp points", "one bad batch", "only one of them sharp", "one alone, however sharp"],
)
def test_two_points_are_a_spike_where_both_are_sharp(
    peaks: tuple[float, ...], found: bool, rule: Mapping[str, Trace]
) -> None:
    values = noisy(fall(5.0, 3.0, 80))
    values[50 : 50 + len(peaks)] = peaks
    assert isinstance(ask(rule["trace/loss-spike"], run_of({"loss": values})), Seen) is found


def test_sharp_points_are_no_spike_where_such_points_came_before(rule: Mapping[str, Trace]) -> None:
    values = noisy(fall(5.0, 3.0, 80))
    values[30], values[50:52] = 20.0, [9.6, 9.8]
    assert ask(rule["trace/loss-spike"], run_of({"loss": values})) is None


def test_a_violent_spike_is_a_warning_though_it_recovers(rule: Mapping[str, Trace]) -> None:
    values = noisy(fall(5.0, 0.5, 80))
    values[50:52] = [7.2, 7.5]
    answer = ask(rule["trace/loss-spike"], run_of({"loss": values}))
    assert isinstance(answer, Seen)
    assert (answer.severity, answer.captures["recovered"]) == (None, "back at step 530")


def test_a_gradient_norm_that_rose_first_is_told(rule: Mapping[str, Trace]) -> None:
    loss, norm = noisy(fall(5.0, 3.0, 80)), [0.5] * 80
    loss[50:54] = [value + 1.5 for value in loss[50:54]]
    norm[48:54] = [5.0, 20.0, 90.0, 60.0, 30.0, 9.0]
    answer = ask(rule["trace/loss-spike"], run_of({"loss": loss, "grad_norm": norm}))
    assert isinstance(answer, Seen)
    assert answer.captures["lead"] == "20"


def test_the_shock_of_the_first_steps_is_no_spike_unless_the_start_is_not_seen(rule: Mapping[str, Trace]) -> None:
    values = [*noisy(fall(6.9, 6.0, 30, 20)), 12.0, 30.0, 25.0, 15.0, *noisy(fall(6.0, 5.0, 40))]
    assert ask(rule["trace/loss-spike"], run_of({"loss": values}, every=1)) is None


@pytest.mark.parametrize(("end", "found"), [(3.3, False), (4.2, True)])
def test_divergence_counts_from_the_best_median(end: float, found: bool, rule: Mapping[str, Trace]) -> None:
    values = noisy([*fall(6.0, 3.0, 50), *np.linspace(3.0, end, 40).tolist()], 0.03)
    answer = ask(rule["trace/diverged"], run_of({"loss": values}))
    assert isinstance(answer, Seen) is found


def test_noise_that_is_larger_than_the_rise_is_no_divergence(rule: Mapping[str, Trace]) -> None:
    values = [3.0 + (n % 2) * 4.0 for n in range(90)]
    assert ask(rule["trace/diverged"], run_of({"loss": values})) is None


VOCABULARY = {"config.vocab_size": Fact(32_000)}


@pytest.mark.parametrize(
    ("level", "facts", "confidence"),
    [
        (10.37, VOCABULARY, Confidence.HIGH),
        (11.93, {"model.name": Fact("Qwen/Qwen2.5-7B")}, Confidence.LOW),
        (11.76, {}, Confidence.LOW),
        (9.0, VOCABULARY, None),
        (5.54, {}, None),
    ],
)
def test_a_plateau_at_the_uniform_loss(
    level: float, facts: Facts, confidence: Confidence | None, rule: Mapping[str, Trace]
) -> None:
    answer = ask(rule["trace/plateau-ln-vocab"], run_of({"loss": noisy([level] * 30)}, facts=facts))
    assert (answer.confidence if isinstance(answer, Seen) else None) is confidence


@pytest.mark.parametrize(
    ("level", "size", "found"),
    [(1.386, 4, True), (1.41, 4, False), (0.693, 2, True), (0.705, 2, False), (10.55, 32_000, True)],
)
def test_few_tokens_must_be_met_more_closely(level: float, size: int, found: bool, rule: Mapping[str, Trace]) -> None:
    facts = {"config.vocab_size": Fact(size)}
    answer = ask(rule["trace/plateau-ln-vocab"], run_of({"loss": noisy([level] * 30, 0.002)}, facts=facts))
    assert isinstance(answer, Seen) is found


@pytest.mark.parametrize(
    ("level", "facts", "found"),
    [
        (0.694, {"config.num_labels": Fact(2)}, True),
        (0.705, {"config.num_labels": Fact(2)}, False),
        (1.099, {f"config.id2label.{n}": Fact(name) for n, name in enumerate("abc")}, True),
        (2.303, {"config.num_classes": Fact(10)}, True),
        (4.605, {"config.num_classes": Fact(100)}, False),
        (0.694, {"config.num_labels": Fact(1)}, False),
        (0.694, {}, False),
    ],
)
def test_a_classifier_that_guesses(level: float, facts: Facts, found: bool, rule: Mapping[str, Trace]) -> None:
    match = rule["trace/plateau-ln-classes"]
    assert isinstance(ask(match, run_of({"loss": noisy([level] * 50, 0.003)}, facts=facts)), Seen) is found
    assert not isinstance(ask(match, run_of({"loss": noisy(fall(level, 0.3, 50))}, facts=facts)), Seen)


def test_a_plateau_needs_steps_and_a_learning_rate(rule: Mapping[str, Trace]) -> None:
    match = rule["trace/plateau-ln-vocab"]
    early = ask(match, run_of({"loss": noisy([10.37] * 30)}, every=2, facts=VOCABULARY))
    assert early == Undecided("loss: ends at step 60; 100 steps are needed to get past the warm-up")
    assert ask(match, run_of({"loss": noisy([10.37] * 30), "learning_rate": [0.0] * 30}, facts=VOCABULARY)) is None


@pytest.mark.parametrize(("jumps", "severity"), [(1, None), (20, Severity.NOTE)])
def test_violent_jumps_that_come_all_the_time_are_a_note(
    jumps: int, severity: Severity | None, rule: Mapping[str, Trace]
) -> None:
    values = [0.1 + 0.003 * (-1) ** n for n in range(1000)]
    for n in range(jumps):
        values[150 + 40 * n : 152 + 40 * n] = [1.5 + n / 10, 1.4 + n / 10]
    answer = ask(rule["trace/loss-spike"], run_of({"loss": values}))
    assert isinstance(answer, Seen)
    assert answer.severity is severity


def test_points_at_unknown_steps_are_no_steps(rule: Mapping[str, Trace]) -> None:
    (run,) = runs_of(points_of_rows("x", [{"loss": 10.37}] * 30, [float("nan")] * 30))
    answer = ask(rule["trace/plateau-ln-vocab"], View(run.series["loss"], run, setup_of(run, VOCABULARY)))
    told = "loss: 30 points at steps that are not told; 100 steps are needed to get past the warm-up"
    assert answer == Undecided(told)


@pytest.mark.parametrize(("level", "found"), [(-0.25, True), (0.0, False), (0.25, True)])
def test_a_reward_that_was_centred_tells_nothing(level: float, found: bool, rule: Mapping[str, Trace]) -> None:
    answer = ask(rule["grpo/reward-flat"], run_of({"reward": [level + 0.003 * (-1) ** n for n in range(50)]}))
    assert isinstance(answer, Seen) is found


def test_bits_are_not_nats(rule: Mapping[str, Trace]) -> None:
    bits = np.log2(32_000)
    series = {"loss": noisy([bits] * 30, 0.001), "perplexity": [32_000.0] * 30}
    assert isinstance(ask(rule["trace/plateau-ln-vocab"], run_of(series, facts=VOCABULARY)), Seen)


@pytest.mark.parametrize(("later", "found"), [(0.6, False), (9.0, True)])
def test_a_multimodal_start_is_healthy_if_it_falls(later: float, found: bool, rule: Mapping[str, Trace]) -> None:
    facts = {"config.base_model": Fact("google/gemma-4-31B-it")}
    values = noisy(fall(12.5, later, 60, 10), 0.05)
    answer = ask(rule["trace/loss-starts-high"], run_of({"loss": values}, every=1, facts=facts))
    assert isinstance(answer, Seen) is found


def test_the_first_steps_of_a_high_start_are_not_judged(rule: Mapping[str, Trace]) -> None:
    facts = {"config.base_model": Fact("google/gemma-4-31B-it")}
    answer = ask(rule["trace/loss-starts-high"], run_of({"loss": fall(12.5, 0.6, 20, 10)}, every=1, facts=facts))
    assert answer == Undecided("loss: starts at 11.37; 50 steps are needed to see whether it falls")


def test_zeros_of_a_memorised_batch_are_no_masked_labels(rule: Mapping[str, Trace]) -> None:
    match = rule["trace/loss-zero"]
    assert isinstance(ask(match, run_of({"loss": [0.0] * 5, "grad_norm": [0.0] * 5})), Seen)
    assert ask(match, run_of({"loss": [2.0, 0.3, 0.004, 0.0, 0.0, 0.0], "grad_norm": [1.0] * 3 + [0.0] * 3})) is None


def test_a_nan_that_the_trainer_hides_is_seen_without_a_gradient_norm(rule: Mapping[str, Trace]) -> None:
    match = rule["trace/loss-zero-grad-nan"]
    assert isinstance(ask(match, run_of({"loss": [3.0, 2.9, 170.0, 0.0, 0.0, 0.0]})), Seen)
    assert ask(match, run_of({"loss": [3.0, 2.9, 0.5, 0.0, 0.0, 0.0]})) is None


@pytest.mark.parametrize(("losses", "found"), [([3.2, 3.1, 2.9], True), ([2.45, 2.42, 2.44], False)])
def test_a_resumption_that_lost_something(losses: list[float], found: bool, rule: Mapping[str, Trace]) -> None:
    values = noisy([2.4] * 30) + noisy(losses) + noisy([2.45] * 10)
    rows = [{"loss": value} for value in values]
    points = points_of_rows("x", rows, [float(n + 1) for n in range(len(values))])
    points.restart[30] = True
    (run,) = runs_of(points)
    answer = ask(rule["trace/resume-discontinuity"], View(run.series["loss"], run, setup_of(run, {})))
    assert isinstance(answer, Seen) is found


def test_a_jump_may_come_some_points_behind_the_resumption(rule: Mapping[str, Trace]) -> None:
    for losses, found in (([2.5, 3.4, 3.2], True), ([2.5, 3.4, 2.4], False), ([2.4, 2.4, 2.4, 2.4, 3.4, 3.2], False)):
        test_a_resumption_that_lost_something(losses, found, rule)


def test_memory_tells_when_the_device_is_full(rule: Mapping[str, Trace]) -> None:
    facts = {"device": Fact("NVIDIA A100-SXM4-80GB")}
    answer = ask(rule["trace/memory-growth"], run_of({"memory": [40 + 0.5 * n for n in range(41)]}, facts=facts))
    assert isinstance(answer, Seen)
    assert answer.captures["prediction"] == " At this rate 80 GiB are full near step 810."


def test_memory_that_levels_off_does_not_grow(rule: Mapping[str, Trace]) -> None:
    assert ask(rule["trace/memory-growth"], run_of({"memory": [min(40 + n, 60.0) for n in range(60)]})) is None


def test_steps_get_slower_with_longer_completions_only(rule: Mapping[str, Trace]) -> None:
    times = [1 + 0.05 * n for n in range(40)]
    assert isinstance(ask(rule["trace/slow-steps"], run_of({"step_time": times})), Seen)
    assert (
        ask(rule["trace/slow-steps"], run_of({"step_time": times, "completion_length": [100 * t for t in times]}))
        is None
    )


def test_steps_that_get_longer_on_purpose_are_not_slower(rule: Mapping[str, Trace]) -> None:
    match, times = rule["trace/slow-steps"], [1 + 0.05 * n for n in range(40)]
    assert ask(match, run_of({"step_time": times, "throughput": [5000 - n for n in range(40)]})) is None
    assert isinstance(ask(match, run_of({"step_time": times, "throughput": [5000 / t for t in times]})), Seen)
    mild, much = (ask(match, run_of({"step_time": [1 + slope * n for n in range(40)]})) for slope in (0.03, 0.1))
    assert isinstance(mild, Seen)
    assert isinstance(much, Seen)
    assert (mild.severity, much.severity) == (Severity.NOTE, None)
    stages = noisy([1.0] * 14 + [1.4] * 14 + [1.9] * 15, 0.005)
    assert ask(match, run_of({"step_time": stages})) is None


@pytest.mark.parametrize(
    ("level", "series", "facts", "found"),
    [
        (3.3, {"learning_rate": 3e-4}, {}, False),
        (3.3, {"learning_rate": 1e-9}, {}, True),
        (3.3, {"learning_rate": 1e-5}, {"config.adapter": Fact("lora")}, True),
        (3.3, {"learning_rate": 1e-5}, {}, False),
        (3.3, {}, {}, False),
        (7.5, {}, {}, True),
        (3.3, {"learning_rate": 3e-4}, {"config.vocab_size": Fact(256)}, True),
    ],
)
def test_a_flat_loss_is_no_plateau_where_the_model_may_know_the_data(
    level: float, series: Mapping[str, float], facts: Facts, found: bool, rule: Mapping[str, Trace]
) -> None:
    rows = {"loss": noisy([level] * 40), **{name: [value] * 40 for name, value in series.items()}}
    answer = ask(rule["trace/loss-plateau"], run_of(rows, facts=facts))
    assert isinstance(answer, Seen) is found
    assert isinstance(answer, Undecided) is not found


@pytest.mark.parametrize(("bad", "found"), [(range(10), False), (range(60), True), (range(20, 24), True)])
def test_a_run_may_begin_with_overflows_while_the_loss_scale_is_looked_for(
    bad: range, found: bool, rule: Mapping[str, Trace]
) -> None:
    norm = [np.inf if n in bad else 1.0 for n in range(100)]
    series = {"grad_norm": norm, "loss": noisy(fall(7.0, 3.0, 100))}
    assert isinstance(ask(rule["trace/grad-norm-nonfinite"], run_of(series, every=2)), Seen) is found


@pytest.mark.parametrize(
    ("rate", "facts", "what"),
    [
        ([1e-3] * 60 + [4e-3] * 30, {}, "grew"),
        ([5e-3] * 90, {}, "high"),
        ([1e-3] * 90, {}, "usual"),
        ([1e-3] * 90, {"config.base_model": Fact("meta-llama/Llama-3.1-8B")}, "high"),
        ([5e-4] * 90, {"config.base_model": Fact("meta-llama/Llama-3.1-8B"), "config.adapter": Fact("lora")}, "usual"),
    ],
)
def test_a_divergence_tells_what_the_learning_rate_did(
    rate: list[float], facts: Facts, what: str, rule: Mapping[str, Trace]
) -> None:
    loss = noisy([*fall(6.0, 3.0, 50), *np.linspace(3.0, 5.0, 40).tolist()], 0.03)
    answer = ask(rule["trace/diverged"], run_of({"loss": loss, "learning_rate": rate}, facts=facts))
    assert isinstance(answer, Seen)
    assert answer.captures["what"] == what


@pytest.mark.parametrize(("used", "factor"), [(25, "4"), (50, "2"), (70, None)])
def test_a_rate_that_is_used_up_at_a_part_of_the_run_tells_which(
    used: int, factor: str | None, rule: Mapping[str, Trace]
) -> None:
    rate = [1e-3 * max(1 - n / used, 0) ** 2 for n in range(100)]
    answer = ask(rule["trace/lr-not-advancing"], run_of({"learning_rate": rate, "loss": fall(6.0, 3.0, 100)}))
    assert isinstance(answer, Seen)
    assert answer.captures.get("factor") == factor


def test_objectives() -> None:
    def objective(names: list[str], value: float = 1.0) -> Objective:
        return run_of({name: [value] * 3 for name in names}).setup.objective

    assert objective(["loss"]) is Objective.CROSS_ENTROPY
    assert objective(["loss", "rewards_margin"]) is Objective.PREFERENCE
    assert objective(["loss", "reward"]) is Objective.REINFORCEMENT
    assert objective(["loss"], -1.0) is Objective.OTHER


def test_warmup_comes_from_settings_or_from_the_learning_rate() -> None:
    rates = [*np.linspace(0.1, 1.0, 10).tolist(), *np.linspace(1.0, 0.1, 30).tolist()]
    assert run_of({"learning_rate": rates}).setup.warmup == 100.0
    assert run_of({"learning_rate": rates}, facts={"config.warmup_steps": Fact("55")}).setup.warmup == 55.0
    for key in ("warmup_ratio", "warmup_steps"):
        assert run_of({"learning_rate": rates}, facts={f"config.{key}": Fact("0.1")}).setup.warmup == 40.0
    assert run_of({"learning_rate": [1.0] * 40}).setup.warmup == 0.0


def test_vocabularies() -> None:
    assert known_vocabulary({}) is None
    exact, family = known_vocabulary(VOCABULARY), known_vocabulary({"model.type": Fact("gemma3")})
    assert exact is not None
    assert family is not None
    assert (exact.size, exact.certain) == (32_000, True)
    assert (family.size, family.family, family.certain) == (262_144, "Gemma 3", False)
    nearest = nearest_vocabulary(10.83, 0.02)
    assert nearest is not None
    assert nearest.family in ("GPT-2", "Pythia")
    assert nearest_vocabulary(5.545, 0.02) is None


def test_statistics() -> None:
    assert longest_stretch(np.array([True, False, True, True, False])) == (2, 3)
    assert longest_stretch(np.zeros(3, np.bool_)) == (0, -1)
    assert kendall_tau(np.arange(500.0)) == 1.0
    assert kendall_tau(np.array([3.0, 2.0, 1.0])) == -1.0
    assert noise_of(np.arange(100.0)) == pytest.approx(1.0484, rel=1e-3)


def test_a_run_without_series_has_no_setup_to_speak_of() -> None:
    setup = setup_of(Run(0, "x", {}), {})
    assert (setup.starts, setup.warmup, setup.accumulation) == (False, 0.0, 1)


@pytest.mark.parametrize(
    ("scale", "found"),
    [
        ([65536.0] * 30 + [65536 / 32.0**n for n in range(1, 11)], True),
        ([65536.0] * 30 + [65536 / 2.0**n for n in range(1, 21)], True),
        ([65536 / 32.0**n for n in range(5)] + [1.0, 2.0, 4.0] * 8, False),
        ([4.0] * 20 + [1.0] * 20, False),
        ([64.0, 32.0] * 10 + [1.0] * 10, False),
    ],
    ids=["logged each fifth step", "logged each step", "grows again", "a low scale that holds", "few halvings"],
)
def test_a_loss_scale_collapses_by_halvings_however_often_it_is_logged(
    scale: list[float], found: bool, rule: Mapping[str, Trace]
) -> None:
    answer = ask(rule["trace/loss-scale-collapse"], run_of({"loss_scale": scale}))
    assert isinstance(answer, Seen) is found


@pytest.mark.parametrize("found", [True, False])
def test_an_unknown_accumulation_shows_where_the_loss_no_longer_falls_fast(
    found: bool, rule: Mapping[str, Trace]
) -> None:
    evals = fall(5.0, 3.0, 12, pace=2.0)
    train = [8 * value for value in [6.5, *evals[:-1]]]  # an average over the steps before each evaluation
    ratios = np.array(train) / np.array(evals)
    assert ratios.std() / ratios.mean() > 0.02
    if not found:
        train[-4:] = [value * (1 + n / 10) for n, value in enumerate(train[-4:])]
    answer = ask(rule["trace/loss-scaled-by-accumulation"], run_of({"loss": train, "eval_loss": evals}))
    assert isinstance(answer, Seen) is found


@pytest.mark.parametrize(
    ("factor", "apart", "found"),
    [(4.0, 0.001, True), (2.0, 0.001, True), (4.0, 0.03, False), (1.4427, 0.001, False), (4.5, 0.001, False)],
    ids=["four times", "twice", "only on the whole", "bits", "no whole number"],
)
def test_a_loss_that_is_a_multiple_of_another_runs(
    factor: float, apart: float, found: bool, rule: Mapping[str, Trace]
) -> None:
    other = noisy(fall(2.4, 2.0, 12), 0.05)
    own = [factor * value * (1 + apart * (-1) ** n) for n, value in enumerate(other)]
    views = run_of({"loss": own}), run_of({"loss": other})
    match = rule["trace/loss-scaled-by-accumulation"]
    answer = ask(match, replace(views[0], neighbours=[views[1].run]))
    assert isinstance(answer, Seen) is found
    assert ask(match, replace(views[1], neighbours=[views[0].run])) is None


def test_two_level_losses_are_no_multiple_of_each_other(rule: Mapping[str, Trace]) -> None:
    low, high = run_of({"loss": noisy([2.0] * 12)}), run_of({"loss": noisy([4.0] * 12)})
    assert ask(rule["trace/loss-scaled-by-accumulation"], replace(high, neighbours=[low.run])) is None


@pytest.mark.parametrize(
    ("level", "epoch", "found"),
    [(1.0, 0.0, True), (1.0, 0.62, False), (1.9, 0.0, False), (2.9, 0.0, False)],
    ids=["lower, and the epoch falls", "the epoch goes on", "hardly lower", "higher"],
)
def test_data_that_are_read_again_behind_a_resumption(
    level: float, epoch: float, found: bool, rule: Mapping[str, Trace]
) -> None:
    values, epochs = noisy([2.0] * 30 + [level] * 20), [n / 50 for n in range(30)] + [epoch + n / 50 for n in range(20)]
    rows = [{"loss": value, "epoch": number} for value, number in zip(values, epochs, strict=True)]
    points = points_of_rows("x", rows, [float(n + 1) for n in range(50)])
    points.restart[30] = True
    (run,) = runs_of(points)
    answer = ask(rule["trace/resume-data-repeated"], View(run.series["loss"], run, setup_of(run, {})))
    assert isinstance(answer, Seen) is found
    if isinstance(answer, Seen):
        assert answer.captures["first_step"] == "31"


@pytest.mark.parametrize(
    ("peak", "rising", "found"), [(2e-5, False, True), (1.2e-4, False, False), (2e-5, True, False)]
)
def test_a_rate_that_never_reaches_the_configured_one(
    peak: float, rising: bool, found: bool, rule: Mapping[str, Trace]
) -> None:
    rates = [peak * (n if rising else min(n, 4, 50 - n)) / (40 if rising else 4) for n in range(1, 41)]
    view = run_of({"learning_rate": rates, "loss": fall(3.0, 2.0, 40)}, facts={"config.learning_rate": Fact("2e-4")})
    answer = ask(rule["trace/lr-below-peak"], view)
    assert isinstance(answer, Seen) is found
    assert isinstance(answer, Undecided) is rising


@pytest.mark.parametrize(
    ("settings", "severity"),
    [
        ({"config.warmup_steps": 100, "total_steps": 400}, "note"),
        ({"config.warmup_ratio": "0.25", "config.max_steps": 400}, "note"),
        ({"config.warmup_steps": 500, "total_steps": 400}, "warning"),
        ({"config.warmup_steps": 500, "config.max_steps": -1}, None),
        ({"config.warmup_steps": 80, "total_steps": 400}, None),
        ({"config.warmup_steps": 50, "total_steps": 90}, None),
        ({"total_steps": 400}, None),
    ],
)
def test_a_warmup_that_takes_much_of_the_run(
    settings: Mapping[str, int | str], severity: str | None, rule: Mapping[str, Trace], signatures: list[Signature]
) -> None:
    facts = {key: Fact(value) for key, value in settings.items()}
    warmup = 500 if settings.get("config.warmup_steps") == 500 else 100
    rates = [2e-4 * min(10 * n / warmup, 1) for n in range(1, 41)]
    answer = ask(rule["trace/warmup-too-long"], run_of({"learning_rate": rates}, facts=facts))
    default = next(one.severity for one in signatures if one.id == "trace/warmup-too-long")
    told = (answer.severity or default).value if isinstance(answer, Seen) else None
    assert told == severity


def test_trainers_unlimited_steps_are_no_number_of_steps() -> None:
    facts = {"config.warmup_ratio": Fact("0.1"), "config.max_steps": Fact(-1)}
    assert run_of({"learning_rate": [1.0] * 40}, facts=facts).setup.warmup == 40.0


def test_one_low_rate_all_along_stands_still(rule: Mapping[str, Trace]) -> None:
    series = {"learning_rate": [2e-5] * 40, "loss": fall(3.0, 2.0, 40)}
    view = run_of(series, facts={"config.learning_rate": Fact("2e-4")})
    assert isinstance(ask(rule["trace/lr-not-advancing"], view), Seen)
    assert ask(rule["trace/lr-below-peak"], view) is None


@pytest.mark.parametrize(
    ("late", "rank"),
    [((1.0, 1.0, 1.5), "2"), ((1.0, 1.0, 1.35), None), ((1.0, 1.3, 1.5), None), ((1.5, 1.5, 1.5), None)],
    ids=["one slowed", "hardly", "another one too", "all"],
)
def test_a_rank_that_has_become_slower_than_it_was(
    late: tuple[float, ...], rank: str | None, rule: Mapping[str, Trace]
) -> None:
    own = [noisy([0.9] * 30 + [0.9 * factor] * 12) for factor in late]
    points = points_of_rows(
        "x", [{"step_time": times[n]} for n in range(42) for times in own], [float(n) for n in range(42) for _ in own]
    )
    (run,) = runs_of(replace(points, rank=np.tile(np.arange(3, dtype=np.int32), 42)))
    answer = ask(rule["trace/straggler"], View(run.series["step_time"], run, setup_of(run, {})))
    assert (answer.captures["rank"] if isinstance(answer, Seen) else None) == rank
