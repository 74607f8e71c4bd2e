from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
import torch

from doctor.errors import CheckpointError
from doctor.weights.checkpoint import open_checkpoint
from doctor.weights.compare import Change, Status
from doctor.weights.measure import measure
from doctor.weights.table import table_of, write_table

Save = Callable[..., Path]


@pytest.fixture
def folder(save: Save) -> Path:
    return save(
        {"model.layers.3.mlp.experts.down_proj": torch.ones(2, 4, 5), "lm_head.weight": torch.tensor([[3.0, -4.0]])}
    )


def test_a_row_for_each_tensor_and_expert(folder: Path) -> None:
    measured, _ = measure(open_checkpoint(folder).entries)
    frame = table_of(measured, [Change("lm_head.weight", Status.CHANGED, 0.5, 2.0)]).set_index(["tensor", "expert"])
    assert list(frame["role"]) == ["lm_head", "expert", "expert", "expert"]
    assert list(frame["shape"]) == ["1x2", "2x4x5", "4x5", "4x5"]
    head = frame.iloc[0]
    assert (head["l2"], head["absmax"], head["mean"], head["count"]) == (pytest.approx(5.0), 4.0, -0.5, 2)
    assert (head["base"], head["distance"], head["std_ratio"]) == ("changed", 0.5, 2.0)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files(folder: Path, tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"out{suffix}"
    measured, _ = measure(open_checkpoint(folder).entries)
    write_table(path, measured)
    frame = pandas.read_csv(path) if suffix == ".csv" else pandas.read_parquet(path)
    assert list(frame["tensor"]) == ["lm_head.weight", *["model.layers.3.mlp.experts.down_proj"] * 3]


def test_places_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"write the tensors to a \.csv or a \.parquet file"):
        write_table(tmp_path / "out.xlsx", [])
    with pytest.raises(CheckpointError, match="can't be written"):
        write_table(tmp_path / "missing" / "out.csv", [])
