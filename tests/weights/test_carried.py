from collections.abc import Callable
from pathlib import Path

import torch

from doctor.weights.carried import carried
from doctor.weights.checkpoint import open_checkpoint

Save = Callable[..., Path]


def test_small_files_are_carried_and_other_weights_are_left(save: Save) -> None:
    folder = save({"a": torch.ones(3)}, config={})
    for name in (
        "tokenizer.json",
        "pytorch_model.bin",
        "optimizer.pt",
        "doctor-undo-1.bin",
        "doctor-repair.json",
        ".hidden/x",
        "1_Pooling/config.json",
        "checkpoint-5/model.safetensors",
        "checkpoint-5/config.json",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"12")
    found = carried(open_checkpoint(folder))
    assert {relative.as_posix() for _, relative in found.files} == {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
    }
    assert found.weights == {Path("model.safetensors")}
    assert {path.as_posix() for path in found.left_behind} == {"pytorch_model.bin", "optimizer.pt"}
    assert found.nbytes == sum(source.stat().st_size for source, _ in found.files)


def test_a_single_file_goes_alone(save: Save) -> None:
    folder = save({"a": torch.ones(3)}, config={})
    assert [relative.name for _, relative in carried(open_checkpoint(folder / "model.safetensors")).files] == [
        "model.safetensors"
    ]
