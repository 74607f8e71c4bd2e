import pickle
from pathlib import Path

import pytest

from doctor.errors import CheckpointError
from doctor.weights.checkpoint import open_checkpoint
from doctor.weights.distributed import METADATA, read_metadata
from doctor.weights.entries import FaultKind
from doctor.weights.measure import measure


def test_holds_what_the_torch_file_of_the_same_training_holds(fixtures: Path) -> None:
    found, _ = measure(open_checkpoint(fixtures / "trained" / "llama-dcp").entries)
    expected, _ = measure(open_checkpoint(fixtures / "trained" / "llama.bin").entries)
    assert {one.name: one.moments for one in found} == {f"model.{one.name}": one.moments for one in expected}


def test_a_data_file_that_is_missing_is_a_fault(fixtures: Path, tmp_path: Path) -> None:
    (tmp_path / METADATA).write_bytes((fixtures / "trained" / "llama-dcp" / METADATA).read_bytes())
    with pytest.raises(CheckpointError, match=r"which can't be read: .*__0_0\.distcp: can't be read: No such file"):
        open_checkpoint(tmp_path)


def test_a_data_file_that_is_cut_short_loses_its_last_tensors(fixtures: Path, tmp_path: Path) -> None:
    for file in (fixtures / "trained" / "llama-dcp").iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content if file.name == METADATA else content[: len(content) // 2])
    opened = open_checkpoint(tmp_path)
    assert {fault.kind for fault in opened.faults} == {FaultKind.MISSING_TENSOR}
    assert len(opened.entries) + len(opened.faults) == len(open_checkpoint(fixtures / "trained" / "llama-dcp").entries)


class Runs:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.mark,)


def test_metadata_with_code_is_not_run(tmp_path: Path) -> None:
    (tmp_path / METADATA).write_bytes(pickle.dumps(Runs(tmp_path / "mark")))
    with pytest.raises(CheckpointError, match="a pickle with something that torch does not write"):
        open_checkpoint(tmp_path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"\x80\x04.",
        b"\x80\x04K\x01.",
        b"\x80\x04r\xff\xff\xff\xff.",
        b"\x80\x04K\x01r\xff\xff\xff\x7f0N.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
)
def test_damaged_metadata_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / METADATA
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_metadata(path)
    assert "\n" not in str(caught.value)
