"""Writers killed at any moment: the input is whole, and the output is whole or not there."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

Save = Callable[..., Path]

# Runs in a process of its own, since it forks. A child repairs, the parent kills it somewhere between start and end.
ROUNDS = """
import hashlib, json, os, random, shutil, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from doctor import catalog
from doctor.errors import CheckpointError
from doctor.weights.checkpoint import open_checkpoint
from doctor.weights.inspection import inspect
from doctor.weights import rescale, treatment, undo, writer

way, folder, out, rounds = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
inspected = inspect(folder, catalog.load())
named = {one.name: one for one in inspected.measured}
rescale.measure = lambda entries, **_: ([named[entry.name] for entry in entries], [])

def contents(path):
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

def work():
    if way == "copy":
        writer.write_repaired(inspected.checkpoint, inspected.plan, out)
    else:
        undo.repair_in_place(inspected.checkpoint, inspected.plan)

def child():
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid

before = contents(folder)
def reset():
    shutil.rmtree(out, ignore_errors=True)
    for path in folder.glob("doctor-undo-*.bin"):
        undo.restore(undo.read_undo(path))

longest = 60.0
for _ in range(3):  # the machine may be busy: the fastest of three is nearest to what a run needs
    reset()
    started = time.perf_counter()
    os.waitpid(child(), 0)
    longest = min(longest, (time.perf_counter() - started) * 1.1)
repaired = contents(out if way == "copy" else folder)
seen = {"absent": 0, "whole": 0, "interrupted": 0}
random.seed(0)
for n in range(rounds):
    reset()
    assert contents(folder) == before, n
    pid = child()
    time.sleep(random.random() * longest)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if way == "copy":
        assert contents(folder) == before, n
        assert not out.exists() or contents(out) == repaired, n
        partial = out.with_name(f".{out.name}.doctor-partial")
        under_their_names = {k: v for k, v in contents(partial).items() if k.endswith(".safetensors")}
        assert under_their_names.items() <= repaired.items(), n  # nothing loads that is not whole
        seen["whole" if out.exists() else "absent"] += 1
    else:
        found = undo.find_interrupted(folder)
        if found is not None:
            undo.finish(found[0])
            seen["interrupted"] += 1
        now = contents(folder)
        assert now == before or now == repaired, n
        seen["whole" if now == repaired else "absent"] += 1
if way == "copy":
    shutil.rmtree(out, ignore_errors=True)
    work()
    assert contents(out) == repaired
print(json.dumps(seen))
"""


@pytest.mark.parametrize(("way", "rounds"), [("copy", 200), ("in place", 100)])
def test_killed_at_any_moment(
    way: str, rounds: int, save: Save, published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    names = list(published)
    folder = save({name: published[name] for name in names[:28]}, {name: published[name] for name in names[28:]})
    command = [sys.executable, "-c", ROUNDS, way, str(folder), str(tmp_path / "out"), str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["absent"] > 0
    assert seen["whole"] > 0
    assert seen["absent"] + seen["whole"] == rounds
