import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from doctor.errors import CheckpointError
from doctor.weights.checkpoint import open_checkpoint
from doctor.weights.entries import Entry, Fault, FaultKind, Piece
from doctor.weights.measure import SPAN, measure
from doctor.weights.moments import exact

Save = Callable[..., Path]


def test_every_expert_of_a_stack_is_measured(save: Save) -> None:
    stack = torch.randn(6, 70, 300)
    stack[4, 3, 2] = float("nan")
    tensor = measure(open_checkpoint(save({"model.layers.0.mlp.experts.down_proj": stack})).entries)[0][0]
    healthy = [i for i in range(6) if i != 4]
    assert [tensor.experts[i].std for i in healthy] == pytest.approx(
        [float(stack[i].double().std()) for i in healthy], rel=1e-7
    )
    assert tensor.experts[4].first == 3 * 300 + 2
    assert tensor.moments.first == 4 * 70 * 300 + 3 * 300 + 2
    assert tensor.moments.nan == 1


def test_the_whole_stack_agrees_with_its_experts(save: Save) -> None:
    stack = torch.randn(5, 40, 30) * torch.arange(1, 6).view(5, 1, 1)
    tensor = measure(open_checkpoint(save({"model.layers.0.mlp.experts.down_proj": stack})).entries)[0][0]
    assert tensor.moments.std == pytest.approx(float(stack.double().std()), rel=1e-12)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forking beside torch's threads
def test_results_do_not_depend_on_the_processes(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctor.weights.measure.SMALL", 0)
    folder = save({f"l.{i}.weight": torch.randn(300_000 + i).bfloat16() for i in range(6)})
    entries = open_checkpoint(folder).entries
    assert measure(entries, workers=1) == measure(entries, workers=4)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_killed_worker_is_one_clear_line(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctor.weights.measure.SMALL", 0)
    monkeypatch.setattr("doctor.weights.measure._run", kill_myself)
    with pytest.raises(CheckpointError, match="a process that measured was killed"):
        measure(open_checkpoint(save({"a": torch.ones(10)})).entries, workers=2)


def kill_myself(task: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_tensor_larger_than_a_span(tmp_path: Path) -> None:
    path = tmp_path / "data"
    count = SPAN // 2 + 1000
    with open(path, "wb") as file:
        file.truncate(2 * count)  # sparse zeros
        file.seek(2 * (count - 1))
        file.write(b"\xc0\x7f")  # the last is a bfloat16 NaN
    tensor = measure([Entry("w", "BF16", (count,), (Piece(path, 0, count),))])[0][0]
    assert (tensor.moments.count, tensor.moments.zeros, tensor.moments.nan, tensor.moments.first) == (
        count,
        count - 1,
        1,
        count - 1,
    )


def test_pieces_in_several_files_are_one_tensor(tmp_path: Path) -> None:
    values = torch.randn(100)
    for n in range(2):
        (tmp_path / f"{n}").write_bytes(values[50 * n : 50 * n + 50].numpy().tobytes())
    pieces = (Piece(tmp_path / "0", 0, 50), Piece(tmp_path / "1", 0, 50))
    tensor = measure([Entry("w", "F32", (10, 10), pieces)])[0][0]
    assert tensor.moments.std == pytest.approx(exact(values.numpy()).std, rel=1e-12)


def test_what_can_not_be_read_is_a_fault_and_the_rest_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(100))
    good = Entry("good", "F32", (10,), (Piece(path, 0, 10),))
    short = Entry("short", "F32", (30,), (Piece(path, 0, 30),))
    gone = Entry("gone", "F32", (1,), (Piece(tmp_path / "gone", 0, 1),))
    measured, faults = measure([good, short, gone])
    assert [one.name for one in measured] == ["good"]
    assert faults == [
        Fault(FaultKind.UNREADABLE, path, "ended while it was read; is something writing to it?", "short"),
        Fault(FaultKind.UNREADABLE, tmp_path / "gone", "can't be opened: No such file or directory", "gone"),
    ]


def test_progress_counts_every_byte(save: Save) -> None:
    entries = open_checkpoint(save({"a": torch.ones(1000), "b": torch.ones(10).bfloat16()})).entries
    seen: list[int] = []
    measure(entries, seen.append)
    assert sum(seen) == 4020


def test_a_tensor_without_elements(save: Save) -> None:
    tensor = measure(open_checkpoint(save({"a": torch.ones(0, 4), "b": torch.ones(1)})).entries)[0][0]
    assert (tensor.name, tensor.moments.count, tensor.moments.norm) == ("a", 0, 0.0)
