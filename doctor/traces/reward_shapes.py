"""Shapes of reinforcement learning and preference training: levels, flat rewards, collapse."""

import numpy as np

from doctor.finding import Severity
from doctor.points import Floats
from doctor.traces.robust import kendall_tau, longest_stretch, median_known
from doctor.traces.view import Answer, Limits, Seen, View, at, shown, too_short

# Lengths collapse within a few steps, so few points show what they were.
FIRST_POINTS = 3
# Ranks are known no better than this, so that two equal stretches have some error.
EXACT = 1e-6
# What else tells how a policy broke, where it changes by this factor.
TOLD = 2.0
SIGNS = {
    "entropy": "the entropy",
    "kl": "the KL divergence",
    "clipped_completions": "the share of clipped completions",
    "completion_length": "the length of completions",
    "grad_norm": "the gradient norm",
}


def above(view: View, limits: Limits) -> Answer:
    """A mean and a median of more than ``level`` over ``points`` neighbouring points."""
    return _beyond(view, limits, view.values, limits["level"])


def below(view: View, limits: Limits) -> Answer:
    """A mean and a median of less than ``level`` over ``points`` neighbouring points."""
    return _beyond(view, limits, -view.values, -limits["level"])


def far_from_one(view: View, limits: Limits) -> Answer:
    """A ratio above ``high`` or below ``low``, in the mean and the median over ``points`` neighbouring points."""
    found = _beyond(view, limits, view.values, limits["high"])
    return found if isinstance(found, Seen) else _beyond(view, limits, -view.values, -limits["low"])


def never_above(view: View, limits: Limits) -> Answer:
    """At least ``points`` points, of which no ``width`` neighbours have a mean above ``level``."""
    short = too_short(view, limits["points"])
    if short:
        return short
    width = int(limits["width"])
    means = np.convolve(view.values, np.full(width, 1 / width), mode="valid")
    if not (means <= limits["level"]).all():
        return None
    captures = {"value": shown(float(np.median(view.values))), "points": str(len(view.main))}
    return Seen(0, len(view.main) - 1, captures)


def doubling(view: View, limits: Limits) -> Answer:
    """The median of ``width`` points at least doubles ``times`` times in a row, from no less than ``from`` on: what starts at
    zero multiplies at first."""
    width, times = int(limits["width"]), int(limits["times"])
    short = too_short(view, width * (times + 1))
    if short:
        return short
    skip = len(view.main) % width
    medians = np.median(view.values[skip:].reshape(-1, width), axis=1)
    first, last = longest_stretch((medians[1:] >= 2 * medians[:-1]) & (medians[:-1] >= limits["from"]))
    if last - first + 1 < times:
        return None
    captures = {
        "first_step": at(view.steps[skip + first * width]),
        "before": shown(medians[first]),
        "value": shown(medians[last + 1]),
        "points": str(last - first + 1),
    }
    return Seen(skip + first * width, skip + (last + 2) * width - 1, captures)


def rising(view: View, limits: Limits) -> Answer:
    """From below ``level``, within the first fifth, to above it and to ``ratio`` times the start, with a Kendall tau of ``tau``,
    while the reward has not risen."""
    short = too_short(view, limits["points"])
    if short:
        return short
    width = max(len(view.main) // 5, FIRST_POINTS)
    early, late = float(np.median(view.values[:width])), float(np.median(view.values[-width:]))
    grown = view.values[:width].min() < limits["level"] < late and late >= limits["ratio"] * early
    if not grown or kendall_tau(view.values) < limits["tau"] or _reward_rose(view, limits["reward"]):
        return None
    first = int(np.argmax(view.values > limits["level"]))
    captures = {"first_step": at(view.steps[first]), "before": shown(early), "value": shown(late)}
    return Seen(first, len(view.main) - 1, captures)


def fallen(view: View, limits: Limits) -> Answer:
    """A reward that at some point falls by ``fall`` of itself and by ``share`` of its range, and whose neighbours behind that
    never come back over half of the fall. The ranks before and behind differ by ``sure`` times the uncertainty of their means. At
    least ``before`` points lie before it and ``points`` behind it."""
    before, behind = int(limits["before"]), int(limits["points"])
    short = too_short(view, before + behind)
    if short or not np.isfinite(view.values).all():
        return short
    values = view.values
    first, sureness = _change(_ranks(values), before, behind)
    early, late = _usual(values[:first]), _usual(values[first:])
    fall, spread = early - late, float(np.subtract(*np.quantile(values, (0.9, 0.1))))
    back = np.convolve(values[first:], np.full(before, 1 / before), mode="valid").max() > late + fall / 2
    if back or sureness < limits["sure"] or fall < max(limits["fall"] * abs(early), limits["share"] * spread):
        return None
    captures = {
        "first_step": at(view.steps[first]),
        "before": shown(early),
        "value": shown(late),
        "last_step": at(view.steps[-1]),
    }
    return Seen(first, len(values) - 1, captures | _signs(view, first))


def _ranks(values: Floats) -> Floats:
    """The place of each value in their order; equal values share one. Single extreme rewards don't count for more."""
    ordered = np.sort(values)
    ranks: Floats = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
    return ranks


def _change(values: Floats, before: int, behind: int) -> tuple[int, float]:
    """Where the values fall most clearly, and by how many standard errors of the difference of the means."""
    count = np.arange(before, len(values) - behind + 1, dtype=np.float64)
    rest, last = len(values) - count, count.astype(np.int64) - 1
    sums, squares = np.cumsum(values), np.cumsum(values**2)
    early, late = sums[last] / count, (sums[-1] - sums[last]) / rest
    error = np.maximum(squares[last] / count - early**2, 0) / count
    error += np.maximum((squares[-1] - squares[last]) / rest - late**2, 0) / rest
    sureness = (early - late) / np.sqrt(error + EXACT)
    turn = int(np.argmax(sureness))
    return before + turn, float(sureness[turn])


def _usual(values: Floats) -> float:
    """The mean, with the extreme fifths drawn in."""
    return float(np.mean(np.clip(values, *np.quantile(values, (0.2, 0.8)))))


def _signs(view: View, first: int) -> dict[str, str]:
    """What else changed there: the medians before and behind, where they differ by a factor of ``TOLD``."""
    told = []
    for name, words in SIGNS.items():
        series = view.run.series.get(name)
        here = 0 if series is None else int(np.searchsorted(series.steps, view.steps[first]))
        if series is None or here < 1 or here == len(series):
            continue
        early, late = (
            float(np.median(part)) for part in (series.values[max(here - 10, 0) : here], series.values[here:])
        )
        if min(early, late) >= 0 and max(early, late) > TOLD * min(early, late):
            told.append(f"{words} goes from {shown(early)} to {shown(late)}")
    return {"signs": f" With it {', '.join(told)}."} if told else {"signs": ""}


def collapsed(view: View, limits: Limits) -> Answer:
    """The same, while the reward has not risen over the run: a policy that has learned is sure of itself, too."""
    answer = below(view, limits)
    if not isinstance(answer, Seen) or _reward_rose(view, limits["reward"]):
        return None if isinstance(answer, Seen) else answer
    return answer


def drifted(view: View, limits: Limits) -> Answer:
    """Rollout and trainer disagree about the same tokens: a difference of log-probabilities above ``difference``, or a smallest
    importance ratio below ``ratio``, in the mean over ``points`` neighbouring points."""
    if view.main.name == "logp_difference":
        return _beyond(view, limits, view.values, limits["difference"])
    return _beyond(view, limits, -view.values, -limits["ratio"])


def _beyond(view: View, limits: Limits, values: Floats, level: float) -> Answer:
    short = too_short(view, limits["points"])
    if short:
        return short
    width = int(limits["points"])
    means = np.convolve(values, np.full(width, 1 / width), mode="valid")
    first = next((n for n in np.flatnonzero(means > level).tolist() if np.median(values[n : n + width]) > level), None)
    if first is None:
        return None
    value = float(np.mean(view.values[first : first + width]))
    captures = {"first_step": at(view.steps[first]), "value": shown(value), "points": str(width)}
    return Seen(first, first + width - 1, captures)


def _reward_rose(view: View, least: float) -> bool:
    reward = view.run.series.get("reward")
    if reward is None or len(reward) < 4:
        return False
    quarter = max(len(reward) // 4, 1)
    early, late = float(np.mean(reward.values[:quarter])), float(np.mean(reward.values[-quarter:]))
    return late - early > least * max(abs(early), abs(late))


def no_spread(view: View, limits: Limits) -> Answer:
    """A share of groups with equal rewards whose mean is ``level`` over ``points`` points, or 1 at ``row`` points in a row with
    a gradient norm below ``grad_norm``."""
    answer = above(view, limits)
    if isinstance(answer, Seen):
        return answer
    norm = view.beside("grad_norm")
    first, last = longest_stretch((view.values >= 1) & (norm < limits["grad_norm"]))
    if last - first + 1 < limits["row"]:
        return answer
    return Seen(first, last, {"first_step": at(view.steps[first]), "value": "1", "points": str(last - first + 1)})


def flat_reward(view: View, limits: Limits) -> Answer:
    """A reward of at least ``points`` points whose rolling mean moves by less than ``moved``, at a level not above ``floor``; one
    that scatters by more than ``noise`` of its level tells nothing: it was centred, or is of a small scale of its own."""
    short = too_short(view, limits["points"])
    if short:
        return short
    width = 5
    means = np.convolve(view.values, np.full(width, 1 / width), mode="valid")
    level = float(np.median(view.values))
    if float(np.std(view.values)) > limits["noise"] * abs(level):
        return None
    if float(means.max() - means.min()) >= limits["moved"] * max(1.0, abs(level)) or level > limits["floor"]:
        return None
    return Seen(
        0, len(view.main) - 1, {"value": shown(level), "first_step": at(view.steps[0]), "last_step": at(view.steps[-1])}
    )


def zero_reward(view: View, limits: Limits) -> Answer:
    """A reward of exactly zero at ``row`` points in a row, unless it rose to zero from below."""
    short = too_short(view, limits["row"])
    if short:
        return short
    first, last = longest_stretch(view.values == 0)
    if last - first + 1 < limits["row"] or (view.values[:first] < 0).any():
        return None
    return Seen(first, last, {"first_step": at(view.steps[first]), "points": str(last - first + 1)})


def short_completions(view: View, limits: Limits) -> Answer:
    """Completions that were ``ratio`` times as long at the start as at the end, and are shorter than ``below`` tokens there.

    Where the reward has risen by ``reward`` of itself, short answers may be what is wanted, so it is a note.
    """
    short = too_short(view, limits["points"])
    if short:
        return short
    early = float(np.median(view.values[:FIRST_POINTS]))
    late = float(np.median(view.values[-max(len(view.main) // 5, FIRST_POINTS) :]))
    if late >= limits["below"] or early < limits["ratio"] * late:
        return None
    first = int(np.argmax(view.values < limits["below"]))
    captures = {"first_step": at(view.steps[first]), "before": shown(early), "value": shown(late)}
    return Seen(first, len(view.main) - 1, captures, Severity.NOTE if _reward_rose(view, limits["reward"]) else None)


def long_completions(view: View, limits: Limits) -> Answer:
    """Completions that are ``ratio`` times as long at the end as at the start, with a Kendall tau of ``tau``, more than
    ``clipped`` of which end at the limit, while the reward has not risen by ``reward`` of itself."""
    short = too_short(view, limits["points"])
    if short:
        return short
    width = max(len(view.main) // 8, FIRST_POINTS)
    early, late = float(np.median(view.values[:width])), float(np.median(view.values[-width:]))
    clipped = median_known(view.beside("clipped_completions")[-width:])
    grown = late >= limits["ratio"] * early and kendall_tau(view.values) >= limits["tau"]
    if not grown or not clipped >= limits["clipped"] or _reward_rose(view, limits["reward"]):
        return None
    first = int(np.argmax(view.values > 2 * early))
    captures = {"before": shown(early), "value": shown(late), "percent": shown(100 * clipped)}
    return Seen(first, len(view.main) - 1, {**captures, "first_step": at(view.steps[first])})


def over_optimised(view: View, limits: Limits) -> Answer:
    """A margin above ``margin`` with a loss below ``loss`` while the chosen rewards have fallen by ``fall``: the policy moves
    away from both answers."""
    short = too_short(view, limits["points"])
    if short:
        return short
    chosen, loss = view.beside("rewards_chosen"), view.beside("loss")
    width = max(len(view.main) // 10, 3)
    margin, late = float(np.median(view.values[-width:])), median_known(chosen[-width:])
    if (
        margin <= limits["margin"]
        or median_known(loss[-width:]) >= limits["loss"]
        or late >= median_known(chosen[:width]) - limits["fall"]
    ):
        return None
    first = int(np.argmax(view.values > limits["margin"]))
    captures = {
        "first_step": at(view.steps[first]),
        "value": shown(margin),
        "chosen": shown(late),
        "loss": shown(median_known(loss[-width:])),
    }
    return Seen(first, len(view.main) - 1, captures)
