"""What else shows that a model only guesses where its loss is flat: an accuracy or a correlation that says so all along."""

import numpy as np

from doctor.points import Floats
from doctor.traces.robust import kendall_tau
from doctor.traces.series import Series
from doctor.traces.view import Limits, View, shown

# So few evaluations tell nothing.
FEWEST = 3


def seen_guess(view: View, level: float, still: bool, limits: Limits) -> dict[str, str] | None:
    """The captures of the first witness that a model with a loss of this level guesses, unless its evaluation loss has fallen by
    more than ``few_moved``:

    a correlation that is below ``chance`` at all evaluations; an accuracy at most ``guess`` times that of a uniform guess with
    this loss, which does not rise; or, where the loss stands still, one that is the same at ``same`` evaluations and below
    ``solved``.
    """
    evals, series = view.run.series.get("eval_loss"), view.run.series
    if evals is not None and len(evals) and evals.values.min() < (1 - limits["few_moved"]) * evals.values[0]:
        return None
    one = series.get("eval_correlation")
    if one is not None and len(one) >= FEWEST and np.abs(one.values).max() < limits["chance"]:
        return _told(one)
    for name in ("eval_accuracy", "accuracy"):
        one = series.get(name)
        if one is not None and len(one) >= FEWEST and _is_guess(_share(one), level, still, limits):
            return _told(one)
    return None


def _is_guess(share: Floats, level: float, still: bool, limits: Limits) -> bool:
    """Whether an accuracy is that of a guess. A model that knows something is right far more often than exp(-loss); one that
    is never right may be measured wrongly."""
    if not np.median(share) > 0:
        return False
    constant = still and len(share) >= limits["same"] and share.min() == share.max() and share[0] < limits["solved"]
    uniform = level >= limits["level"] and float(np.median(share)) <= limits["guess"] * np.exp(-level)
    return bool(constant or (uniform and kendall_tau(share) < limits["tau"]))


def _share(accuracy: Series) -> Floats:
    return accuracy.values / 100 if accuracy.values.max() > 1 else accuracy.values


def _told(one: Series) -> dict[str, str]:
    return {"metric": one.name, "metric_value": f"between {shown(one.values.min())} and {shown(one.values.max())}"}
