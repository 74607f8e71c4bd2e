import shutil
from pathlib import Path

import numpy as np
import pytest

from doctor.errors import CheckpointError
from doctor.weights.checkpoint import open_checkpoint
from doctor.weights.dtypes import DTYPES
from doctor.weights.entries import Entry
from doctor.weights.moments import as_float64
from doctor.weights.rescale import read_blocks


def values(entry: Entry) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """The elements of a tensor, from all its pieces."""
    dtype = DTYPES[entry.dtype]
    runs = (read_blocks(piece.file, piece.offset, piece.count * dtype.bits // 8) for piece in entry.pieces)
    return as_float64(np.frombuffer(b"".join(block for run in runs for block in run), np.uint8), dtype)


@pytest.mark.parametrize("stage", [2, 3])
def test_joins_the_partitions_as_zero_to_fp32_does(fixtures: Path, stage: int) -> None:
    found = {one.name: one for one in open_checkpoint(fixtures / "zero" / f"stage{stage}").entries}
    expected = {one.name: one for one in open_checkpoint(fixtures / "zero" / f"joined{stage}").entries}
    assert found.keys() == expected.keys()
    for name, entry in found.items():
        assert entry.shape == expected[name].shape
        assert np.array_equal(values(entry), values(expected[name]))


def test_the_step_folder_itself_can_be_given(fixtures: Path) -> None:
    outer = open_checkpoint(fixtures / "zero" / "stage2")
    assert open_checkpoint(fixtures / "zero" / "stage2" / "global_step2").entries == outer.entries


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("*rank_0_*optim*", "partitions are missing (found ranks [1]); copy the whole folder"),
        ("*model_states.pt", "no *_model_states.pt beside the optimizer states; copy the whole folder"),
    ],
)
def test_missing_files(fixtures: Path, tmp_path: Path, gone: str, said: str) -> None:
    folder = tmp_path / "zero"
    shutil.copytree(fixtures / "zero" / "stage3", folder)
    for file in (folder / "global_step2").glob(gone):
        file.unlink()
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder)
    assert said in str(caught.value)


def test_the_last_partition_missing_does_not_pass_for_a_smaller_world(fixtures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "zero"
    shutil.copytree(fixtures / "zero" / "stage2", folder)
    next((folder / "global_step2").glob("*rank_1_*optim*")).unlink()
    with pytest.raises(CheckpointError, match="the partitions are too small for"):
        open_checkpoint(folder)
