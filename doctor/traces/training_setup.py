"""What a run was set to do, as far as facts and its own series tell: the gates that stand before every rule."""

import re
from dataclasses import dataclass
from enum import StrEnum
from math import log

import numpy as np

from doctor.facts import Facts, whole_number
from doctor.traces.series import Run
from doctor.traces.vocabularies import Vocabulary, known_classes, known_vocabulary

# A run shows its start if its first point lies within so many steps, or within this share of its length.
FIRST_STEPS = 10
FIRST_SHARE = 0.02
# A learning rate that rises to its peak within this share of the run warms up.
MOST_WARMUP = 0.4


class Objective(StrEnum):
    """What the loss is. Rules about levels only hold for cross-entropy."""

    CROSS_ENTROPY = "cross-entropy"
    PREFERENCE = "preference"
    REINFORCEMENT = "reinforcement"
    OTHER = "other"


# Settings of a model that is loaded with its weights; a config's _name_or_path says only where the config is from.
LOADED = ("base_model", "model_name_or_path", "adapter")


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """``classes`` are what a classifier chooses from; ``warmup`` in optimizer steps, and whether the configuration
    sets it; ``total`` the optimizer steps that were planned; ``accumulation`` 1 and ``scheduler`` empty
    where unknown; ``device_memory`` in GiB."""

    objective: Objective
    bits: bool
    vocabulary: Vocabulary | None
    classes: Vocabulary | None
    accumulation: int
    warmup: float
    warmup_set: bool
    total: float | None
    starts: bool
    pretrained: bool
    adapter: bool
    scheduler: str
    learning_rate: float | None
    device_memory: float | None


def setup_of(run: Run, facts: Facts) -> TrainingSetup:
    """The gates for one run."""
    return TrainingSetup(
        objective=_objective(run),
        bits=_in_bits(run),
        vocabulary=known_vocabulary(facts),
        classes=known_classes(facts),
        accumulation=int(number(facts, "gradient_accumulation_steps") or 1),
        warmup=_warmup(run, facts),
        warmup_set=any((number(facts, key) or 0) > 0 for key in ("warmup_steps", "warmup_ratio")),
        total=_total(facts),
        starts=_starts(run),
        pretrained=any(_set(facts, f"config.{key}") for key in LOADED),
        adapter=_set(facts, "config.adapter"),
        scheduler=str(_value(facts, "lr_scheduler_type") or _value(facts, "lr_scheduler") or ""),
        learning_rate=number(facts, "learning_rate"),
        device_memory=_device_memory(facts),
    )


def interval_of(facts: Facts) -> float | None:
    """The number of steps between two training records, where the configuration tells it."""
    interval = number(facts, "logging_steps")
    return interval if interval and interval >= 1 else None


def number(facts: Facts, key: str) -> float | None:
    """A numeric setting; settings read from text may still be text."""
    try:
        return float(str(_value(facts, key)))
    except ValueError:
        return None


def _value(facts: Facts, key: str) -> object:
    fact = facts.get(f"config.{key}")
    return None if fact is None or isinstance(fact.value, bool) else fact.value


def _set(facts: Facts, key: str) -> bool:
    return key in facts and bool(facts[key].value)


def _device_memory(facts: Facts) -> float | None:
    """GiB of the device, from its name (NVIDIA A100-SXM4-80GB, NVIDIA H100 80GB HBM3)."""
    found = re.search(r"(\d{2,3})\s?G(?:i?B)?\b", str(facts["device"].value)) if "device" in facts else None
    return float(found[1]) if found else None


def _objective(run: Run) -> Objective:
    if "rewards_margin" in run.series or "rewards_chosen" in run.series:
        return Objective.PREFERENCE
    if {"reward", "policy_loss", "completion_length", "clipped_completions"} & set(run.series):
        return Objective.REINFORCEMENT
    loss = run.series.get("loss")
    if loss is not None and (loss.values < 0).any():
        return Objective.OTHER
    return Objective.CROSS_ENTROPY


def _in_bits(run: Run) -> bool:
    """Whether the printed perplexity is 2 to the printed loss: fairseq and friends count bits, not nats."""
    loss = run.series.get("nll_loss", run.series.get("loss"))
    perplexity = run.series.get("perplexity")
    if loss is None or perplexity is None:
        return False
    _, own, other = np.intersect1d(loss.steps, perplexity.steps, return_indices=True)
    with np.errstate(all="ignore"):
        bits = np.log2(perplexity.values[other]) / loss.values[own]
    bits = bits[np.isfinite(bits)]
    return len(bits) > 0 and abs(float(np.median(bits)) - 1) < 0.5 * (1 / log(2) - 1)


def _starts(run: Run) -> bool:
    series = run.series.get("loss") or run.series.get("policy_loss")
    if series is None or not len(series):
        return False
    first, last = float(series.steps[0]), float(series.steps[-1])
    spacing = float(np.median(np.diff(series.steps))) if len(series) > 1 else 0.0
    return first <= max(FIRST_STEPS, FIRST_SHARE * last, 1.5 * spacing)


def _warmup(run: Run, facts: Facts) -> float:
    steps, ratio = number(facts, "warmup_steps"), number(facts, "warmup_ratio")
    if steps and steps >= 1:
        return steps
    ratio = steps or ratio  # transformers 5 takes a share as warmup_steps
    if ratio:
        return ratio * (_total(facts) or _length(run))
    rate = run.series.get("learning_rate")
    if rate is None or len(rate) < 3:
        return 0.0
    peak = int(np.argmax(rate.values))
    rises = rate.values[0] < rate.values[peak] and rate.steps[peak] <= rate.steps[0] + MOST_WARMUP * (
        rate.steps[-1] - rate.steps[0]
    )
    return float(rate.steps[peak]) if rises else 0.0


def _total(facts: Facts) -> float | None:
    """The steps that were announced, or that the configuration limits training to; Trainer's -1 limits nothing."""
    announced, limit = whole_number(facts, "total_steps"), number(facts, "max_steps")
    if announced is not None:
        return float(announced)
    return limit if limit and limit > 0 else None


def _length(run: Run) -> float:
    return max((float(series.steps[-1]) for series in run.series.values() if len(series)), default=0.0)
