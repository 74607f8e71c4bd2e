import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from doctor.errors import CheckpointError
from doctor.weights.checkpoint import open_checkpoint
from doctor.weights.entries import FaultKind, Format

Save = Callable[..., Path]
A, B = {"a.weight": torch.ones(4, 4)}, {"b.weight": torch.ones(2)}


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in open_checkpoint(path).entries)


def faults(path: Path) -> list[tuple[FaultKind, str, str]]:
    return [(fault.kind, fault.file.name, fault.tensor) for fault in open_checkpoint(path).faults]


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path.parent), "DIR")


def test_a_file_a_folder_and_an_index(save: Save) -> None:
    one, sharded = save(A), save(A, B, name="sharded", config={"model_type": "llama"})
    assert names(one) == names(one / "model.safetensors") == ["a.weight"]
    assert names(sharded) == names(sharded / "model.safetensors.index.json") == ["a.weight", "b.weight"]
    assert open_checkpoint(sharded).config == {"model_type": "llama"}


def test_an_adapter_is_known_by_its_config(fixtures: Path) -> None:
    opened = open_checkpoint(fixtures / "adapters" / "trained")
    assert opened.is_adapter
    assert opened.config["peft_type"] == "LORA"


def test_every_fixture_opens_without_faults(fixtures: Path) -> None:
    for folder in (*(fixtures / "fresh").iterdir(), *(fixtures / "trained").iterdir()):
        opened = open_checkpoint(folder)
        assert (opened.faults, opened.unmeasured) == ((), ())
        assert len(opened.entries) > 50


def test_formats(fixtures: Path) -> None:
    kinds = {path.name: open_checkpoint(path).format for path in (fixtures / "trained").iterdir()}
    assert kinds["llama"] is Format.SAFETENSORS
    assert kinds["llama.bin"] is Format.TORCH
    assert kinds["llama-dcp"] is Format.DISTRIBUTED
    assert open_checkpoint(fixtures / "zero" / "stage3").format is Format.ZERO


def test_training_state_beside_the_weights_is_no_weight(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "pytorch_model.bin")
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state.pth"):
        (tmp_path / name).write_bytes(b"anything")
    assert names(tmp_path) == ["w"]


def test_sharded_torch_files(tmp_path: Path) -> None:
    torch.save(A, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save(B, tmp_path / "pytorch_model-00002-of-00002.bin")
    table = {"a.weight": "pytorch_model-00001-of-00002.bin", "b.weight": "pytorch_model-00002-of-00002.bin"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": table}))
    assert names(tmp_path) == ["a.weight", "b.weight"]
    assert faults(tmp_path) == []


def test_index_and_shards_disagree(save: Save) -> None:
    folder = save(A, B)
    index = folder / "model.safetensors.index.json"
    table = json.loads(index.read_text())
    table["weight_map"] = {
        "a.weight": "model-00001-of-00002.safetensors",
        "c.weight": "model-00002-of-00002.safetensors",
    }
    index.write_text(json.dumps(table))
    assert faults(folder) == [
        (FaultKind.MISSING_TENSOR, "model.safetensors.index.json", "c.weight"),
        (FaultKind.UNINDEXED_TENSOR, "model-00002-of-00002.safetensors", "b.weight"),
    ]


def test_damage_to_one_shard_leaves_the_other_readable(save: Save) -> None:
    folder = save(A, B)
    second = folder / "model-00002-of-00002.safetensors"
    whole = second.read_bytes()
    second.unlink()
    assert faults(folder) == [(FaultKind.MISSING_SHARD, second.name, "")]
    second.write_bytes(whole[:-3])
    assert faults(folder) == [(FaultKind.TRUNCATED, second.name, "b.weight")]
    second.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert faults(folder) == [(FaultKind.UNREADABLE, second.name, "")]
    assert names(folder) == ["a.weight"]


def test_a_tensor_in_two_shards(save: Save) -> None:
    folder = save(A, B)
    save_file({**A, **B}, folder / "model-00002-of-00002.safetensors")
    assert faults(folder) == [(FaultKind.TWICE, "model-00002-of-00002.safetensors", "a.weight")]


def test_a_file_without_tensors_is_a_finding_not_an_error(tmp_path: Path) -> None:
    save_file({}, tmp_path / "adapter_model.safetensors")
    assert faults(tmp_path) == [(FaultKind.EMPTY, "adapter_model.safetensors", "")]


@pytest.mark.parametrize(
    "shard",
    ["../model.safetensors", "/etc/passwd", "sub/../../x.safetensors", "C:\\x.safetensors", "..\\x.safetensors"],
)
def test_an_index_that_leaves_its_folder_is_refused(save: Save, shard: str) -> None:
    folder = save(A, B)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a.weight": shard}}))
    assert "outside of the checkpoint's folder; do not trust it" in refusal(folder)


@pytest.mark.parametrize(
    "text", ["{}", "[]", "nonsense", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "[" * 100_000]
)
def test_an_index_that_is_none(save: Save, text: str) -> None:
    folder = save(A, B)
    (folder / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json: n" in refusal(folder)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    loop = tmp_path / "loop.safetensors"
    os.symlink(loop, loop)
    assert "no such file or folder" in refusal(tmp_path / "missing")
    assert "loop.safetensors: " in refusal(loop)
    assert "can't be reached: File name too long" in refusal(tmp_path / ("x" * 300))


def test_folders_without_weights(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(empty).startswith("DIR/empty: no weights in it; doctor reads *.safetensors")
    (empty / "checkpoint-500").mkdir()
    assert refusal(empty) == "DIR/empty: no weights in it; give one of its folders: checkpoint-500"


def test_other_kinds_of_files(tmp_path: Path) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    assert "not a checkpoint that doctor reads" in refusal(gguf)


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    assert refusal(path) == "DIR/model.safetensors: is empty (0 bytes); copy or download it again"


def test_a_pipe_does_not_hang(save: Save) -> None:
    folder = save(A, B)
    second = folder / "model-00002-of-00002.safetensors"
    second.unlink()
    os.mkfifo(second)
    assert faults(folder) == [(FaultKind.UNREADABLE, second.name, "")]
    assert "is not a regular file" in refusal(second)


def test_a_damaged_config_is_a_finding(save: Save) -> None:
    folder = save(A)
    (folder / "config.json").write_text('{"a": ')
    assert (names(folder), faults(folder)) == (["a.weight"], [(FaultKind.UNREADABLE, "config.json", "")])


def test_safetensors_come_before_the_optimizer_s_partitions(save: Save, fixtures: Path) -> None:
    folder = save(A)
    shutil.copytree(fixtures / "zero" / "stage2", folder, dirs_exist_ok=True)
    assert (open_checkpoint(folder).format, names(folder)) == (Format.SAFETENSORS, ["a.weight"])


def test_a_shard_that_is_a_link_in_a_circle(save: Save) -> None:
    folder = save(A, B)
    second = folder / "model-00002-of-00002.safetensors"
    second.unlink()
    os.symlink(second, second)
    assert faults(folder) == [(FaultKind.UNREADABLE, second.name, "")]
