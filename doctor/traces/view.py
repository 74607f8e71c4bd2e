"""What a shape looks at and what it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from doctor.finding import Confidence, Severity
from doctor.points import Flags, Floats
from doctor.traces.series import Run, Series
from doctor.traces.training_setup import TrainingSetup


@dataclass(frozen=True, slots=True)
class View:
    """The series that is judged, its run, and how that run was set up. ``neighbours`` are the runs before and behind it."""

    main: Series
    run: Run
    setup: TrainingSetup
    neighbours: Sequence[Run] = ()

    @property
    def steps(self) -> Floats:
        """The steps of the judged series."""
        return self.main.steps

    @property
    def values(self) -> Floats:
        """The values of the judged series."""
        return self.main.values

    def beside(self, name: str) -> Floats:
        """Another series at the steps of the judged one, NaN where it has no point or there is no such series."""
        found = np.full(len(self.main), np.nan)
        other = self.run.series.get(name)
        if other is not None:
            _, own, its = np.intersect1d(self.main.steps, other.steps, return_indices=True)
            found[own] = other.values[its]
        return found

    def lacks(self, name: str) -> Flags:
        """Where another series has no point at a step of the judged one; a NaN that was printed is a point."""
        other = self.run.series.get(name)
        return ~np.isin(self.main.steps, other.steps) if other is not None else np.ones(len(self.main), np.bool_)

    def settled(self, steps: float) -> Flags:
        """The points behind the first ``steps`` steps and the warm-up, where the start of the run is visible."""
        if not self.setup.starts:
            return np.ones(len(self.main), np.bool_)
        flags: Flags = self.main.steps - self.main.steps[0] >= max(steps, self.setup.warmup)
        return flags


@dataclass(frozen=True, slots=True)
class Seen:
    """A shape was found between two points (indices of the judged series). ``captures`` fill the signature's prose; severity
    and confidence replace the signature's where this case is milder or less sure."""

    first: int
    last: int
    captures: Mapping[str, str] = field(default_factory=dict)
    severity: Severity | None = None
    confidence: Confidence | None = None


@dataclass(frozen=True, slots=True)
class Undecided:
    """The trace does not hold enough to say yes or no, and why."""

    why: str


Answer = Seen | Undecided | None
Limits = Mapping[str, float]
Judge = Callable[[View, Limits], Answer]


@dataclass(frozen=True, slots=True)
class Shape:
    """A rule over a series, and the names of the limits that its signatures give."""

    judge: Judge
    limits: tuple[str, ...]


def shown(value: float) -> str:
    """A value as reports print it: four digits."""
    return f"{value:.4g}"


def at(step: float) -> str:
    """A step as reports print it."""
    return f"{step:.0f}"


def too_short(view: View, points: float) -> Undecided | None:
    """The answer for a series with fewer points than a rule needs."""
    if len(view.main) >= points:
        return None
    return Undecided(f"{view.main.name}: {len(view.main)} points; {points:.0f} are needed")
