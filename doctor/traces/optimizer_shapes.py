"""Shapes of what the optimizer prints: gradient norm, learning rate, loss scale."""

import numpy as np

from doctor.finding import Severity
from doctor.points import Floats
from doctor.traces.robust import longest_stretch
from doctor.traces.rolling import median_before
from doctor.traces.view import Answer, Limits, Seen, Undecided, View, at, shown, too_short

# A schedule that holds the rate on purpose.
CONSTANT = ("constant", "constant_with_warmup", "none")
# Schedules that only fall behind their warm-up.
FALLING = ("linear", "cosine", "polynomial", "inverse_sqrt", "cosine_with_min_lr", "warmup_stable_decay")


def exploding(view: View, limits: Limits) -> Answer:
    """A gradient norm of ``ratio`` times the median of the ``median`` points before it that stays above ``stays`` times it for
    the next ``row`` points, or one above ``level``, and ``stays`` times above that median, for ``level_points``
    points; not in the first ``after`` steps, and no burst if more than ``often`` of the settled points before it had ``part`` of
    the peak already: so much the norm of this run scatters.

    With a loss scale beside it the norm may be printed unscaled, so its level says nothing.
    """
    short = too_short(view, limits["points"])
    if short:
        return short
    base, settled = median_before(view.values, int(limits["median"]), 8), view.settled(limits["after"])
    high = (view.values >= limits["ratio"] * base) & settled & (base > 0)
    for first in np.flatnonzero(high).tolist():
        following = view.values[first + 1 : first + 1 + int(limits["row"])]
        before, peak = view.values[:first][settled[:first]], float(np.nanmax(view.values[first:]))
        usual = np.count_nonzero(before >= limits["part"] * peak) > limits["often"] * len(before)
        if len(following) and (following >= limits["stays"] * base[first]).all() and not usual:
            onset = _onset_of_highest(view.values, first, limits["stays"] * float(base[first]))
            return _exploded(view, onset, float(base[onset]))
    return None if "loss_scale" in view.run.series else _stays_high(view, limits)


def _stays_high(view: View, limits: Limits) -> Answer:
    first, last = longest_stretch((view.values > limits["level"]) & view.settled(limits["after"]))
    if last - first + 1 < limits["level_points"]:
        return None
    before = view.values[max(first - int(limits["median"]), 0) : first or 1]  # a norm that drifts there has not jumped
    usual, level = float(np.median(before)), float(np.median(view.values[first : first + int(limits["level_points"])]))
    jumped = usual <= limits["level"] and level >= limits["stays"] * usual
    return _exploded(view, first, usual) if jumped else None


def _onset_of_highest(values: Floats, first: int, level: float) -> int:
    """Where the stretch above a level begins that holds the highest value from here on."""
    peak = first + int(np.nanargmax(values[first:]))
    calm = np.flatnonzero(~(values[first:peak] >= level))
    return first + int(calm[-1]) + 1 if len(calm) else first


def _exploded(view: View, first: int, base: float) -> Seen:
    peak = float(np.nanmax(view.values[first:]))
    captures = {"first_step": at(view.steps[first]), "before": shown(base), "value": shown(peak)}
    return Seen(first, len(view.main) - 1, captures)


def vanishing(view: View, limits: Limits) -> Answer:
    """A gradient norm below ``below`` at ``row`` points in a row while the loss is above ``loss`` and the learning rate, where
    it is printed, above zero."""
    loss, rate = view.beside("loss"), view.beside("learning_rate")
    flags = (view.values < limits["below"]) & (np.abs(loss) > limits["loss"]) & ~(rate == 0)
    first, last = longest_stretch(flags)
    if last - first + 1 < limits["row"]:
        return None
    captures = {
        "first_step": at(view.steps[first]),
        "value": shown(float(np.max(view.values[first : last + 1]))),
        "loss": shown(loss[first]),
    }
    return Seen(first, last, captures)


def rate_stuck(view: View, limits: Limits) -> Answer:
    """A learning rate of zero at ``row`` points in a row where the print is fine enough to tell; the same rate at ``same``
    points under a schedule that changes it; or one rate all along that is below ``peak`` of the configured one."""
    short = too_short(view, limits["points"])
    if short:
        return short
    return _zero_rate(view, limits) or _same_rate(view, limits) or _low_rate(view, limits)


def _zero_rate(view: View, limits: Limits) -> Answer:
    first, last = longest_stretch(view.values == 0)
    count, positive = last - first + 1, view.values[view.values > 0]
    if count < limits["row"] or count < limits["share"] * len(view.main):
        return None
    if len(positive) and positive.min() > limits["resolution"] * positive.max():
        return Undecided("learning_rate: printed with too few decimals to tell zero from small")
    if not len(positive) and not _stands_still(view, limits):
        return Undecided("learning_rate: printed as zero throughout, while the loss moves; perhaps too few decimals")
    captures = {"first_step": at(view.steps[first]), "value": "0", "points": str(count), "what": "is zero"}
    if last == len(view.main) - 1 and (parts := _parts(view.steps[first] / view.steps[-1], limits["part"])):
        captures["factor"] = str(parts)
    return Seen(first, last, captures)


def _parts(share: float, near: float) -> int | None:
    """n, if a share is 1/n of the whole."""
    parts = round(1 / share) if share > 0 else 0
    return parts if parts > 1 and abs(share * parts - 1) <= near else None


def _stands_still(view: View, limits: Limits) -> bool:
    loss = view.run.series.get("loss")
    if loss is None or len(loss) < 4:
        return False
    half = len(loss) // 2
    early, late = float(np.median(loss.values[:half])), float(np.median(loss.values[half:]))
    return abs(early - late) <= limits["still"] * abs(early)


def _same_rate(view: View, limits: Limits) -> Answer:
    if not view.setup.scheduler or view.setup.scheduler.lower() in CONSTANT:
        return None
    settled = view.steps - view.steps[0] >= view.setup.warmup
    first, last = longest_stretch(np.concatenate(([False], np.diff(view.values) == 0)) & settled & (view.values > 0))
    if last - first + 2 < limits["same"]:
        return None
    captures = {
        "first_step": at(view.steps[max(first - 1, 0)]),
        "value": shown(view.values[first]),
        "points": str(last - first + 2),
        "what": f"does not change under the {view.setup.scheduler} schedule",
    }
    return Seen(max(first - 1, 0), last, captures)


def _low_rate(view: View, limits: Limits) -> Answer:
    """One and the same rate all along, far below the configured one."""
    wanted, highest = view.setup.learning_rate, float(np.max(view.values))
    if wanted is None or not 0 < highest < limits["peak"] * wanted or not view.setup.starts or _moves(view):
        return None
    if view.steps[-1] - view.steps[0] < max(2 * view.setup.warmup, limits["steps"]) or len(view.main) < limits["same"]:
        return None
    captures = {
        "first_step": at(view.steps[0]),
        "value": shown(highest),
        "points": str(len(view.main)),
        "what": f"never comes near the configured {shown(wanted)}",
    }
    return Seen(0, len(view.main) - 1, captures)


def _moves(view: View) -> bool:
    return bool(view.values.min() < view.values.max())


def rate_below_peak(view: View, limits: Limits) -> Answer:
    """A learning rate that moves and never reaches ``peak`` of the configured one in a run that is seen from its start to behind
    twice its warm-up and ``steps`` steps; not while it still rises at the end."""
    short = too_short(view, limits["points"])
    if short:
        return short
    wanted, highest = view.setup.learning_rate, float(np.max(view.values))
    if wanted is None or highest >= limits["peak"] * wanted or not view.setup.starts or not _moves(view):
        return None
    if view.steps[-1] - view.steps[0] < max(2 * view.setup.warmup, limits["steps"]) or _still_rises(view):
        return Undecided("learning_rate: the log ends before the rate can have reached its peak")
    captures = {"first_step": at(view.steps[0]), "last_step": at(view.steps[-1])}
    captures |= {"value": shown(highest), "wanted": shown(wanted)}
    return Seen(0, len(view.main) - 1, captures)


def _still_rises(view: View) -> bool:
    """Whether the last rate is the highest, and higher than in the middle."""
    values = view.values
    return bool(values[-1] == values.max() and values[-1] > values[len(values) // 2])


def long_warmup(view: View, limits: Limits) -> Answer:
    """A warm-up that the configuration sets to more than ``share`` of the planned steps, if ``steps`` are planned at least, and
    during which the printed rate rises. It is a warning where the warm-up never ends."""
    setup, total = view.setup, view.setup.total
    if total is None or not setup.warmup_set or total < limits["steps"] or setup.warmup <= limits["share"] * total:
        return None
    during = view.values[view.steps <= min(setup.warmup, total)]
    if len(during) < limits["points"]:
        return Undecided(f"learning_rate: fewer than {limits['points']:.0f} points in the warm-up")
    if not (np.diff(during) >= 0).all() or during[-1] <= during[0]:
        return None
    captures = {
        "first_step": at(view.steps[0]),
        "warmup": at(setup.warmup),
        "total": at(total),
        "percent": f"{100 * setup.warmup / total:.0f}",
        "value": shown(view.values.max()),
        "what": "never" if setup.warmup >= total else "late",
    }
    never = setup.warmup >= total
    return Seen(0, len(during) - 1, captures, severity=Severity.WARNING if never else None)


def rate_restarts(view: View, limits: Limits) -> Answer:
    """A learning rate that has fallen to less than 1/``ratio`` and rises again, by ``ratio`` and to ``share`` of its peak, under a
    schedule that only falls behind its warm-up."""
    short = too_short(view, limits["points"])
    if short:
        return short
    if view.setup.scheduler.lower() not in FALLING:
        return None
    values, peak = view.values, float(view.values.max())
    fallen = np.flatnonzero(values * limits["ratio"] <= np.maximum.accumulate(values))
    if not len(fallen):
        return None
    behind = values[fallen[0] :]
    up = (behind >= limits["ratio"] * np.minimum.accumulate(behind)) & (behind >= limits["share"] * peak) & (behind > 0)
    if not up.any():
        return None
    first = int(fallen[0]) + int(np.argmax(up))
    captures = {
        "first_step": at(view.steps[first]),
        "before": shown(float(values[fallen[0] : first + 1].min())),
        "value": shown(values[first]),
        "what": view.setup.scheduler,
    }
    return Seen(first, len(view.main) - 1, captures)


def scale_floor(view: View, limits: Limits) -> Answer:
    """A loss scale that fell to ``floor`` or below in ``falls`` halvings without a rise between, and is there at the end; or steps
    skipped in more than ``share`` of the iterations behind the first ``after`` steps."""
    if view.main.name == "skipped":
        return _skipping(view, limits)
    low = np.flatnonzero(view.values <= limits["floor"])
    if not len(low) or view.values[-1] > limits["floor"]:
        return None
    first = int(low[0])
    rises = np.flatnonzero(np.diff(view.values[: first + 1]) > 0)
    top = float(view.values[int(rises[-1]) + 1 if len(rises) else 0])
    halvings = np.log2(top / max(float(view.values[first:].min()), np.finfo(np.float64).tiny))
    if not halvings >= limits["falls"]:
        return None
    captures = {
        "first_step": at(view.steps[first]),
        "before": shown(float(view.values.max())),
        "value": shown(float(view.values.min())),
    }
    return Seen(first, len(view.main) - 1, captures)


def _skipping(view: View, limits: Limits) -> Answer:
    late = view.steps - view.steps[0] >= limits["after"]
    intervals = np.diff(view.steps, prepend=view.steps[0])[late].sum()
    skipped = float(view.values[late].sum())
    if intervals <= 0:
        return None
    if skipped <= limits["share"] * intervals or late.sum() < limits["points"]:
        return None
    first = int(np.argmax(late & (view.values > 0)))
    captures = {
        "first_step": at(view.steps[first]),
        "value": f"{100 * skipped / intervals:.0f} % of the iterations skipped",
        "before": "0",
    }
    return Seen(first, len(view.main) - 1, captures, severity=Severity.WARNING)
