"""Shapes of the loss that show in its level: uniform, flat, high, too good."""

from collections.abc import Callable

import numpy as np

from doctor.finding import Confidence
from doctor.points import Floats
from doctor.traces.guesses import seen_guess
from doctor.traces.robust import noise_of
from doctor.traces.view import Answer, Limits, Seen, Undecided, View, at, shown, too_short
from doctor.traces.vocabularies import Vocabulary, nearest_vocabulary

# A run whose loss never was below a level may have single points that were.
LOWEST = 0.1
# A classifier guesses if its accuracy lies within this share of that of a guess, and its loss within a tenth of it.
GUESS = 0.15
# So few points of a loss that stands still may lie elsewhere.
AWAY = 0.02
# A median of few points is off by so many times its noise at most.
NOISES = 2
NATS_PER_BIT = float(np.log(2))


def at_uniform(view: View, limits: Limits) -> Answer:
    """The median of the second half lies within ``near`` of ln(vocabulary), has not moved by more than ``moved`` since the
    start, and is past ``steps`` steps and twice the warm-up. For a vocabulary of up to ``few``, whose level is that of many a
    loss, it lies within ``few_near``."""
    known = view.setup.vocabulary
    near = limits["few_near"] if known is not None and known.size <= limits["few"] else limits["near"]
    return _stays_at(view, {**limits, "near": near}, lambda level: _vocabulary(view, level, near))


def at_classes(view: View, limits: Limits) -> Answer:
    """The same for ln(classes) of a classifier of up to ``most`` classes; with more, the first steps hardly show a fall."""
    guessed = None if view.setup.classes else _guessed_classes(view)
    classes = view.setup.classes or guessed
    if classes is None or classes.size > limits["most"]:
        return None
    wide = 2.0 if guessed else 1.0  # an accuracy shows it as well
    wider = {name: wide * limits[name] for name in ("near", "moved")}
    return _stays_at(view, {**limits, **wider}, lambda level: classes)


def _guessed_classes(view: View) -> Vocabulary | None:
    """As many classes as an accuracy tells that is that of a guess, where the evaluation loss is that of a guess, too."""
    accuracy, evals = view.run.series.get("eval_accuracy"), view.run.series.get("eval_loss")
    if accuracy is None or evals is None or not len(accuracy) or not len(evals) or not accuracy.values[-1] > 0:
        return None
    size = round(1 / accuracy.values[-1])
    guesses = size > 1 and (np.abs(accuracy.values * size - 1) < GUESS).all()
    fits = guesses and abs(evals.values[-1] - np.log(size)) < GUESS / 10 * np.log(size)
    return Vocabulary(size, "classes", certain=False) if fits else None


def _stays_at(view: View, limits: Limits, choices: Callable[[float], Vocabulary | None]) -> Answer:
    """Whether the loss stays near the uniform loss of the choices that a level stands for."""
    short = too_short(view, limits["points"]) or _too_early(view, limits["steps"])
    if short:
        return short
    values = _nats(view)
    if len(values) < limits["points"]:
        return None
    level, change = _level_and_change(values)
    vocabulary = choices(level)
    if vocabulary is None or abs(change) > limits["moved"] * level or _dead_rate(view):
        return None
    if abs(level - vocabulary.uniform_loss) > limits["near"] * vocabulary.uniform_loss:
        return None
    return _uniform(view, vocabulary, level)


def _vocabulary(view: View, level: float, near: float) -> Vocabulary | None:
    """The known vocabulary if its uniform loss fits; otherwise, where the known one is not certain, the family that fits."""
    known = view.setup.vocabulary
    if known is not None and (known.certain or abs(level - known.uniform_loss) <= near * known.uniform_loss):
        return known
    return nearest_vocabulary(level, near)


def _uniform(view: View, vocabulary: Vocabulary, level: float) -> Seen:
    captures = {
        "value": shown(level),
        "vocabulary": str(vocabulary.size),
        "family": vocabulary.family,
        "uniform": shown(vocabulary.uniform_loss),
        "first_step": at(view.steps[0]),
        "last_step": at(view.steps[-1]),
        "what": "pretrained" if view.setup.pretrained else "unknown",
    }
    return Seen(0, len(view.main) - 1, captures, confidence=Confidence.HIGH if vocabulary.certain else Confidence.LOW)


def above_uniform(view: View, limits: Limits) -> Answer:
    """A loss that stays above ``above`` times ln(vocabulary), where the vocabulary is certain, and does not fall: worse than a
    guess. Not where the sum over the accumulated micro batches explains it."""
    short = too_short(view, limits["points"]) or _too_early(view, limits["steps"])
    if short:
        return short
    known, values = view.setup.vocabulary, _nats(view)
    if known is None or not known.certain or len(values) < limits["points"] or falls(values, limits["slope"]):
        return None
    level, lowest = float(np.median(values[len(values) // 2 :])), float(np.quantile(values, LOWEST))
    summed = view.setup.accumulation > 1 and level / view.setup.accumulation <= limits["above"] * known.uniform_loss
    if lowest <= limits["above"] * known.uniform_loss or summed:
        return None
    return _uniform(view, known, level)


def at_level(view: View, limits: Limits) -> Answer:
    """A preference loss that stays within ``near`` of ``level`` while the reward margin stays below ``margin``."""
    short = too_short(view, limits["points"]) or _too_early(view, limits["steps"])
    if short:
        return short
    level, change = _level_and_change(view.values)
    margin = view.beside("rewards_margin")
    moved = (
        abs(change) > limits["near"] * limits["level"]
        or abs(level - limits["level"]) > limits["near"] * limits["level"]
    )
    if moved or np.nanmax(np.abs(margin), initial=0.0) > limits["margin"]:
        return None
    return Seen(0, len(view.main) - 1, {"value": shown(level), "last_step": at(view.steps[-1])})


def flat(view: View, limits: Limits) -> Answer:
    """A loss whose second half lies within ``moved`` of its first tenth, without a significant slope, in a run whose start is
    seen: one above ``level`` that can't have learned this data before, or one beside a witness that the model guesses, for
    which ``few`` points or ``epochs`` epochs do, and which may move by ``few_moved`` or by its noise."""
    values = view.values[np.isfinite(view.values)]
    if view.setup.starts and len(values) >= limits["few"] and (told := _guessed(view, values, limits)):
        return _flat(view, values, told)
    short = too_short(view, limits["points"]) or _too_early(view, limits["steps"])
    if short:
        return short
    if not view.setup.starts:
        return Undecided("loss: the start of the run is not in this log")
    if len(values) < limits["points"]:
        return None
    level, change = _level_and_change(values)
    if level < limits["level"] or abs(change) > limits["moved"] * level or falls(values, limits["slope"]):
        return None
    if not _unlearned(view, level, limits):
        return Undecided(
            f"loss: flat at {shown(level)} from the start, as it is for a model that knows such data already"
        )
    return _flat(view, values, {})


def _flat(view: View, values: Floats, told: dict[str, str]) -> Seen:
    captures = {
        "before": shown(values[0]),
        "value": shown(_level_and_change(values)[0]),
        "first_step": at(view.steps[0]),
        "last_step": at(view.steps[-1]),
    }
    return Seen(0, len(view.main) - 1, captures | told)


def _guessed(view: View, values: Floats, limits: Limits) -> dict[str, str] | None:
    """What else shows that a loss which has moved by no more than its noise is that of a guess; None if nothing does."""
    level, change = _level_and_change(values)
    noise = NOISES * noise_of(values) / np.sqrt(max(len(values) // 10, 1))
    epoch = view.run.series.get("epoch")
    epochs = float(np.ptp(epoch.values)) if epoch is not None and len(epoch) else 0.0
    early = epochs < limits["epochs"] and _too_early(view, limits["steps"]) is not None
    if early or abs(change) > max(limits["few_moved"] * level, noise) or _dead_rate(view):
        return None
    still = abs(change) <= limits["moved"] * level and not falls(values, limits["slope"])
    return seen_guess(view, level, still, limits)


def stands_still(view: View, limits: Limits) -> Answer:
    """A loss above ``level`` that fell by ``drop`` of itself within the first ``early`` of the run, and at all but few of the
    points behind that stays within ``still`` of one value: a curve that flattens out goes on moving by more than that."""
    short = too_short(view, limits["points"]) or _too_early(view, limits["steps"])
    if short:
        return short
    values = view.values
    first = int(np.ceil(limits["early"] * len(values)))
    level = float(np.median(values[first:]))
    away = np.abs(values - level) > limits["still"] * level
    if not view.setup.starts or level < limits["level"] or values[0] < (1 + limits["drop"]) * level or _dead_rate(view):
        return None
    if not np.isfinite(values).all() or away[first:].mean() > AWAY:
        return None
    turn = int(np.argmin(away))
    captures = {
        "before": shown(values[0]),
        "start_step": at(view.steps[0]),
        "value": shown(level),
        "first_step": at(view.steps[turn]),
        "last_step": at(view.steps[-1]),
        "points": str(len(values) - turn),
    }
    return Seen(turn, len(values) - 1, captures)


def _unlearned(view: View, level: float, limits: Limits) -> bool:
    """Whether a flat loss is no plateau of training: above ``share`` of the uniform loss (above ``high`` where that isn't
    known), or at a learning rate below ``rate`` (below ``adapter_rate`` for an adapter), which trains nothing."""
    known, rate = view.setup.vocabulary, view.beside("learning_rate")
    if level > (limits["share"] * known.uniform_loss if known else limits["high"]):
        return True
    least = limits["adapter_rate"] if view.setup.adapter else limits["rate"]
    return bool(np.isfinite(rate).any() and np.nanmax(rate) < least)


def slow_start(view: View, limits: Limits) -> Answer:
    """A loss that started above ``from`` and is still above ``share`` of its start ``steps`` steps, and ``part`` of the run,
    behind the warm-up, and falls."""
    if not view.setup.starts or view.values[0] < limits["from"]:
        return None
    settled = max(limits["steps"], limits["part"] * (view.steps[-1] - view.steps[0]))
    late = np.flatnonzero(view.steps - view.steps[0] >= view.setup.warmup + settled)
    if len(late) < 3 or len(view.main) < limits["points"]:
        return Undecided(f"loss: fewer than 3 points behind the warm-up and {limits['steps']:.0f} steps more")
    here = float(np.median(view.values[late[0] : late[0] + 3]))
    if here <= limits["share"] * view.values[0] or not falls(view.values, limits["slope"]):
        return None
    captures = {
        "before": shown(view.values[0]),
        "start_step": at(view.steps[0]),
        "value": shown(view.values[late[0]]),
        "first_step": at(view.steps[late[0]]),
        "warmup": f"behind a warm-up that ends at step {at(view.setup.warmup)}"
        if view.setup.warmup
        else "with no warm-up seen",
    }
    return Seen(int(late[0]), len(view.main) - 1, captures)


def high_start(view: View, limits: Limits) -> Answer:
    """The loss of a pretrained model that starts above ``level`` and, ``settle`` steps later, is not below ``share`` of it.

    Multimodal runs start at 8 to 15 and fall below 1 within 30 to 50 steps, so before that there is nothing to say.
    """
    if not view.setup.pretrained or not view.setup.starts:
        return None
    start = float(np.median(view.values[: min(3, len(view.main))]))
    if not start >= limits["level"]:
        return None
    late = view.steps - view.steps[0] >= limits["settle"]
    if late.sum() < limits["points"]:
        return Undecided(
            f"loss: starts at {shown(start)}; {limits['settle']:.0f} steps are needed to see whether it falls"
        )
    here = float(np.median(view.values[late][:5]))
    if here < limits["share"] * start:
        return None
    return Seen(0, len(view.main) - 1, {"value": shown(start), "after": shown(here), "last_step": at(view.steps[-1])})


def too_good(view: View, limits: Limits) -> Answer:
    """A loss that starts above ``from``, but not above ``most`` as no cross-entropy does, and is below ``below`` after ``share`` of
    the run, or anywhere if the evaluation loss is too: what is memorised does not carry over to rows that were not seen. Not where
    the rows were read more than ``epochs`` times by then: few rows are learned like that."""
    short = too_short(view, limits["points"])
    if short:
        return short
    if not view.setup.starts or not limits["from"] <= view.values[0] <= limits["most"]:
        return None
    low = np.flatnonzero((view.values < limits["below"]) & (np.abs(view.values) > 0))
    if not len(low):
        return None
    evals = view.run.series.get("eval_loss")
    shared = evals is not None and len(evals) > 0 and evals.values[-1] < limits["below"] and len(low) > 3
    if low[0] > limits["share"] * len(view.main) and not shared:
        return None
    first = int(low[0])
    if _epochs_read(view, first) > limits["epochs"]:
        return None
    captures = {
        "before": shown(view.values[0]),
        "value": shown(view.values[first]),
        "first_step": at(view.steps[first]),
    }
    return Seen(first, len(view.main) - 1, captures)


def _epochs_read(view: View, index: int) -> float:
    """How often the rows were read at a point of the series; 0 if no epoch is told."""
    epoch = view.run.series.get("epoch")
    here = 0 if epoch is None else int(np.searchsorted(epoch.steps, view.steps[index], side="right"))
    return float(epoch.values[here - 1]) if epoch is not None and here else 0.0


def _too_early(view: View, steps: float) -> Undecided | None:
    needed = max(steps, 2 * view.setup.warmup)
    if view.steps[-1] - view.steps[0] >= needed or view.steps[-1] >= needed:
        return None
    ends = (
        f"{len(view.main)} points at steps that are not told"
        if view.run.counted
        else f"ends at step {at(view.steps[-1])}"
    )
    return Undecided(f"{view.main.name}: {ends}; {needed:.0f} steps are needed to get past the warm-up")


def _nats(view: View) -> Floats:
    values = view.values[np.isfinite(view.values)]
    return values * NATS_PER_BIT if view.setup.bits else values


def _level_and_change(values: Floats) -> tuple[float, float]:
    """The median of the second half, and the first tenth's median less that."""
    level = float(np.median(values[len(values) // 2 :]))
    return level, float(np.median(values[: max(len(values) // 10, 1)])) - level


def falls(values: Floats, least: float) -> bool:
    """Whether a straight line through the values falls by at least ``least`` of its standard errors."""
    position = np.arange(len(values), dtype=np.float64)
    position -= position.mean()
    slope = float(position @ values) / float(position @ position)
    rest = values - values.mean() - slope * position
    error = float(np.sqrt(rest @ rest / max(len(values) - 2, 1) / (position @ position)))
    return slope < 0 and -slope > least * error


def _dead_rate(view: View) -> bool:
    """Whether the learning rate is known to have been zero throughout; then nothing was trained, which is another finding."""
    rate = view.beside("learning_rate")
    return bool(np.isfinite(rate).any() and np.nanmax(rate) == 0)
