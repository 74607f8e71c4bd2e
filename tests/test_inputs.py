"""No input is written over: what is read is no place for what is written, whatever it is called."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from doctor.cli import main

Run = Callable[..., tuple[int, str]]

LOG = "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
METRICS = "step,loss\n1,2.5\n2,2.4\n"
CONFIG = "base_model: ./base\ndeepspeed: zero.json\nadapter: lora\n"
SIGNATURE = (Path(__file__).parent / "own_signature.toml").read_text()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs doctor in a folder with files of all kinds; gives its exit code and the last line of standard error."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "ckpt", "base", "mine/ours"):
        Path(name).mkdir(parents=True)
    for name, text in {
        "run.log": LOG,
        "run/rank_0.log": LOG,
        "run/metrics.csv": METRICS,
        "run.yaml": CONFIG,
        "zero.json": '{"zero_optimization": {"stage": 2}}',
        "base/config.json": '{"model_type": "llama"}',
        "ckpt/config.json": '{"model_type": "llama"}',
        "rules.yaml": "normalize_weight_scales: [{name_pattern: conv1d, threshold: 1.3}]\n",
        "mine/ours/index-gone.toml": SIGNATURE,
    }.items():
        Path(name).write_text(text)
    save_file({"model.layers.0.conv1d.weight": torch.ones(8, 1, 4)}, "ckpt/model.safetensors")
    shutil.copy("ckpt/model.safetensors", "base")
    os.symlink("run.log", "latest.txt")
    os.link("run.log", "hard.log")
    os.symlink("ckpt", "link")

    def command(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["doctor", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), ([*capsys.readouterr().err.splitlines(), ""])[-2:][0]

    return command


def contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


REFUSED = [
    ("logs", "run.log", "--output", "run.log"),
    ("logs", "run.log", "--output", "./run/../run.log"),
    ("logs", "run.log", "--output", "latest.txt"),
    ("logs", "latest.txt", "--output", "run.log"),
    ("logs", "run.log", "--output", "hard.log"),
    ("logs", "*.log", "--output", "run.log"),
    ("logs", "run.log", "--traces", "run.log"),
    ("logs", "run/metrics.csv", "--traces", "run/metrics.csv"),
    ("logs", "run", "--traces", "run/metrics.csv"),
    ("logs", "run", "--output", "run/rank_0.log"),
    ("logs", "run.log", "--config", "run.yaml", "--output", "run.yaml"),
    ("logs", "run.log", "--signatures", "mine", "--output", "mine/ours/index-gone.toml"),
    ("config", "run.yaml", "--output", "run.yaml"),
    ("config", "run.yaml", "--output", "zero.json"),
    ("config", "run.yaml", "--output", "base/config.json"),
    ("config", "run.yaml", "--signatures", "mine", "--output", "mine/ours/index-gone.toml"),
    ("weights", "ckpt", "--dry-run", "--output", "ckpt/model.safetensors"),
    ("weights", "ckpt", "--dry-run", "--output", "link/config.json"),
    ("weights", "ckpt", "--dry-run", "--tensors", "ckpt/config.json"),
    ("weights", "ckpt/model.safetensors", "--dry-run", "--tensors", "ckpt/config.json"),
    ("weights", "ckpt", "--dry-run", "--base", "base", "--output", "base/model.safetensors"),
    ("weights", "ckpt", "--dry-run", "--rules", "rules.yaml", "--output", "rules.yaml"),
    ("weights", "ckpt", "--dry-run", "--signatures", "mine", "--output", "mine/ours/index-gone.toml"),
]


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_an_input_is_never_written_over(run: Run, arguments: tuple[str, ...]) -> None:
    before = contents()
    option, path = arguments[-2:]
    assert run(*arguments) == (
        2,
        f"Error: {option} {Path(path)}: is one of the files that are read; choose another place",
    )
    assert contents() == before


def test_standard_input_may_be_a_file_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctor.inputs.STDIN_FILE", Path("run.log"))
    assert run("logs", "-", "--output", "run.log")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("logs", "run.log", "--output", "report.txt"),
        ("logs", "run", "--output", "run/report.md"),
        ("logs", "run", "--traces", "run/points.csv"),
        ("config", "run.yaml", "--output", "report.txt"),
        ("weights", "ckpt", "--dry-run", "--tensors", "tensors.csv"),
    ],
    ids=" ".join,
)
def test_other_files_are_written_again_and_again(run: Run, arguments: tuple[str, ...]) -> None:
    for _ in range(2):
        assert run(*arguments)[0] in (0, 1)
    assert Path(arguments[-1]).stat().st_size


def test_what_is_no_regular_file_may_be_read_and_written(run: Run) -> None:
    assert run("logs", "/dev/null", "--output", "/dev/null")[0] == 0
