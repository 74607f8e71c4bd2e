"""Trace signatures on their own samples, and what findings about traces say."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doctor.errors import SignatureError
from doctor.finding import Role, Severity, Steps
from doctor.points import Points, points_of_rows
from doctor.signature import Signature, Trace
from doctor.traces.match import check, find, match_sample

ROOT = Path(__file__).parents[2]
CASES = tomllib.loads((ROOT / "fixtures" / "make" / "traces" / "cases.toml").read_text())

Read = Callable[[str], Points]
Load = Callable[[str], Any]
NAN_LATE = "loop-nan-late"


def test_there_is_a_signature_for_every_shape(signatures: list[Signature]) -> None:
    from doctor.traces.shapes import SHAPES

    assert {one.match.shape for one in signatures if isinstance(one.match, Trace)} == set(SHAPES)


def test_the_documentation_names_every_shape_and_its_limits() -> None:
    from doctor.traces.shapes import SHAPES

    table = (ROOT / "signatures" / "README.rst").read_text().split("\nTrace\n")[1].split("\nScale\n")[0]
    header = next(line for line in table.splitlines() if line.startswith("shape  "))
    rows = re.split(r"\n(?=``)", table.split(header)[1])[1:]
    column = header.index("limits")
    told = {
        row.split("``")[1]: tuple(re.findall(r"``(\w+)``", " ".join(line[column:] for line in row.splitlines())))
        for row in rows
    }
    assert told == {name: shape.limits for name, shape in SHAPES.items()}


def test_hits_are_found_and_misses_are_not(signatures: list[Signature], read: Read, facts_of: Load) -> None:
    wrong = []
    for signature in signatures:
        for n, sample in enumerate(signature.hits, 1):
            if not match_sample(signature, read(sample.text), facts_of(sample.text)):
                wrong.append(f"{signature.id} hit[{n}] is not found")
        for n, sample in enumerate(signature.misses, 1):
            if match_sample(signature, read(sample.text), facts_of(sample.text)):
                wrong.append(f"{signature.id} miss[{n}] is found: {sample.why}")
    assert wrong == []


def test_hits_raise_no_other_alarm(signatures: list[Signature], read: Read, facts_of: Load) -> None:
    """Another signature fires on a hit only as its echo, or where it explains it."""
    wrong = []
    for signature in signatures:
        for n, sample in enumerate(signature.hits, 1):
            found = find([read(sample.text)], signatures, facts_of(sample.text)).findings
            roots = {finding.id for finding in found if finding.explained_by is None}
            if roots != {signature.id}:
                wrong.append((signature.id, n, roots))
    assert wrong == []


def test_limits_are_those_of_the_shape(signatures: list[Signature]) -> None:
    spike = next(one for one in signatures if one.id == "trace/loss-spike")
    assert isinstance(spike.match, Trace)
    for match, words in (
        (replace(spike.match, shape="bump"), 'trace/loss-spike: trace.shape: "bump" is not one of nonfinite,'),
        (
            replace(spike.match, limits={"points": 3}),
            "trace/loss-spike: trace.limits: spike takes exactly points, median,",
        ),
        (
            replace(spike.match, limits={**spike.match.limits, "row": "two"}),
            "trace/loss-spike: trace.limits.row: expected a number",
        ),
    ):
        with pytest.raises(SignatureError) as raised:
            check(replace(spike, match=match))
        assert str(raised.value).startswith(words)


def test_a_finding_names_the_step_and_the_lines(signatures: list[Signature], trace: Load) -> None:
    one = trace(NAN_LATE)
    result = find(one.sources, signatures, one.facts)
    (finding,) = [one for one in result.findings if one.id == "trace/loss-nan"]
    assert isinstance(finding.place, Steps)
    assert (finding.place.series, finding.place.first, finding.place.last) == ("loss", 305, 500)
    assert finding.evidence[2].startswith("step 305: loss nan  (:")
    assert f"the first bad one came at step {finding.place.first}" in finding.cause
    assert result.summaries()[0]["points"] == len(result.runs[0].series[str(result.summaries()[0]["name"])])


def test_values_that_are_not_finite_are_told_beside_the_nulls(signatures: list[Signature], read: Read) -> None:
    text = "step 1, loss: inf\nstep 2, loss: 2.4\nstep 3, loss: nan\n"
    (summary,) = find([read(text)], signatures, {}).summaries()
    assert (summary["last"], summary["not_finite"]) == (None, {"points": 2, "last": "nan"})
    (summary,) = find([read("step 1, loss: nan\nstep 2, loss: 2.4\n")], signatures, {}).summaries()
    assert summary["not_finite"] == {"points": 1, "last": None}


def test_perplexities_are_judged_as_losses(signatures: list[Signature], read: Read) -> None:
    text = "".join(f"step {10 * n} train ppl {985.5 + n % 3}\n" for n in range(1, 101))
    result = find([read(text)], signatures, {})
    found = next(one for one in result.findings if one.id == "trace/loss-plateau")
    assert found.evidence[0] == "step 10: loss 6.894, ln of the perplexity  (:1)"
    assert {one["name"]: one.get("made_from") for one in result.summaries()} == {
        "perplexity": None,
        "loss": "ln of the perplexity",
    }


def test_a_short_trace_is_skipped_and_not_clean(signatures: list[Signature], read: Read) -> None:
    result = find([read("step 1, loss: 2.5\nstep 2, loss: 2.4\n")], signatures, {})
    assert result.findings == ()
    assert ("trace/diverged, trace/loss-plateau, trace/loss-spike", ": loss: 2 points; 20 are needed") in [
        (", ".join(id for id in ids.split(", ") if id in SHORT), why) for ids, why in result.skipped
    ]


SHORT = {"trace/diverged", "trace/loss-plateau", "trace/loss-spike"}


def test_what_follows_a_nan_is_its_echo(signatures: list[Signature], read: Read) -> None:
    good = "".join(f"step {n}, loss: {5 - n / 50:.3f}, eval_loss: {5 - n / 50:.3f}\n" for n in range(1, 101))
    bad = "".join(f"step {n}, loss: nan, eval_loss: nan, grad_norm: nan\n" for n in range(101, 131))
    found = {finding.id: finding for finding in find([read(good + bad)], signatures, {}).findings}
    assert set(found) == {"trace/loss-nan"}
    assert found["trace/loss-nan"].role is Role.ROOT


def test_the_run_beside_decides_which_cause_is_told(signatures: list[Signature], read: Read) -> None:
    losses = [2.4, 2.31, 2.35, 2.2, 2.25, 2.1, 2.05]
    runs = "".join(f"step {n * 10}, loss: {factor * loss}\n" for factor in (1, 8) for n, loss in enumerate(losses, 1))
    (finding,) = find([read(runs)], signatures, {}).findings
    assert finding.id == "trace/loss-scaled-by-accumulation"
    assert finding.cause.startswith("At every step the loss is 8 times that of run 0 at 7 common steps")


def verdict(points: list[Points], signatures: list[Signature], facts: object) -> set[str]:
    """The ids of all roots; notes may depend on how many steps lie between two points."""
    found = find(points, signatures, facts).findings  # type: ignore[arg-type]
    return {one.id for one in found if one.explained_by is None and one.severity is not Severity.NOTE}


# Rules that count steps themselves: so many seconds, steps behind the warm-up, steps until a spike has recovered.
COUNTED = {"trace/stall", "trace/slow-start", "trace/loss-too-good", "trace/loss-spike"}
# And the steps in which a loss scale is looked for.
OPENING = "others-healthy-scaled"
INVARIANT = sorted(
    name for name, row in CASES.items() if name.startswith(("loop-", "others-")) and not COUNTED & set(row["expected"])
)


@given(name=st.sampled_from([name for name in INVARIANT if name != OPENING]), factor=st.integers(2, 1000))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_scale_of_the_step_axis_changes_no_verdict(
    name: str, factor: int, signatures: list[Signature], trace: Load
) -> None:
    one = trace(name)
    scaled = [replace(points, step=points.step * factor) for points in one.sources]
    wanted = verdict(one.sources, signatures, one.facts)
    assert verdict(scaled, signatures, {key: fact for key, fact in one.facts.items() if "warmup" not in key}) == wanted


@given(name=st.sampled_from(INVARIANT), order=st.permutations(range(4)))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_ranks_changes_no_verdict(
    name: str, order: list[int], signatures: list[Signature], trace: Load
) -> None:
    """Every rank prints its own, slightly different values; what one rank prints four times over is the same run."""
    one = trace(name)
    copied = verdict([spread(points, order, 0.0) for points in one.sources], signatures, one.facts)
    assert copied == verdict(one.sources, signatures, one.facts)
    wanted = verdict([spread(points, [0, 1, 2, 3], 0.001) for points in one.sources], signatures, one.facts)
    assert verdict([spread(points, order, 0.001) for points in one.sources], signatures, one.facts) == wanted


def spread(points: Points, ranks: list[int], apart: float) -> Points:
    """The same points as if every rank of the list had printed them, each line by all ranks in this order; the values of a
    rank and the next differ by this share."""
    count, records = len(ranks), len(points.step)
    return replace(
        points,
        series=np.repeat(points.series, count),
        value=(points.value[:, None] * (1 + apart * np.array(ranks))).ravel(),
        record=(points.record[:, None] * count + np.arange(count)).ravel(),
        step=np.repeat(points.step, count),
        line=np.repeat(points.line, count),
        time=np.repeat(points.time, count),
        restart=np.repeat(points.restart, count),
        stage=np.repeat(points.stage, count),
        ended=np.repeat(points.ended, count),
        rank=np.tile(np.array(ranks), records),
    )


HEALTHY_PREFIX = [
    "loop-nan-late",
    "loop-diverged-no-clipping",
    "loop-gradient-explodes",
    "loop-spike-bad-shard",
    "loop-resumed-new-head",
    "loop-back-to-uniform",
    "others-nan",
    "others-spike-strange-shard",
    "others-spike-rate",
    "others-diverged-late",
    "others-gradient-explodes",
    "others-resumed-without-state",
]


@given(name=st.sampled_from(HEALTHY_PREFIX), cut=st.integers(1, 30))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_how_much_healthy_trace_stands_in_front_changes_no_verdict(
    name: str, cut: int, signatures: list[Signature], trace: Load
) -> None:
    one = trace(name)
    wanted = verdict(one.sources, signatures, one.facts)
    assert verdict([behind(points, cut) for points in one.sources], signatures, one.facts) == wanted


def behind(points: Points, records: int) -> Points:
    """Without the first records."""
    kept = points.record >= records
    return replace(
        points,
        series=points.series[kept],
        value=points.value[kept],
        record=points.record[kept] - records,
        **{name: getattr(points, name)[records:] for name in ("step", "line", "rank", "time", "restart")},
    )


NUMBERS = st.one_of(st.floats(), st.floats(0, 20), st.sampled_from([0.0, 2.0, 10.8]))
NAMES = (
    "loss",
    "eval_loss",
    "grad_norm",
    "learning_rate",
    "loss_scale",
    "skipped",
    "step_time",
    "memory",
    "reward",
    "kl",
    "entropy",
)
MORE = (
    "rewards_margin",
    "rewards_chosen",
    "completion_length",
    "clipped_completions",
    "frac_reward_zero_std",
    "epoch",
    "logp_difference",
)


@given(
    rows=st.lists(st.dictionaries(st.sampled_from((*NAMES, *MORE)), NUMBERS), max_size=45),
    step=st.integers(-3, 40),
    resumed=st.integers(0, 30),
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_no_numbers_are_too_odd_to_judge(
    rows: list[dict[str, float]], step: int, resumed: int, signatures: list[Signature]
) -> None:
    points = points_of_rows("x", rows, [float(n * step) for n in range(len(rows))])
    points.restart[resumed : resumed + 1] = True
    result = find([points], signatures, {})
    assert {finding.id for finding in result.findings} <= {one.id for one in signatures}
    assert len(result.summaries()) <= len(points)
