import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from doctor.errors import CheckpointError
from doctor.weights.entries import FaultKind, Unmeasured
from doctor.weights.measure import measure
from doctor.weights.torch_files import read_torch_file


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_torch_file(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path.parent), "DIR")


class Runs:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_tensors_are_measured_where_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    weights = {
        "a": torch.randn(40, 30),
        "b": torch.randn(7).bfloat16(),
        "deep": {"c": torch.randn(3, 4).half()},
        "step": 7,
    }
    torch.save(weights, path)
    file = read_torch_file(path)
    measured, faults = measure(file.entries)
    assert faults == []
    expected = {"a": weights["a"], "b": weights["b"], "deep.c": weights["deep"]["c"]}
    assert {one.name: one.moments.std for one in measured} == {
        name: pytest.approx(float(tensor.double().std()), rel=1e-12) for name, tensor in expected.items()
    }


def test_views_and_ties(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    whole = torch.randn(6, 8)
    torch.save({"embed": whole, "head": whole, "turned": whole.t(), "row": whole[2], "holes": whole[:, ::2]}, path)
    file = read_torch_file(path)
    measured, _ = measure(file.entries)
    found = {one.name: one.moments.mean for one in measured}
    assert file.aliases == {"head": "embed"}
    assert found["row"] == pytest.approx(float(whole[2].double().mean()))
    assert found["turned"] == found["embed"]
    assert file.unmeasured == (Unmeasured("holes", path, "it is not a dense array"),)


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "model.bin", tmp_path / "mark"
    torch.save({"a": torch.ones(3), "b": Runs(mark)}, path)
    assert refusal(path) == (
        "DIR/model.bin: holds code or objects beside the weights (posix.system); it was not run. "
        "Save the weights alone, as safetensors"
    )
    path.write_bytes(pickle.dumps(Runs(mark)))
    assert "a bare pickle, or the format of torch before 1.6; doctor does not run it" in refusal(path)
    assert not mark.exists()


@pytest.mark.parametrize("keep", [0, 3, 100, 400])
def test_a_file_that_is_cut_short(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "model.bin"
    torch.save({"a": torch.ones(300)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    assert refusal(path).startswith("DIR/model.bin: ")


def test_an_older_torch_is_named_as_the_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.serialization, "skip_data")
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pt")
    assert refusal(tmp_path / "model.pt").startswith(
        "DIR/model.pt: torch 2.6 or later is needed to read it, here is 2."
    )


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert refusal(path) == "DIR/model.bin: is a git-lfs pointer, not the weights; run `git lfs pull`"
    torch.save({"step": 3}, path)
    assert refusal(path) == "DIR/model.bin: no tensors in it; give the file with the model's weights"
    path.write_bytes(b"PK\x03\x04 nothing of the kind")
    assert "can't be read as a torch file" in refusal(path)


def test_an_archive_with_compressed_records_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", bytes(50_000_000))
    assert "holds records that no torch file has (compressed, or larger than it); not read" in refusal(path)


def test_a_tensor_that_claims_more_than_the_file_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    torch.save({"a": torch.ones(3), "b": torch.ones(1000)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():  # 1000 elements become 2 ** 30, in the pickle only
            archive.writestr(name, content.replace(b"M\xe8\x03", b"J\x00\x00\x00\x40"))
    file = read_torch_file(path)
    assert [entry.name for entry in file.entries] == ["a"]
    assert [(fault.kind, fault.tensor) for fault in file.faults] == [(FaultKind.UNREADABLE, "b")]
