import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from doctor.catalog import Catalog
from doctor.errors import CheckpointError
from doctor.weights import writer
from doctor.weights.inspection import Inspection, inspect
from doctor.weights.writer import LOCK, default_out, write_repaired

Save = Callable[..., Path]


@pytest.fixture
def drifted(save: Save, published: dict[str, torch.Tensor]) -> Path:
    """A sharded checkpoint in bfloat16 with three drifted layers in the second shard, and small files."""
    weights = {name: tensor.bfloat16() for name, tensor in published.items()}
    others = {"model.embed_tokens.weight": torch.randn(50, 16).bfloat16(), "model.norm.weight": torch.ones(16)}
    names = list(weights)
    folder = save(
        {**others, **{name: weights[name] for name in names[:15]}},
        {name: weights[name] for name in names[15:]},
        config={"a": 1},
    )
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "extra").mkdir()
    (folder / "extra" / "template.jinja").write_text("{{ messages }}")
    (folder / "optimizer.pt").write_bytes(b"state")
    return folder


@pytest.fixture
def inspected(drifted: Path, bundled: Catalog) -> Inspection:
    return inspect(drifted, bundled)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_changed_tensors_are_multiplied_and_every_other_byte_is_the_same(
    drifted: Path, inspected: Inspection, tmp_path: Path
) -> None:
    before = contents(drifted)
    out = write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    after = contents(out)
    assert contents(drifted) == before
    assert after.keys() == before.keys() - {"optimizer.pt"} | {"doctor-repair.json"}
    second = "model-00002-of-00002.safetensors"
    assert {name for name in before.keys() & after.keys() if before[name] != after[name]} == {second}
    factors = {one.name: one.factor for one in inspected.plan.rescales}
    assert {name.split(".")[3] for name in factors} == {"36", "37", "38"}
    old, new = load_file(drifted / second), load_file(out / second)
    for name in old:
        expected = old[name].clone().mul_(factors[name]) if name in factors else old[name]
        assert torch.equal(new[name], expected)
    changed = sum(old[name].numel() * 2 for name in factors)
    assert 0 < sum(a != b for a, b in zip(before[second], after[second], strict=True)) <= changed


def test_the_repaired_checkpoint_is_clean(inspected: Inspection, tmp_path: Path, bundled: Catalog) -> None:
    out = write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    again = inspect(out, bundled)
    assert (again.findings, again.plan.rescales) == ((), ())


def test_the_manifest(inspected: Inspection, tmp_path: Path) -> None:
    out = write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    manifest = json.loads((out / "doctor-repair.json").read_text())
    assert (manifest["schema"], manifest["source"], manifest["left_behind"]) == (
        "doctor.repair/1",
        "ckpt",
        ["optimizer.pt"],
    )
    assert [(row["tensor"], row["factor"]) for row in manifest["rescaled"]] == [
        (one.name, one.factor) for one in inspected.plan.rescales
    ]
    assert all(len(row["sha256_before"]) == len(row["sha256_after"]) == 64 for row in manifest["rescaled"])
    assert str(tmp_path) not in (out / "doctor-repair.json").read_text()


def test_a_single_file_goes_into_a_folder(save: Save, published: dict[str, torch.Tensor], bundled: Catalog) -> None:
    file = save(published) / "model.safetensors"
    inspected = inspect(file, bundled)
    out = write_repaired(inspected.checkpoint, inspected.plan, default_out(file))
    assert (out.name, sorted(path.name for path in out.iterdir())) == (
        "model-repaired",
        ["doctor-repair.json", "model.safetensors"],
    )


def test_what_exists_is_not_overwritten(inspected: Inspection, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match="exists already"):
        write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    os.symlink(tmp_path / "nowhere", tmp_path / "link")
    with pytest.raises(CheckpointError, match="exists already"):
        write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "link")
    with pytest.raises(CheckpointError, match="no such folder"):
        write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "missing" / "out")
    with pytest.raises(CheckpointError, match="lies inside of the checkpoint"):
        write_repaired(inspected.checkpoint, inspected.plan, inspected.checkpoint.path / "out")


def test_too_little_space_is_known_before_the_first_byte(
    inspected: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = os.statvfs(tmp_path)
    small = os.statvfs_result((4096, 4096, 10, 5, 5, *state[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: small)
    with pytest.raises(CheckpointError, match="bytes are to be written but 20,480 are free"):
        write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ckpt"]


def test_links_are_copied_as_files(drifted: Path, bundled: Catalog, tmp_path: Path) -> None:
    """A model cache holds links to blobs; the copy must not."""
    cache = tmp_path / "snapshot"
    cache.mkdir()
    for path in drifted.iterdir():
        if path.is_file():
            os.symlink(path, cache / path.name)
    inspected = inspect(cache, bundled)
    out = write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    assert not any(path.is_symlink() for path in out.iterdir())


def test_a_checkpoint_that_changed_since_is_not_repaired(drifted: Path, inspected: Inspection, tmp_path: Path) -> None:
    second = drifted / "model-00002-of-00002.safetensors"
    content = bytearray(second.read_bytes())
    content[-3] ^= 0x40
    second.write_bytes(content)
    with pytest.raises(CheckpointError, match="changed after it was measured"):
        write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


CALLS = ("copy_file_range", "fsync", "rename", "open")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_leaves_the_input_and_no_output(
    call: str, code: int, drifted: Path, inspected: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every one of the first calls fails in its turn, until a run passes without reaching the failing one."""
    before = contents(drifted)
    real = getattr(os, call)
    for nth in range(1, 40):
        count = 0

        def failing(*args: object, **keywords: object) -> object:
            nonlocal count
            count += 1
            if count == nth:  # noqa: B023
                raise OSError(code, os.strerror(code))
            return real(*args, **keywords)

        monkeypatch.setattr(writer.os, call, failing)
        try:
            write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
        except CheckpointError as fault:
            assert os.strerror(code) in str(fault)
        monkeypatch.undo()
        assert contents(drifted) == before
        left = {path.name for path in tmp_path.iterdir()}
        if count < nth:
            assert left == {"ckpt", "out"}
            return
        if "out" in left:  # the last sync failed, after the rename: the output is whole
            assert (tmp_path / "out" / "doctor-repair.json").exists()
            shutil.rmtree(tmp_path / "out")
        assert {path.name for path in tmp_path.iterdir()} == {"ckpt"}
    raise AssertionError("no run came through")


def test_without_copy_in_the_kernel(inspected: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*args: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(writer.os, "copy_file_range", unable)
    out = write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    first = "model-00001-of-00002.safetensors"
    assert (out / first).read_bytes() == (inspected.checkpoint.path / first).read_bytes()


def test_a_stale_folder_of_a_killed_run_is_removed_but_no_other(inspected: Inspection, tmp_path: Path) -> None:
    partial = tmp_path / ".out.doctor-partial"
    partial.mkdir()
    (partial / "mine").write_text("keep")
    with pytest.raises(CheckpointError, match="in the way, and not made by doctor"):
        write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    (partial / LOCK).touch()
    with open(partial / LOCK) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="another doctor is writing there"):
            write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ckpt", "out"]


def test_progress_counts_what_is_copied(inspected: Inspection, tmp_path: Path) -> None:
    seen: list[int] = []
    out = write_repaired(inspected.checkpoint, inspected.plan, tmp_path / "out", seen.append)
    assert sum(seen) == sum(len(content) for name, content in contents(out).items() if name != "doctor-repair.json")


def test_default_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "checkpoint-500"
    folder.mkdir()
    assert default_out(folder) == tmp_path / "checkpoint-500-repaired"
    assert default_out(folder / "model.safetensors") == folder / "model-repaired"
    monkeypatch.chdir(folder)
    assert default_out(Path()) == tmp_path / "checkpoint-500-repaired"
