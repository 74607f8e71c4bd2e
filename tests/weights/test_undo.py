import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from doctor.catalog import Catalog
from doctor.errors import CheckpointError
from doctor.weights import undo as undo_module
from doctor.weights.inspection import Inspection, inspect
from doctor.weights.treatment import finish_interrupted, undo
from doctor.weights.undo import State, find_interrupted, read_undo, repair_in_place, restore, state_of

Save = Callable[..., Path]


@pytest.fixture
def drifted(save: Save, published: dict[str, torch.Tensor]) -> Path:
    names = list(published)
    weights = {name: tensor.bfloat16() for name, tensor in published.items()}
    return save({name: weights[name] for name in names[:28]}, {name: weights[name] for name in names[28:]})


@pytest.fixture
def inspected(drifted: Path, bundled: Catalog) -> Inspection:
    return inspect(drifted, bundled)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_there_and_back(drifted: Path, inspected: Inspection, bundled: Catalog) -> None:
    before = contents(drifted)
    path = repair_in_place(inspected.checkpoint, inspected.plan)
    assert path == drifted / "doctor-undo-1.bin"
    assert state_of(read_undo(path)) is State.REPAIRED
    assert inspect(drifted, bundled).plan.rescales == ()
    assert undo(path) == f"{path}: found the checkpoint repaired; 3 tensors restored, undo file removed"
    assert contents(drifted) == before


def test_repairs_what_the_copying_writer_writes(inspected: Inspection, tmp_path: Path, drifted: Path) -> None:
    from doctor.weights.writer import write_repaired

    out = write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    repair_in_place(inspected.checkpoint, inspected.plan)
    for file in drifted.glob("*.safetensors"):
        assert file.read_bytes() == (out / file.name).read_bytes()


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_a_run_that_was_cut_off_is_finished_or_restored(
    stop_after: int, drifted: Path, inspected: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(drifted)
    _cut_off(inspected, stop_after, monkeypatch)
    path = drifted / "doctor-undo-1.bin"
    assert state_of(read_undo(path)) is State.INTERRUPTED
    restore(read_undo(path))
    assert contents(drifted) == before
    _cut_off(inspected, stop_after, monkeypatch)
    said = finish_interrupted(inspected.checkpoint)
    assert said == f"{path}: a repair in place was interrupted and is now finished; --undo {path} restores the original"
    assert state_of(read_undo(path)) is State.REPAIRED
    assert finish_interrupted(inspected.checkpoint) == ""


def _cut_off(inspected: Inspection, stop_after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop a repair in the middle of the tensor after ``stop_after`` whole ones: half of its bytes are written."""
    real = undo_module._overwrite
    count = 0

    def stopping(one: undo_module.Saved, blocks: object, expected: str) -> None:
        nonlocal count
        if count == stop_after:
            content = b"".join(blocks)  # type: ignore[arg-type]
            with open(one.region.file, "r+b") as file:
                file.seek(one.region.offset)
                file.write(content[: len(content) // 2 + 1])
            raise KeyboardInterrupt
        count += 1
        real(one, blocks, expected)  # type: ignore[arg-type]

    monkeypatch.setattr(undo_module, "_overwrite", stopping)
    with pytest.raises(KeyboardInterrupt):
        repair_in_place(inspected.checkpoint, inspected.plan)
    monkeypatch.undo()


def test_drafts_and_undo_files_of_nothing_are_removed(drifted: Path, inspected: Inspection) -> None:
    path = repair_in_place(inspected.checkpoint, inspected.plan)
    content = path.read_bytes()
    restore(read_undo(path))
    path.write_bytes(content)
    (drifted / "doctor-undo-2.bin.part").write_bytes(content[:100])
    assert find_interrupted(drifted) is None
    assert list(drifted.glob("doctor-undo*")) == []


def test_tensors_that_something_else_changed_are_not_restored(drifted: Path, inspected: Inspection) -> None:
    path = repair_in_place(inspected.checkpoint, inspected.plan)
    region = read_undo(path).saved[0].region
    with open(region.file, "r+b") as file:
        file.seek(region.offset)
        file.write(b"\x11\x22\x33\x44")
    before = contents(drifted)
    with pytest.raises(
        CheckpointError, match="changed by something else since; restoring would destroy that, nothing was done"
    ):
        restore(read_undo(path))
    assert contents(drifted) == before


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: b"", "not an undo file"),
        (lambda content: b"\0" * 100, "not an undo file"),
        (lambda content: content[:-1], "damaged"),
        (lambda content: content[:40], "damaged|not an undo file"),
        (lambda content: content[:-40] + b"\0" + content[-39:], "checksum does not fit"),
        (lambda content: content.replace(b'"file": "model', b'"file": "../odel'), "damaged"),
    ],
)
def test_damaged_undo_files_are_not_used(
    damage: Callable[[bytes], bytes], said: str, drifted: Path, inspected: Inspection
) -> None:
    path = repair_in_place(inspected.checkpoint, inspected.plan)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=said):
        read_undo(path)


def test_files_that_are_shared_by_links_are_not_changed(drifted: Path, inspected: Inspection, tmp_path: Path) -> None:
    before = contents(drifted)
    os.link(drifted / "model-00002-of-00002.safetensors", tmp_path / "other")
    with pytest.raises(CheckpointError, match="shared with other names by a link"):
        repair_in_place(inspected.checkpoint, inspected.plan)
    assert contents(drifted) == before
