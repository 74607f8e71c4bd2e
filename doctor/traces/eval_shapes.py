"""Shapes of what is evaluated: a loss that rises while training goes on, a quality that has fallen; or of what isn't."""

from dataclasses import replace

import numpy as np

from doctor.finding import Severity
from doctor.points import Floats
from doctor.traces.robust import noise_of
from doctor.traces.series import Series
from doctor.traces.view import Answer, Limits, Seen, View, at, shown, too_short

# Series of quality, those that tell most first, and whether more is better.
QUALITIES = {
    "eval_f1": True,
    "eval_exact_match": True,
    "eval_bleu": True,
    "eval_rouge": True,
    "eval_correlation": True,
    "eval_wer": False,
    "eval_cer": False,
    "eval_accuracy": True,
}
# A quality is near its best where its error is within this share of the lowest.
NEAR_BEST = 0.05
# So many evaluations tell how large a loss is at the start.
FIRST = 3


def overfit(view: View, limits: Limits) -> Answer:
    """An evaluation loss above its best by ``ratio`` and by ``rise`` at the last ``row`` evaluations, while the training loss
    has gone on falling, by ``fall`` of itself and by more than its noise. ``few`` evaluations do where the last is
    ``few_ratio`` times the best.

    Where a quality is still at its best at the end, that one tells which checkpoint to take; where its error has shrunk by
    ``gain`` since the loss was best, it is a note, unless the loss is ``much`` times its best.
    """
    short, best = too_short(view, limits["points"]), _worse_since(view, limits)
    times = np.nan if best is None else float(view.values[-1] / view.values[best])
    if short and not (times > limits["few_ratio"] and len(view.main) >= limits["few"]):
        return short
    if best is None or _only_dipped(view.values, best, limits["level"]):
        return None
    change, noise = _train_change(view, best)
    if not change < -max(limits["fall"], noise):
        return None
    seen = _with_quality(view, _since_best(view, best), limits["gain"])
    return replace(seen, severity=None) if times > limits["much"] else seen


def eval_divergence(view: View, limits: Limits) -> Answer:
    """The same, while the training loss has risen as well, by ``train`` of itself: nothing is learned by heart here."""
    short = too_short(view, limits["points"])
    if short:
        return short
    best = _worse_since(view, limits)
    return None if best is None or not _train_change(view, best)[0] > limits["train"] else _since_best(view, best)


def eval_lost(view: View, limits: Limits) -> Answer:
    """An evaluation loss of ``much`` times its best at the end, and at ``most`` of the evaluations since, ``points`` of them or
    more, whatever the training loss says."""
    short = too_short(view, limits["points"] + 1)
    if short:
        return short
    values = view.values
    if not np.isfinite(values).all() or not values.min() > 0:
        return None
    best = int(np.argmin(values))
    far = values[best + 1 :] > limits["much"] * values[best]
    lost = len(far) >= limits["points"] and far.mean() >= limits["most"] and far[-1]
    return _since_best(view, best) if lost and not _only_dipped(values, best, limits["level"]) else None


def by_heart(view: View, limits: Limits) -> Answer:
    """Without any evaluation, a loss whose last tenth lies below ``scratch`` though it began between ``from`` and ``most``, as a
    model does that knows nothing; or below ``tuned`` after ``epochs`` epochs, from a start above ``start``."""
    short = too_short(view, limits["points"])
    if short:
        return short
    values, epoch = view.values, view.run.series.get("epoch")
    evaluated = any(name.startswith("eval_") or name == "accuracy" for name in view.run.series)
    if evaluated or not view.setup.starts or not np.isfinite(values).all():
        return None
    end = float(np.median(values[-max(len(values) // 10, 3) :]))
    epochs = float(epoch.values.max()) if epoch is not None and len(epoch) else 0.0
    scratch = limits["from"] <= values[0] <= limits["most"] and end < limits["scratch"]
    tuned = limits["start"] <= values[0] <= limits["most"] and end < limits["tuned"] and epochs > limits["epochs"]
    if end <= 0 or not (scratch or tuned):
        return None
    first = int(np.argmax(values < limits["scratch" if scratch else "tuned"]))
    captures = {"before": shown(values[0]), "value": shown(end), "first_step": at(view.steps[first])}
    captures |= {"last_step": at(view.steps[-1]), "what": "scratch" if scratch else "tuned", "epoch": f"{epochs:.0f}"}
    return Seen(first, len(values) - 1, captures)


def stands_below(view: View, limits: Limits) -> Answer:
    """The same value to the last digit at all of the last ``share`` of the points, ``points`` of them or more, and below
    ``ratio`` times the best before."""
    short = too_short(view, limits["points"] / limits["share"])
    if short:
        return short
    values = view.values
    changes = np.flatnonzero(values != values[-1])
    first = int(changes[-1]) + 1 if len(changes) else 0
    if first > (1 - limits["share"]) * len(values) or not first:
        return None
    best = int(np.argmax(values[:first]))
    if not values[-1] < limits["ratio"] * values[best]:
        return None
    captures = {
        "first_step": at(view.steps[first]),
        "value": shown(values[-1]),
        "before": shown(values[best]),
        "best_step": at(view.steps[best]),
        "points": str(len(values) - first),
    }
    return Seen(first, len(values) - 1, captures)


def _worse_since(view: View, limits: Limits) -> int | None:
    """The best evaluation, if the last ``row`` are worse by ``ratio`` and by ``rise``, which is at most ``scale`` of the first
    evaluations: a loss that is small from the start rises by little."""
    values = view.values
    if not np.isfinite(values).all():
        return None
    best = int(np.argmin(values))
    rise = min(limits["rise"], limits["scale"] * float(values[:FIRST].max()))
    worse = (values > (1 + limits["ratio"]) * values[best]) & (values > values[best] + rise)
    return best if len(values) - 1 - best >= limits["row"] and worse[-int(limits["row"]) :].all() else None


def _only_dipped(values: Floats, best: int, near: float) -> bool:
    """Whether most of the evaluations before the best stood at one level, and the last has only come back to it."""
    before = values[:best]
    if len(before) < 3:
        return False
    level = float(np.median(before))
    stood = np.abs(before - level) <= near * level
    return bool(stood.mean() > 0.5 and values[-1] <= (1 + near) * level)


def _since_best(view: View, best: int) -> Seen:
    before, value = view.values[best], view.values[-1]
    captures = {
        "first_step": at(view.steps[best]),
        "before": shown(before),
        "value": shown(value),
        "percent": f"{100 * (value / before - 1):.0f}",
    }
    return Seen(best, len(view.main) - 1, captures)


def _train_change(view: View, best: int) -> tuple[float, float]:
    """By how much of itself the training loss has changed since the best evaluation, and how much of that may be noise; NaN
    where it isn't known."""
    loss = view.run.series.get("loss", view.run.series.get("eval_train_loss"))
    if loss is None or len(loss) < 2:
        return np.nan, np.nan
    width = min(max(len(loss) // 10, 1), 10)
    here = min(max(int(np.searchsorted(loss.steps, view.steps[best], side="right")), 1), len(loss))
    early, late = np.median(loss.values[max(here - width, 0) : here]), np.median(loss.values[-width:])
    noise = 2 * noise_of(loss.values[here - 1 :]) / np.sqrt(width)
    return float(np.divide(late, early)) - 1, float(np.divide(noise, early))


def _with_quality(view: View, seen: Seen, gain: float) -> Seen:
    """With the first quality whose error is still near its lowest and no larger than when the loss was best, and how it has
    changed since."""
    for name, more in QUALITIES.items():
        series = view.run.series.get(name)
        then = None if series is None else np.flatnonzero(series.steps <= view.steps[seen.first])
        if series is None or then is None or not len(then) or then[-1] == len(series) - 1:
            continue
        errors = _errors(series, more)
        if errors[-1] > min((1 + NEAR_BEST) * errors.min(), errors[then[-1]]):
            continue
        values = series.values[then[-1]], series.values[-1]
        captures = {"metric": name, "metric_before": shown(values[0]), "metric_value": shown(values[1])}
        better = errors[-1] <= (1 - gain) * errors[then[-1]]
        return replace(seen, captures={**seen.captures, **captures}, severity=Severity.NOTE if better else None)
    return seen


def _errors(series: Series, more: bool) -> Floats:
    """What is missing to a perfect value, of 1 or of 100; where less is better, the value itself."""
    most = 100.0 if series.values.max() > 1 else 1.0
    return most - series.values if more else series.values
