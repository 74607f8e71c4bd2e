"""Shapes of values that are broken: not finite, or exactly zero."""

from dataclasses import replace

import numpy as np

from doctor.finding import Confidence
from doctor.points import Flags, Floats
from doctor.traces.robust import longest_stretch
from doctor.traces.training_setup import Objective
from doctor.traces.view import Answer, Limits, Seen, View, at, shown

# What a loss does in the last points before it is not finite tells why: one that climbs so far has diverged.
LAST, CLIMB = 50, 1.3


def nonfinite(view: View, limits: Limits) -> Answer:
    """NaN or infinite in at least ``row`` points in a row, or in more than ``share`` of all points behind ``after`` steps.

    With points in a row that a run begins with, and that end within ``opening`` steps, a loss scale is only looked for.
    """
    bad = ~np.isfinite(view.values)
    late = bad & (view.steps - view.steps[0] >= limits["after"])
    often = late.sum() >= 3 and late.sum() > limits["share"] * len(bad)
    good = np.flatnonzero(~bad)
    if view.setup.starts and len(good) and view.steps[good[0]] - view.steps[0] <= limits["opening"]:
        bad[: good[0]] = False
    first, last = longest_stretch(bad)
    if last - first + 1 < limits["row"] and not often:
        return None
    first = int(np.argmax(bad)) if often or limits["row"] == 1 else first
    return _turned(view, first)


def nonfinite_beside_finite(view: View, limits: Limits) -> Answer:
    """The same, where the training loss of the run is finite."""
    loss = view.run.series.get("loss")
    if loss is None or not len(loss):
        return None
    answer = nonfinite(view, limits)
    if not isinstance(answer, Seen):
        return answer
    return None if (~np.isfinite(loss.values)).any() or _masked(view) else answer


def nonfinite_alone(view: View, limits: Limits) -> Answer:
    """The last ``row`` points or more are not finite, and no training loss is printed beside them that could tell where it
    began."""
    bad, loss = ~np.isfinite(view.values), view.run.series.get("loss")
    if (loss is not None and len(loss)) or len(bad) < limits["row"] or not bad[-int(limits["row"]) :].all():
        return None
    finite = np.flatnonzero(~bad)
    return _turned(view, int(finite[-1]) + 1 if len(finite) else 0)


def _masked(view: View) -> bool:
    """Whether the loss only looks finite: it is exactly zero where the judged series is not finite."""
    beside = view.beside("loss")
    return bool((beside[~np.isfinite(view.values)] == 0).any())


def masked_nan(view: View, limits: Limits) -> Answer:
    """A loss of exactly 0 with a gradient norm or an evaluation that is not finite, at ``row`` points: Trainer prints a filtered
    NaN so.

    Where no gradient norm is printed, a cross-entropy, from ``from`` on, that had grown beyond its start and then is 0 to the
    end: then it is only likely.
    """
    unseen = view.lacks("grad_norm")
    bad = (view.values == 0) & (_broken_beside(view, "grad_norm") | _broken_beside(view, "eval_loss"))
    guessed = bool(unseen.all()) and _grows_then_zero(view, limits["from"])
    if guessed:
        bad = np.arange(len(view.main)) > np.flatnonzero(view.values)[-1]
    if bad.sum() < limits["row"]:
        return None
    seen = _turned(view, int(np.argmax(bad)))
    return (
        replace(seen, captures={**seen.captures, "what": "unseen"}, confidence=Confidence.MEDIUM) if guessed else seen
    )


def _broken_beside(view: View, name: str) -> Flags:
    """Where another series is printed, and is not finite."""
    return ~np.isfinite(view.beside(name)) & ~view.lacks(name)


def _grows_then_zero(view: View, least: float) -> bool:
    """Whether a cross-entropy ends in three zeros or more, out of a value above its start."""
    other = view.setup.objective is not Objective.CROSS_ENTROPY
    if other or len(view.main) < 4 or (view.values[-3:] != 0).any() or not view.values[0] >= least:
        return False
    return bool(view.values[np.flatnonzero(view.values)[-1]] > view.values[0])


def _turned(view: View, first: int) -> Seen:
    before = view.values[:first]
    finite = before[np.isfinite(before)]
    captures = {"first_step": at(view.steps[first]), "value": shown(view.values[first])}
    if len(finite):
        captures |= {"before": shown(finite[-1]), "last_good_step": at(view.steps[:first][np.isfinite(before)][-1])}
        captures |= _climb(finite, view.steps[:first][np.isfinite(before)])
    return Seen(first, len(view.main) - 1, captures)


def _climb(values: Floats, steps: Floats) -> dict[str, str]:
    """How a loss rose to its last finite values, if it did: by ``CLIMB`` since its lowest, over more than two points."""
    values, steps = values[-LAST:], steps[-LAST:]
    lowest, end = int(np.argmin(values)), float(np.median(values[-3:]))
    if len(values) - lowest < 4 or values[lowest] <= 0 or end < CLIMB * values[lowest]:
        return {}
    return {
        "rose": f"from {shown(values[lowest])} at step {at(steps[lowest])} to {shown(values[-1])} at step {at(steps[-1])}"
    }


def zero(view: View, limits: Limits) -> Answer:
    """Below ``below`` at ``row`` points in a row, from the start or out of a loss above ``from``: not what memorising looks
    like. A normal gradient norm means that only the display rounds to zero."""
    norm = view.beside("grad_norm")
    flags = (
        (np.abs(view.values) < limits["below"])
        & ~(np.abs(norm) > limits["grad_norm"])
        & (np.isfinite(norm) | view.lacks("grad_norm"))
    )
    first, last = longest_stretch(flags)
    if last - first + 1 < limits["row"]:
        return None
    if first > 0 and view.values[first - 1] < limits["from"]:
        return None
    return Seen(first, last, {"first_step": at(view.steps[first]), "points": str(last - first + 1)})
