"""`doctor weights` as it is run: exit codes, what it prints, what it writes."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from doctor.cli import main


@dataclass(frozen=True)
class Done:
    """What a run of the command left."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `doctor weights` in an empty folder."""

    def command(*arguments: str) -> Done:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["doctor", "weights", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return command


@pytest.fixture
def drifted(tmp_path: Path) -> Path:
    folder = tmp_path / "ckpt"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    weights = {
        f"model.layers.{i}.linear_attn.conv1d.weight": torch.randn(512, 1, 4, generator=generator) * 0.06
        for i in range(8)
    }
    weights["model.layers.6.linear_attn.conv1d.weight"] *= 2
    save_file({name: tensor.bfloat16() for name, tensor in weights.items()}, folder / "model.safetensors")
    return folder


NAME = "model.layers.6.linear_attn.conv1d.weight"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_dry_run_prints_the_plan_and_writes_nothing(run: Run, drifted: Path, tmp_path: Path) -> None:
    before = names(tmp_path)
    done = run("ckpt", "--dry-run")
    assert (done.returncode, done.stderr) == (1, "")
    assert "moe/weight-scale-drift" in done.stdout.splitlines()[0]
    assert "x <--" in done.stdout
    assert "A rescale changes the\n       function that the model computes" in done.stdout
    assert "Nothing was written." in done.stdout
    assert names(tmp_path) == before


def test_writes_a_repaired_copy_beside_it(run: Run, drifted: Path, tmp_path: Path) -> None:
    done = run("ckpt", "--format", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert [row["tensor"] for row in report["plan"]] == [NAME]
    assert Path(report["written"]).name == "ckpt-repaired"
    factor = report["plan"][0]["factor"]
    old, new = load_file(drifted / "model.safetensors"), load_file(tmp_path / "ckpt-repaired" / "model.safetensors")
    assert torch.equal(new[NAME], old[NAME].clone().mul_(factor))
    again = run("ckpt-repaired", "--format", "json")
    assert (again.returncode, json.loads(again.stdout)["written"]) == (0, None)
    assert json.loads(again.stdout)["verdict"]["summary"] == "8 tensors measured, nothing is out of line."
    assert names(tmp_path) == [
        "ckpt-repaired/doctor-repair.json",
        "ckpt-repaired/model.safetensors",
        "ckpt/model.safetensors",
    ]
    refused = run("ckpt")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "exists already; give another place with --out" in refused.stderr


def test_in_place_and_undo(run: Run, drifted: Path) -> None:
    before = (drifted / "model.safetensors").read_bytes()
    assert run("ckpt", "--in-place").returncode == 1
    assert (drifted / "model.safetensors").read_bytes() != before
    assert run("ckpt", "--dry-run").returncode == 0
    undone = run("--undo", "ckpt/doctor-undo-1.bin")
    assert (undone.returncode, undone.stdout) == (
        0,
        "ckpt/doctor-undo-1.bin: found the checkpoint repaired; 1 tensor restored, undo file removed\n",
    )
    assert (drifted / "model.safetensors").read_bytes() == before
    assert names(drifted) == ["model.safetensors"]


def test_rules(run: Run, drifted: Path, tmp_path: Path) -> None:
    assert run("ckpt", "--dry-run", "--rule", r"conv1d\.weight=2.5").returncode == 0
    (tmp_path / "run.yaml").write_text("normalize_weight_scales:\n  - name_pattern: conv1d\n    threshold: 1.5\n")
    assert run("ckpt", "--dry-run", "--rules", "run.yaml").returncode == 1
    wrong = run("ckpt", "--rule", "conv1d=much")
    assert (wrong.returncode, wrong.stdout) == (3, "")
    assert wrong.stderr.startswith('doctor: --rule "conv1d=much": "much" is not a number')


def test_tensors_and_base(run: Run, drifted: Path, tmp_path: Path) -> None:
    done = run("ckpt", "--dry-run", "--base", "ckpt", "--tensors", "out.csv", "--format", "markdown")
    assert done.returncode == 1
    assert "weights/base-unchanged" in done.stdout
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0].startswith("tensor,file,layer,expert,role,dtype,shape,count,mean,std,rms,l2,absmax,nan,inf,zeros")
    assert len(lines) == 9


@pytest.mark.parametrize(
    "arguments", [(), ("ckpt", "--in-place", "--out", "x"), ("ckpt", "--in-place", "--dry-run"), ("ckpt", "--nonsense")]
)
def test_usage(run: Run, drifted: Path, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).returncode == 2


def test_what_was_not_measured_is_not_clean(run: Run, tmp_path: Path) -> None:
    packed = {"a.weight": torch.ones(8, dtype=torch.uint8), "a.weight.absmax": torch.ones(2)}
    save_file(packed, tmp_path / "model.safetensors")
    verdict = json.loads(run("model.safetensors", "--format", "json").stdout)["verdict"]
    assert (verdict["state"], verdict["summary"]) == (
        "undecided",
        "1 tensors measured, nothing is out of line; 1 were not measured.",
    )


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch mark",)


HOSTILE: dict[str, bytes] = {
    "empty.safetensors": b"",
    "lfs.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "long.safetensors": (1 << 50).to_bytes(8, "little") + b"{}",
    "text.safetensors": (9).to_bytes(8, "little") + b"not json!",
    "code.bin": pickle.dumps(Runs()),
    "nothing.bin": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_line_and_exit_code_3(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name])
    done = run(name)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"doctor: {name}: ")
    assert names(tmp_path) == [name]


def test_damage_to_one_shard_is_a_finding(run: Run, drifted: Path, tmp_path: Path) -> None:
    (drifted / "more.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (drifted / "model.safetensors").rename(drifted / "weights.safetensors")
    done = run("ckpt", "--format", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert [finding["id"] for finding in report["findings"]] == ["weights/file-unreadable", "moe/weight-scale-drift"]
    assert (report["plan"], report["written"]) == ([], None)


def test_torch_is_not_loaded_to_judge_safetensors(root: Path, drifted: Path) -> None:
    code = "from doctor.cli import doctor; doctor(['weights', sys.argv[1], '--dry-run'], standalone_mode=False)"
    check = f"try:\n    {code}\nfinally:\n    assert not {{'torch', 'pandas'}} & set(sys.modules)"
    line = [sys.executable, "-c", f"import sys\n{check}", str(drifted)]
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=60)
    assert "AssertionError" not in done.stderr
    assert "moe/weight-scale-drift" in done.stdout
