"""Shapes of a loss that is a multiple of the real one: of the evaluation loss, of the uniform loss, or of another run's."""

from dataclasses import replace

import numpy as np

from doctor.finding import Confidence
from doctor.points import Floats
from doctor.traces.series import Run, Series
from doctor.traces.view import Answer, Limits, Seen, View, shown

# So many training losses before an evaluation stand for the loss there.
WIDTH = 3


def scaled_by_accumulation(view: View, limits: Limits) -> Answer:
    """The training loss is the accumulation times the evaluation loss at ``evals`` evaluations or more, within ``near``; or,
    where the accumulation is not known, an equal multiple of it at ``unknown_evals``, within ``spread``; or a whole multiple of
    the loss of the run before or behind it."""
    evals = view.run.series.get("eval_loss")
    if evals is not None and len(evals) and len(view.main) > 1:
        answer = _above_evals(view, evals, limits)
    else:
        answer = _above_uniform(view, limits) if view.setup.accumulation > 1 else None
    return answer or next((seen for other in view.neighbours if (seen := _above_other(view, other, limits))), None)


def _above_evals(view: View, evals: Series, limits: Limits) -> Answer:
    ratios, steps = _to_evals(view, evals), view.setup.accumulation
    if len(ratios) < limits["evals"]:
        return None
    if steps == 1:  # where the training loss still falls fast, it is an average over higher ones
        ratios = ratios[-int(limits["unknown_evals"]) :]
    ratio, spread = float(np.median(ratios)), float(np.std(ratios) / np.mean(ratios))
    fits = steps > 1 and abs(ratio / steps - 1) <= limits["near"]
    equal = (
        steps == 1 and len(ratios) >= limits["unknown_evals"] and spread < limits["spread"] and ratio >= limits["ratio"]
    )
    if not fits and not equal:
        return None
    return _scaled(view, ratio, f"the evaluation loss at {len(ratios)} evaluations", None if fits else Confidence.LOW)


def _to_evals(view: View, evals: Series) -> Floats:
    """The training loss before each evaluation, divided by that evaluation's."""
    here = np.searchsorted(view.steps, evals.steps, side="right")
    train = np.array([np.median(view.values[max(n - WIDTH, 0) : n + 1]) if n else np.nan for n in here])
    ratios: Floats = (train / evals.values)[np.isfinite(train) & np.isfinite(evals.values) & (evals.values > 0)]
    return ratios


def _above_uniform(view: View, limits: Limits) -> Answer:
    """Without evaluations: the first loss is far above the uniform loss, and divided by the accumulation it is not."""
    known, steps = view.setup.vocabulary, view.setup.accumulation
    if known is None or not view.setup.starts:
        return None
    start = float(np.median(view.values[: min(3, len(view.main))]))
    if start <= limits["above"] * known.uniform_loss or start / steps > (1 + limits["near"]) * known.uniform_loss:
        return None
    if start / steps < limits["least_share"] * known.uniform_loss:
        return None
    return _scaled(view, float(steps), f"what {known.size} tokens allow at the start", Confidence.MEDIUM)


def _above_other(view: View, other: Run, limits: Limits) -> Seen | None:
    """A whole multiple of the other run's loss at ``common`` steps or more, within ``spread``, while that loss itself moves
    ``moves`` times as much: two curves that only look alike differ by more."""
    loss = other.series.get("loss")
    if loss is None:
        return None
    _, own, its = np.intersect1d(view.steps, loss.steps, return_indices=True)
    ratios, level = view.values[own] / loss.values[its], loss.values[its]
    known = np.isfinite(ratios) & (level > 0)
    if known.sum() < limits["common"]:
        return None
    ratio, spread, moved = float(np.median(ratios[known])), _spread(ratios[known]), _spread(level[known])
    whole = ratio >= limits["ratio"] and abs(ratio / np.round(ratio) - 1) < limits["spread"]
    if not whole or spread >= limits["spread"] or moved < limits["moves"] * spread:
        return None
    which = f"run {other.number}" if other.path == view.main.path else f"the run in {other.path}"
    seen = _scaled(view, ratio, f"that of {which} at {known.sum()} common steps", Confidence.MEDIUM)
    return replace(seen, captures={**seen.captures, "other": which})


def _spread(values: Floats) -> float:
    """The standard deviation as a share of the mean."""
    return float(np.std(values) / np.mean(values))


def _scaled(view: View, ratio: float, of_what: str, confidence: Confidence | None) -> Seen:
    captures = {"factor": shown(ratio), "of_what": of_what, "value": shown(view.values[0])}
    if view.setup.accumulation > 1:
        captures["accumulation"] = str(view.setup.accumulation)
    return Seen(0, len(view.main) - 1, captures, confidence=confidence)
