"""What the shapes judge: the measured tensors of a checkpoint, and what they find."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import regex

from doctor.signature import Scale
from doctor.weights.entries import Fault, Unmeasured
from doctor.weights.measure import Measured
from doctor.weights.moments import Moments


@dataclass(frozen=True, slots=True)
class Observation:
    """A checkpoint as it was read.

    ``base`` is the checkpoint to compare with, by tensor name, None where there is none. ``aliases`` are names that
    share the data of another. ``same_bytes`` says whether two tensors whose statistics are equal hold the same bytes.
    """

    tensors: tuple[Measured, ...]
    faults: tuple[Fault, ...] = ()
    unmeasured: tuple[Unmeasured, ...] = ()
    config: Mapping[str, object] = field(default_factory=dict)
    is_adapter: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    base: Mapping[str, Measured] | None = None
    same_bytes: Callable[[str, str], bool] = lambda one, other: True

    @property
    def text_config(self) -> Mapping[str, object]:
        """The part of the configuration that is about the language model."""
        inner = self.config.get("text_config")
        return inner if isinstance(inner, Mapping) else self.config

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be missing, so that absence means something."""
        return not self.faults and not self.is_adapter


@dataclass(frozen=True, slots=True)
class Member:
    """A tensor (or a file, with an empty ``tensor``) that a shape found, and the line that shows it."""

    file: Path
    tensor: str
    line: str
    layer: int | None = None


@dataclass(frozen=True, slots=True)
class Outlier:
    """A tensor of a group whose statistic is ``ratio`` times the centre; ``factor`` brings it there."""

    tensor: str
    file: Path
    value: float
    ratio: float
    factor: float


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors that were compared with each other: what each has, and which are out of line.

    ``values`` are (tensor, layer, value) in the order of the layers. ``excluded`` holds names and the reason why they
    were not compared.
    """

    pattern: str
    statistic: str
    centre: float
    threshold: float
    values: tuple[tuple[str, int | None, float], ...]
    outliers: tuple[Outlier, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a shape found, the worst member first; ``of`` counts what it looked at. ``group`` is there for drift."""

    members: tuple[Member, ...]
    of: int
    worst: str = ""
    group: Group | None = None


def selected(observation: Observation, scale: Scale) -> list[Measured]:
    """The tensors whose name the pattern finds; all of them if there is no pattern."""
    if not scale.pattern:
        return list(observation.tensors)
    pattern = regex.compile(scale.pattern)
    return [tensor for tensor in observation.tensors if pattern.search(tensor.name)]


def statistic(moments: Moments, name: str) -> float:
    """One of the statistics that signatures name: std, rms or absmax."""
    return float({"std": moments.std, "rms": moments.rms, "absmax": moments.absmax}[name])


def limit(scale: Scale, name: str) -> float:
    """A numeric limit."""
    return float(scale.limits[name])


def member(tensor: Measured, line: str) -> Member:
    """A member for a measured tensor; ``line`` follows its name."""
    return Member(tensor.file, tensor.name, f"{tensor.name}  {line}", tensor.layer)
