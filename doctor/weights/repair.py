"""What to do about drifting tensors: a plan made of values, decided before anything is written."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from doctor.weights.entries import Checkpoint, Format
from doctor.weights.observation import Group

RESCALED = ("F32", "F64", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Rescale:
    """Multiply a tensor by ``factor``, in its own dtype. ``value`` is its statistic, ``ratio`` that over the centre."""

    name: str
    file: Path
    factor: float
    value: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """A tensor that is left as it is, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a repair does, and what it leaves alone although a rule asked for it."""

    rescales: tuple[Rescale, ...]
    skipped: tuple[Skipped, ...]


def plan(checkpoint: Checkpoint, groups: Iterable[Group]) -> Plan:
    """The plan for these groups; a tensor is rescaled once, by the first group that has it. Nothing is touched."""
    rescales: dict[str, Rescale] = {}
    skipped: list[Skipped] = []
    dtypes = {entry.name: entry.dtype for entry in checkpoint.entries}
    for group in groups:
        skipped += [Skipped(name, reason) for name, reason in group.excluded]
        for outlier in group.outliers:
            planned = outlier.tensor in rescales
            reason = "another rule rescales it already" if planned else _why_not(checkpoint, dtypes[outlier.tensor])
            if reason:
                skipped.append(Skipped(outlier.tensor, reason))
            else:
                rescales[outlier.tensor] = Rescale(
                    outlier.tensor, outlier.file, outlier.factor, outlier.value, outlier.ratio
                )
    return Plan(tuple(rescales.values()), tuple(skipped))


def _why_not(checkpoint: Checkpoint, dtype: str) -> str:
    if checkpoint.faults:
        return "the checkpoint is damaged; mend that first"
    if checkpoint.format is not Format.SAFETENSORS:
        return (
            f"doctor does not write {checkpoint.format.value} files; save the model as safetensors and run it on that"
        )
    return "" if dtype in RESCALED else f"{dtype} can't be multiplied in place"
