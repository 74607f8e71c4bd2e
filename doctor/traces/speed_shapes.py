"""Shapes of step times and memory: slower and slower, one long step, one slow rank, growth."""

from collections.abc import Mapping
from math import sqrt

import numpy as np

from doctor.finding import Severity
from doctor.points import Floats
from doctor.traces.robust import kendall_tau
from doctor.traces.rolling import median_of_windows
from doctor.traces.view import Answer, Limits, Seen, View, at, shown, too_short

# The first steps compile, allocate and fill caches.
WARM = 3


def slower(view: View, limits: Limits) -> Answer:
    """The last quarter of the step times is ``ratio`` times the first, and they rise with a Kendall tau of ``tau`` and in most
    fifths of the run; not where the steps do more, as longer completions or an even throughput show. Below ``much`` times it is a
    note: rows may just have become longer."""
    short = too_short(view, limits["points"])
    if short:
        return short
    times = (1 / view.values if view.main.name == "throughput" else view.values)[WARM:]
    quarter = max(len(times) // 4, 1)
    early, late = float(np.median(times[:quarter])), float(np.median(times[-quarter:]))
    if not late >= limits["ratio"] * early or kendall_tau(times) < limits["tau"] or _in_stages(times, limits):
        return None
    if _grows(view, "completion_length", limits["ratio"]) or _keeps_up(view, limits["ratio"]):
        return None
    first = WARM + int(np.argmax(times >= limits["ratio"] * early))
    captures = {"first_step": at(view.steps[first]), "factor": shown(late / early)}
    mild = late < limits["much"] * early
    return Seen(first, len(view.main) - 1, captures, severity=Severity.NOTE if mild else None)


def _in_stages(times: Floats, limits: Limits) -> bool:
    """Whether fewer than ``parts`` fifths of the run rise by ``share`` of an even rise: a schedule of batches or lengths."""
    rises = [np.log(_end(part) / _end(part[::-1])) for part in np.array_split(times, 5)]
    even = np.log(_end(times) / _end(times[::-1])) / 5
    return sum(bool(rise >= limits["share"] * even) for rise in rises) < limits["parts"]


def _end(values: Floats) -> float:
    """The median of the last third."""
    return float(np.median(values[-max(len(values) // 3, 1) :]))


def _grows(view: View, name: str, ratio: float) -> bool:
    """Whether another series grows by so much that it explains this ratio."""
    return _change(view, name) >= sqrt(ratio)


def _keeps_up(view: View, ratio: float) -> bool:
    """Whether the steps take longer while as many tokens a second are trained."""
    return view.main.name != "throughput" and _change(view, "throughput") > 1 / sqrt(ratio)


def _change(view: View, name: str) -> float:
    """The last quarter of a series, divided by the first; NaN if there are too few points."""
    series = view.run.series.get(name)
    if series is None or len(series) < 8:
        return np.nan
    quarter = len(series) // 4
    return float(np.divide(np.median(series.values[-quarter:]), np.median(series.values[:quarter])))


def stalled(view: View, limits: Limits) -> Answer:
    """One step of ``ratio`` times the median and of ``seconds``; of a clock, a gap of ``gap_ratio`` times the median gap and of
    ``gap_seconds``. One alone, or those that come in a rhythm, are a note: checkpoints, evaluations or a compilation."""
    clock = view.main.name == "clock"
    spent = np.diff(view.values) if clock else view.values
    if len(spent) < limits["points"]:
        return too_short(view, limits["points"])
    if clock:
        spent = np.where(np.diff(view.steps) > 0, spent, 0.0)
    ratio, seconds = (limits["gap_ratio"], limits["gap_seconds"]) if clock else (limits["ratio"], limits["seconds"])
    usual = float(np.median(spent[spent > 0])) if (spent > 0).any() else 0.0
    long = np.flatnonzero((spent >= ratio * usual) & (spent >= seconds) & (np.arange(len(spent)) >= WARM))
    if not len(long):
        return None
    first = int(long[0])
    captures = {
        "first_step": at(view.steps[first + clock]),
        "value": f"{spent[first]:.0f} s",
        "usual": f"{shown(usual)} s",
        "points": str(len(long)),
    }
    return Seen(
        first,
        first + int(clock),
        captures,
        severity=Severity.NOTE if len(long) == 1 or _in_rhythm(view.steps[long]) else None,
    )


def _in_rhythm(steps: Floats) -> bool:
    """Whether steps lie apart by the same number, or a few times that, within a twentieth."""
    apart = np.diff(steps) / np.diff(steps).min(initial=np.inf)
    return len(steps) >= 4 and bool((np.abs(apart - np.round(apart)) <= 0.05 * apart).all() and (apart <= 4).all())


def straggling(view: View, limits: Limits) -> Answer:
    """A rank whose median step time is so long that the fastest rank's, divided by it, is below ``score``; or one whose own best
    level, divided by its last, is, while each of the others has kept ``others`` of its best."""
    ranks = {
        rank: one.values
        for rank, one in view.run.by_rank.get(view.main.name, {}).items()
        if len(one) >= limits["points"]
    }
    if len(ranks) < 2:
        return None
    medians = {rank: float(np.median(values[1:])) for rank, values in ranks.items()}
    slowest, fastest = max(medians, key=lambda rank: medians[rank]), min(medians.values())
    if fastest / medians[slowest] < limits["score"]:
        return _slow_rank(view, slowest, medians[slowest], fastest, "always")
    return _slowed(view, ranks, limits)


def _slowed(view: View, ranks: Mapping[int, Floats], limits: Limits) -> Answer:
    """The only rank that has become slower than it was."""
    levels = {rank: _best_and_last(values[WARM:], limits) for rank, values in ranks.items()}
    kept = {rank: best / last for rank, (best, last) in levels.items() if last > 0}
    slowed = [rank for rank, share in kept.items() if share < limits["score"]]
    others = [share for share in kept.values() if share >= limits["others"]]
    if len(slowed) != 1 or len(others) != len(levels) - 1:
        return None
    best, last = levels[slowed[0]]
    return _slow_rank(view, slowed[0], last, best, "late")


def _best_and_last(values: Floats, limits: Limits) -> tuple[float, float]:
    """The lowest median of a tenth of the step times (``width`` at least), and the last; NaN for fewer than three times that."""
    width = max(int(limits["width"]), len(values) // 10)
    if len(values) < 3 * width:
        return np.nan, np.nan
    _, medians = median_of_windows(values, width)
    return float(medians.min()), float(medians[-1])


def _slow_rank(view: View, rank: int, seconds: float, usual: float, what: str) -> Seen:
    captures = {
        "rank": str(rank),
        "value": f"{shown(seconds)} s",
        "usual": f"{shown(usual)} s",
        "factor": shown(seconds / usual),
        "what": what,
    }
    return Seen(0, len(view.main) - 1, captures)


def growing(view: View, limits: Limits) -> Answer:
    """Memory that rises by ``ratio`` over the run behind its first twentieth, with a Kendall tau of ``tau`` and no level stretch
    of a fifth of the run. Names the step at which the device is full, if its size is known."""
    short = too_short(view, limits["points"])
    if short:
        return short
    skip = max(len(view.main) // 20, 1)
    values, steps = view.values[skip:], view.steps[skip:]
    early, late = (
        float(np.median(values[: len(values) // 10 + 1])),
        float(np.median(values[-(len(values) // 10) - 1 :])),
    )
    if (
        late < (1 + limits["ratio"]) * early
        or kendall_tau(values) < limits["tau"]
        or _has_plateau(values, late - early)
    ):
        return None
    captures = {"first_step": at(steps[0]), "before": shown(early), "value": shown(late), "prediction": ""}
    slope, start = np.polyfit(steps, values, 1)
    captures["per_thousand_steps"] = shown(1000 * slope)
    size = view.setup.device_memory
    if size and late < size:
        captures["prediction"] = f" At this rate {size:.0f} GiB are full near step {at((size - start) / slope)}."
    return Seen(skip, len(view.main) - 1, captures)


def _has_plateau(values: Floats, rise: float) -> bool:
    """Whether the last fifth, or any other, hardly rises: peaks so far grow with the longest batch and then stop."""
    parts = np.array_split(values, 5)
    return any(abs(float(np.median(part[-3:]) - np.median(part[:3]))) < 0.02 * rise for part in parts)
