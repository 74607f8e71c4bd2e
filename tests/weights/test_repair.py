from dataclasses import replace
from pathlib import Path

from doctor.weights.entries import Checkpoint, Entry, Fault, FaultKind, Format, Piece
from doctor.weights.observation import Group, Outlier
from doctor.weights.repair import Plan, Rescale, Skipped, plan

FILE = Path("model.safetensors")


def entry(name: str, dtype: str = "BF16") -> Entry:
    return Entry(name, dtype, (4,), (Piece(FILE, 0, 4),))


CHECKPOINT = Checkpoint(FILE, Format.SAFETENSORS, (entry("a"), entry("b"), entry("c", "F8_E4M3")), (FILE,))


def group(*names: str, factor: float = 0.5) -> Group:
    outliers = tuple(Outlier(name, FILE, 2.0, 1 / factor, factor) for name in names)
    return Group("p", "std", 1.0, 1.3, (), outliers, (("d", "holds NaN or Inf"),))


def test_a_tensor_is_rescaled_once_by_the_first_rule() -> None:
    assert plan(CHECKPOINT, [group("a"), group("a", "b", factor=0.25)]) == Plan(
        (Rescale("a", FILE, 0.5, 2.0, 2.0), Rescale("b", FILE, 0.25, 2.0, 4.0)),
        (
            Skipped("d", "holds NaN or Inf"),
            Skipped("d", "holds NaN or Inf"),
            Skipped("a", "another rule rescales it already"),
        ),
    )


def test_what_can_not_be_rescaled_has_a_reason() -> None:
    assert plan(CHECKPOINT, [group("c")]).skipped[1:] == (Skipped("c", "F8_E4M3 can't be multiplied in place"),)
    torch = replace(CHECKPOINT, format=Format.TORCH)
    reason = "doctor does not write torch files; save the model as safetensors and run it on that"
    assert plan(torch, [group("a")]).skipped[1:] == (Skipped("a", reason),)
    damaged = replace(CHECKPOINT, faults=(Fault(FaultKind.TRUNCATED, FILE, "is cut short"),))
    assert plan(damaged, [group("a")]).skipped[1:] == (Skipped("a", "the checkpoint is damaged; mend that first"),)


def test_nothing_to_do() -> None:
    assert plan(CHECKPOINT, []) == Plan((), ())
