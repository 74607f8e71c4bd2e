from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from doctor.weights.checkpoint import open_checkpoint
from doctor.weights.compare import Change, Status, compare, same_bytes
from doctor.weights.measure import measure

Save = Callable[..., Path]


def changes(mine: Path, base: Path) -> dict[str, Change]:
    opened, other = open_checkpoint(mine), open_checkpoint(base)
    found = {one.name: one for one in measure(other.entries)[0]}
    entries = {one.name: one for one in opened.entries}
    return {
        one.name: one
        for one in compare(measure(opened.entries)[0], found, entries, {one.name: one for one in other.entries})
    }


def test_every_tensor_of_both(save: Save) -> None:
    torch.manual_seed(0)
    kept, moved, step = torch.randn(64, 64), torch.randn(700, 500), torch.randn(700, 500) * 0.01
    base = save({"kept": kept, "moved": moved, "gone": torch.ones(3), "grown": torch.ones(3)}, name="base")
    mine = save({"kept": kept, "moved": moved + step, "new": torch.ones(3), "grown": torch.ones(4)}, name="mine")
    found = changes(mine, base)
    distance, ratio = float(step.double().norm() / moved.double().norm()), float((moved + step).std() / moved.std())
    assert found == {
        "kept": Change("kept", Status.SAME, 0.0, 1.0),
        "moved": Change("moved", Status.CHANGED, pytest.approx(distance, rel=1e-4), pytest.approx(ratio, rel=1e-6)),
        "new": Change("new", Status.ADDED),
        "grown": Change("grown", Status.RESHAPED),
        "gone": Change("gone", Status.REMOVED),
    }


def test_across_dtypes(save: Save) -> None:
    weights = torch.randn(100, 100).bfloat16()
    found = changes(save({"a": weights}, name="mine"), save({"a": weights.float()}, name="base"))
    assert found["a"].distance == 0.0


def test_a_real_training_changed_its_model(fixtures: Path) -> None:
    found = changes(fixtures / "trained" / "llama", fixtures / "trained" / "llama-base")
    moved = [one for one in found.values() if one.status is Status.CHANGED]
    assert len(moved) > 60
    assert all(one.distance is not None and one.distance > 0 for one in moved if "proj" in one.name)


def test_same_bytes(save: Save) -> None:
    entries = {
        one.name: one
        for one in open_checkpoint(
            save({"a": torch.ones(9), "b": torch.ones(9), "c": torch.zeros(9), "d": torch.ones(8)})
        ).entries
    }
    assert same_bytes(entries["a"], entries["b"])
    assert not same_bytes(entries["a"], entries["c"])
    assert not same_bytes(entries["a"], entries["d"])
