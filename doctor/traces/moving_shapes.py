"""Shapes of the loss that show in how it moves: spikes, divergence, jumps, stairs."""

from dataclasses import dataclass

import numpy as np

from doctor.finding import Confidence, Severity
from doctor.points import Flags, Floats
from doctor.traces.robust import kendall_tau, noise_of
from doctor.traces.rolling import median_before, median_of_windows, noise_before
from doctor.traces.series import Series
from doctor.traces.view import Answer, Limits, Seen, Undecided, View, at, shown, too_short
from doctor.traces.vocabularies import nearest_vocabulary

# The last tenth of a trace, but no fewer and no more points than these.
FEWEST, MOST = 3, 50
# A run ends above its start where all but this share of its second half does.
MOST_ABOVE = 0.4

# So many jumps, at more than this share of the points, are how the loss of this run scatters: its batches differ much.
MANY, USUAL = 20, 0.01


def spike(view: View, limits: Limits) -> Answer:
    """A point that exceeds the median of the ``median`` points before it by ``ratio``, by ``rise`` and by ``noise`` times the
    noise of the ``noise_points`` before it, while the next ``row`` points stay above a third of the jump. Two points are enough
    where both are ``sharp`` times the median and above all of those ``noise_points``.

    Not in the first ``after`` steps of a run whose start is seen, and not where training was resumed. It has recovered once the
    loss is within ``recovered`` of the median again, at most ``within`` steps or ``within_points`` points later; then it is a
    note, unless it reached ``violent`` times the median and ``violent_rise`` more, and such jumps are not usual in this run. Of
    several the one that has not recovered is told, otherwise the highest.
    """
    short = too_short(view, limits["points"])
    if short:
        return short
    base = median_before(view.values, int(limits["median"]), 4)
    noise = noise_before(view.values, int(limits["noise_points"]), 4)
    jump = view.values - base
    high = (view.values >= limits["ratio"] * base) & (jump >= limits["rise"]) & (jump >= limits["noise"] * noise)
    high &= view.settled(limits["after"]) & ~_resumed(view, int(limits["median"]))
    found, over = list[_Jump](), -1
    for first in np.flatnonzero(high).tolist():
        level = float(base[first])
        if first > over and (_lasts(view.values, first, level, limits) or _sharp(view.values, first, level, limits)):
            found.append(_followed(view, limits, first, level))
            over = found[-1].last
    worst = max(found, key=lambda one: (not one.recovered, one.peak / one.base), default=None)
    return None if worst is None else _spike(view, limits, worst, int(high.sum()))


def _lasts(values: Floats, first: int, base: float, limits: Limits) -> bool:
    """Whether the points behind a jump stay up; at the end of the log a jump to twice the level may be all there is."""
    following = values[first + 1 : first + 1 + int(limits["row"])]
    enough = len(following) == limits["row"] or values[first] >= 2 * base
    return bool(enough and (following > base + (values[first] - base) / 3).all())


def _sharp(values: Floats, first: int, base: float, limits: Limits) -> bool:
    """Whether two points in a row are far above the level and above all that came before; one alone is a bad batch."""
    pair, before = values[first : first + 2], values[max(first - int(limits["noise_points"]), 0) : first]
    return len(pair) == 2 and bool((pair >= limits["sharp"] * base).all() and (pair > before.max()).all())


@dataclass(frozen=True, slots=True)
class _Jump:
    """A spike: the level before it, its highest value, the point at which it is over (the last one looked at if it isn't)."""

    first: int
    last: int
    base: float
    peak: float
    recovered: bool


def _followed(view: View, limits: Limits, first: int, base: float) -> _Jump:
    until = int(np.searchsorted(view.steps, view.steps[first] + limits["within"], side="right"))
    until = max(until, first + int(limits["within_points"]))
    back = np.flatnonzero(view.values[first:until] <= (1 + limits["recovered"]) * base)
    last = first + int(back[0]) if len(back) else min(until, len(view.main)) - 1
    return _Jump(first, last, base, float(np.nanmax(view.values[first : last + 1])), len(back) > 0)


def _spike(view: View, limits: Limits, jump: _Jump, count: int) -> Seen:
    captures = {
        "first_step": at(view.steps[jump.first]),
        "before": shown(jump.base),
        "value": shown(jump.peak),
        "factor": shown(jump.peak / jump.base),
        "recovered": f"back at step {at(view.steps[jump.last])}"
        if jump.recovered
        else f"not back by {'the end of the log' if jump.last == len(view.main) - 1 else f'step {at(view.steps[jump.last])}'}",
        "points": str(count),
    }
    norm = view.run.series.get("grad_norm")
    if norm is not None and (lead := _lead(view, norm, jump.first)):
        captures["lead"] = lead
    usual = count > max(MANY, USUAL * len(view.main))
    violent = jump.peak >= max(limits["violent"] * jump.base, jump.base + limits["violent_rise"])
    harmless = jump.recovered and (usual or not violent)
    return Seen(jump.first, jump.last, captures, severity=Severity.NOTE if harmless else None)


def _lead(view: View, norm: Series, first: int) -> str:
    """The steps by which the gradient norm rose before the loss did; empty if it didn't."""
    here = int(np.searchsorted(norm.steps, view.steps[first]))
    base = float(np.median(norm.values[max(here - 30, 0) : max(here - 6, 1)])) if here else 0.0
    early = np.flatnonzero(norm.values[max(here - 6, 0) : here] > 3 * base)
    return at(view.steps[first] - norm.steps[max(here - 6, 0) + int(early[0])]) if len(early) and base > 0 else ""


def _resumed(view: View, points: int) -> Flags:
    """The points right behind a resumption."""
    flags = np.zeros(len(view.main), np.bool_)
    for step in view.run.restarts:
        start = int(np.searchsorted(view.steps, step))
        flags[start : start + points] = True
    return flags


def spike_score(values: Floats, sigmas: float = 7.0, width: int = 1000) -> float | None:
    """OLMo 2's figure: the percentage of values at least ``sigmas`` standard deviations above the mean of the last ``width``
    (arXiv 2501.00656); None for a trace shorter than that. Healthy runs have below 0.5."""
    if len(values) <= width:
        return None
    sums, squares = np.cumsum(np.insert(values, 0, 0.0)), np.cumsum(np.insert(values**2, 0, 0.0))
    mean = (sums[width:-1] - sums[: -width - 1]) / width
    deviation = np.sqrt(np.maximum((squares[width:-1] - squares[: -width - 1]) / width - mean**2, 0.0))
    return float(100 * np.mean(values[width:] >= mean + sigmas * deviation))


def divergence(view: View, limits: Limits) -> Answer:
    """The median of the last tenth exceeds the best median of as many points by ``ratio``, by ``rise`` and by ``noise`` times
    its uncertainty; the best lies before the last third and behind the warm-up's first half. Or the run ends ``worse`` times
    above its own start, whatever it reached in between. ``few`` points do where the last third lies ``much`` times above the
    start and they rise all along, by a rank correlation of ``tau``."""
    values, steps = view.values[np.isfinite(view.values)], view.steps[np.isfinite(view.values)]
    if len(values) < limits["points"]:
        return _runs_away(view, limits, values, steps)
    width = _tenth(values)
    starts, medians = median_of_windows(values, width)
    lowest, end = int(np.argmin(medians)), float(medians[-1])
    best = int(starts[lowest])
    rise = end - medians[lowest]
    sure = rise > limits["noise"] * noise_of(values) / np.sqrt(width)
    worse = view.setup.starts and _worse_than_start(values, limits["worse"])
    climbed = end > limits["ratio"] * medians[lowest] and sure and best < 2 * len(values) / 3
    if rise <= limits["rise"] or not (climbed or worse):
        return None
    if view.setup.starts and steps[-1] - steps[0] < view.setup.warmup + limits["after"]:
        return Undecided("loss: the log ends within the warm-up")
    if worse:
        return _undone(view, values, steps)
    turn = best + width - 1
    captures = {
        "first_step": at(steps[turn]),
        "before": shown(medians[lowest]),
        "value": shown(end),
        "last_step": at(steps[-1]),
    }
    captures |= _rate(view, limits, float(steps[turn]))
    return Seen(int(np.searchsorted(view.steps, steps[turn])), len(view.main) - 1, captures)


def _runs_away(view: View, limits: Limits, values: Floats, steps: Floats) -> Answer:
    """A run of few points that rises from its start on, so far that no warm-up explains it."""
    if not view.setup.starts or len(values) < limits["few"]:
        return too_short(view, limits["points"])
    last, level = values[2 * len(values) // 3 :], max(float(np.median(values[:FEWEST])), float(values[0]))
    away = last.min() > max(limits["much"] * level, level + limits["rise"])
    if not away or kendall_tau(values) < limits["tau"]:
        return too_short(view, limits["points"])
    epochs = view.beside("epoch")
    if steps[-1] - steps[0] < view.setup.warmup + limits["after"] and not epochs[-1] - epochs[0] >= 1:
        return Undecided("loss: the log ends within the warm-up")
    captures = {"first_step": at(steps[0]), "before": shown(values[0])}
    captures |= {"value": shown(values[-1]), "last_step": at(steps[-1]), "what": "away"}
    return Seen(0, len(view.main) - 1, captures)


def _worse_than_start(values: Floats, ratio: float) -> bool:
    """Whether most of the second half, and of the last tenth, lie that far above the first points. A loss that swings between
    two levels does not, nor one that is lifted by a few bad batches."""
    most = float(np.quantile(values[len(values) // 2 :], MOST_ABOVE))
    return min(most, float(np.median(values[-_tenth(values) :]))) > ratio * float(np.median(values[:FEWEST]))


def _undone(view: View, values: Floats, steps: Floats) -> Seen:
    """A run that ends above its start, with the best that it reached in between."""
    best = int(np.argmin(values))
    captures = {
        "first_step": at(steps[0]),
        "before": shown(float(np.median(values[:FEWEST]))),
        "value": shown(float(np.median(values[-_tenth(values) :]))),
        "last_step": at(steps[-1]),
        "best": shown(values[best]),
        "best_step": at(steps[best]),
    }
    return Seen(0, len(view.main) - 1, captures)


def _rate(view: View, limits: Limits, turn: float) -> dict[str, str]:
    """What the learning rate has to do with it: it ``grew`` by that factor behind the turn, or it is ``high``, above the limit
    for an adapter, for a pretrained model or for one from scratch."""
    rate, setup = view.run.series.get("learning_rate"), view.setup
    if rate is None or not len(rate) or not (rate.steps <= turn).any():
        return {}
    before, peak = float(rate.values[rate.steps <= turn].max()), float(rate.values.max())
    highest = limits["adapter"] if setup.adapter else limits["pretrained"] if setup.pretrained else limits["scratch"]
    what = "grew" if peak >= limits["grew"] * before else "high" if peak > highest else "usual"
    return {"what": what, "learning_rate": shown(peak), "usual": shown(before if what == "grew" else highest)}


def back_to_uniform(view: View, limits: Limits) -> Answer:
    """The last tenth lies above ``high`` of the uniform loss after the loss was below ``low`` of it. Where the vocabulary isn't
    known, the first loss stands for the uniform loss, if it lies near that of some family."""
    short = too_short(view, limits["points"])
    if short:
        return short
    values = view.values[np.isfinite(view.values)]
    if len(values) < limits["points"]:
        return None
    known = view.setup.vocabulary
    if known is None and view.setup.starts:
        known = nearest_vocabulary(float(values[0]), limits["near"])
    if known is None:
        return None
    end = float(np.median(values[-_tenth(values) :]))
    low = np.flatnonzero(values < limits["low"] * known.uniform_loss)
    if not len(low) or end <= limits["high"] * known.uniform_loss or end > limits["most"] * known.uniform_loss:
        return None
    gone = int(np.flatnonzero(view.values < limits["low"] * known.uniform_loss)[-1]) + 1
    gone = min(gone, len(view.main) - 1)
    captures = {
        "first_step": at(view.steps[gone]),
        "before": shown(float(values.min())),
        "value": shown(end),
        "uniform": shown(known.uniform_loss),
        "vocabulary": str(known.size),
    }
    return Seen(gone, len(view.main) - 1, captures, confidence=None if known.certain else Confidence.MEDIUM)


def jump_at_resume(view: View, limits: Limits) -> Answer:
    """The median of the ``points`` behind a resumption exceeds that of the points before it by ``ratio`` of it and by
    ``noise`` times the noise; or one of the first ``within`` points does, and with it ``row`` in a row exceed it by the noise: a
    jump that training makes up for within a few points. It may come late, as the optimizer's state is what is missing."""
    answers = [_jump(view, limits, step) for step in view.run.restarts]
    seen = [answer for answer in answers if isinstance(answer, Seen)]
    undecided = [answer for answer in answers if isinstance(answer, Undecided)]
    return seen[0] if seen else undecided[0] if undecided else None


def _jump(view: View, limits: Limits, step: float) -> Answer:
    points, start = int(limits["points"]), int(np.searchsorted(view.steps, step))
    before, after = view.values[max(start - points, 0) : start], view.values[start : start + points]
    if min(len(before), len(after)) < limits["least"]:
        return Undecided(
            f"loss: fewer than {limits['least']:.0f} points on one side of the resumption at step {at(step)}"
        )
    level, now = float(np.median(before)), float(np.median(after))
    noise = noise_of(view.values[max(start - 50, 0) : start])
    least = limits["noise"] * noise
    lasting = now - level > max(limits["ratio"] * level, least)
    row = int(limits["row"])
    places = range(min(int(limits["within"]), len(after) - row + 1))
    jumps = [
        n for n in places if after[n] > (1 + limits["ratio"]) * level and (after[n : n + row] - level > least).all()
    ]
    if not lasting and not jumps:
        return None
    captures = {
        "first_step": at(step),
        "before": shown(level),
        "value": shown(now if lasting else float(after[jumps[0]])),
    }
    rate = view.run.series.get("learning_rate")
    if rate is not None and 0 < (here := int(np.searchsorted(rate.steps, step))) < len(rate):
        captures["learning_rate"] = f"{shown(rate.values[here - 1])} before, {shown(rate.values[here])} after"
    return Seen(start, min(start + points, len(view.main) - 1), captures)


def drop_at_resume(view: View, limits: Limits) -> Answer:
    """The median of the ``points`` behind a resumption is below that of the points before it by ``ratio`` of it and by ``noise``
    times the noise, and the epoch falls there though the steps go on: rows come again that the weights know already."""
    for step in view.run.restarts:
        points, start = int(limits["points"]), int(np.searchsorted(view.steps, step))
        before, after = view.values[max(start - points, 0) : start], view.values[start : start + points]
        epochs = _epochs_around(view, step)
        if min(len(before), len(after)) < limits["least"] or epochs is None or epochs[1] >= epochs[0]:
            continue
        level, now = float(np.median(before)), float(np.median(after))
        if level - now > max(
            limits["ratio"] * level, limits["noise"] * noise_of(view.values[max(start - 50, 0) : start])
        ):
            captures = {"first_step": at(step), "before": shown(level), "value": shown(now)}
            captures |= {"epoch": shown(epochs[0]), "again": shown(epochs[1])}
            return Seen(start, min(start + points, len(view.main) - 1), captures)
    return None


def _epochs_around(view: View, step: float) -> tuple[float, float] | None:
    """The last epoch before a resumption and the first behind it."""
    epoch = view.run.series.get("epoch")
    here = 0 if epoch is None else int(np.searchsorted(epoch.steps, step))
    return (float(epoch.values[here - 1]), float(epoch.values[here])) if epoch and 0 < here < len(epoch) else None


def staircase(view: View, limits: Limits) -> Answer:
    """The loss falls by ``drop`` of its level at ``borders`` epoch borders or more, and by less than ``inside`` of it within
    each epoch behind the first. Not where the evaluation loss ends within ``best`` of its lowest and has fallen: what rows tell
    that were never seen is not learned by heart."""
    epoch = np.floor(view.beside("epoch") + 1e-9)
    known = np.isfinite(epoch) & np.isfinite(view.values)
    epochs = np.unique(epoch[known])
    parts = [view.values[known & (epoch == one)] for one in epochs]
    parts = [part for part in parts if len(part) >= limits["points"]]
    if len(parts) < limits["borders"] + 1:
        return None
    quarter = [max(len(part) // 4, 1) for part in parts]
    starts = np.array([np.median(part[:n]) for part, n in zip(parts, quarter, strict=True)])
    ends = np.array([np.median(part[-n:]) for part, n in zip(parts, quarter, strict=True)])
    drops, inside = 1 - starts[1:] / ends[:-1], 1 - ends[1:] / starts[1:]
    stairs = (drops >= limits["drop"]) & (inside < limits["inside"])
    if stairs.sum() < limits["borders"] or _evals_fall(view, limits["best"]):
        return None
    border = int(np.argmax(known & (epoch == epochs[1 + int(np.argmax(stairs))])))
    captures = {
        "first_step": at(view.steps[border]),
        "before": shown(ends[0]),
        "value": shown(ends[-1]),
        "points": str(int(stairs.sum())),
    }
    return Seen(border, len(view.main) - 1, captures)


def _evals_fall(view: View, near: float) -> bool:
    """Whether the median of the last evaluations lies near the lowest loss or below, and below the first."""
    evals = view.run.series.get("eval_loss")
    if evals is None or len(evals) < FEWEST:
        return False
    end = float(np.median(evals.values[-FEWEST:]))
    return end <= (1 + near) * float(evals.values.min()) and end < float(evals.values[0])


def _tenth(values: Floats) -> int:
    return min(max(len(values) // 10, FEWEST), MOST)
