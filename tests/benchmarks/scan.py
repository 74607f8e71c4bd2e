"""The scan against ripgrep: python tests/benchmarks/scan.py [--megabytes 500]

Makes a log of 64 ranks (framework INFO lines, NCCL INFO, progress bars, 2 % metric lines), scans it with all signatures,
and lets `rg -F -f LITERALS` search it for the same literals in the same run. Then the cold start on a 10 KB log against
`python -c "import click, rich.console"`, and the memory that a log ten times the size takes.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from doctor import catalog
from doctor.signature import Text

MEGABYTE = 1_000_000
REPEATS = 3


def log_lines(seed: int) -> list[str]:
    """About a megabyte of what a healthy run of 64 ranks prints; 2 % of the lines are metrics, whose epochs are to be filled in."""
    pick = random.Random(seed)
    lines = []
    for n in range(8000):
        rank, clock = (
            pick.randrange(64),
            f"2025-01-02 {n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02},{pick.randrange(1000):03}",
        )
        kind = pick.random()
        if kind < 0.02:
            lines.append(
                f"{{'loss': {pick.uniform(1, 2):.4f}, 'grad_norm': {pick.random():.3f}, 'learning_rate': 1.6e-05, 'epoch': EPOCH}}"
            )
        elif kind < 0.45:
            lines.append(
                f"[{clock}] [INFO] [axolotl.train] [PID:{4000 + rank}] [RANK:{rank}] prepared batch {n} of shard {pick.randrange(512)} in {pick.random():.3f} s"
            )
        elif kind < 0.8:
            lines.append(
                f"gpu-node-{rank // 8:02}:{3000 + rank}:{4000 + rank} [{rank % 8}] NCCL INFO Channel {n % 16:02}/0 : {rank}[{rank % 8}] -> {(rank + 1) % 64}[{(rank + 1) % 8}] via P2P/CUMEM/read"
            )
        elif kind < 0.9:
            lines.append(
                f"[rank{rank}]:[titan] {clock} - root - INFO - loaded {pick.randrange(10**6)} tokens from /data/shards/part-{pick.randrange(4096):05}.parquet"
            )
        else:
            lines.append(
                "".join(
                    f"\r {done:3}%|{'#' * (done // 10):<10}| {done}/100 [00:{done % 60:02}<00:10, 5.{rank:02}it/s]"
                    for done in range(0, 100, 25)
                )
            )
    return lines


def make_log(path: Path, megabytes: int) -> None:
    """A log of so many million bytes, of pieces in changing order."""
    pieces = ["\n".join(log_lines(seed)) + "\n" for seed in range(8)]
    pick, left = random.Random(0), megabytes * MEGABYTE
    with open(path, "w") as file:
        for epoch in count():
            if left <= 0:
                break
            piece = pick.choice(pieces).replace("EPOCH", f"{epoch / 100:.2f}")
            file.write(piece)
            left -= len(piece)


def literals() -> list[str]:
    """The longest literal of every pattern of every text signature."""
    found = set()
    for signature in catalog.load().signatures():
        for pattern in signature.match.any if isinstance(signature.match, Text) else ():
            runs = re.split(r"\\[sSdDwWbB]|\(\?P<\w+>|\(\?[:=!<]*|[()|\[\]{}*+?^$.]", pattern)
            found.add(max((run.replace("\\", "") for run in runs), key=len))
    return sorted(one for one in found if len(one) >= 4)


def seconds(command: list[str]) -> float:
    """The best wall-clock time of a few runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run(command)
        times.append(time.perf_counter() - start)
    return min(times)


def run(command: list[str]) -> None:
    """Run a command; nothing is measured of one that failed."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, text=True)
    if done.returncode not in (0, 1) or done.stderr:
        sys.exit(f"{' '.join(command[:4])} failed: {done.stderr[-400:]}")


def peak_memory(command: list[str]) -> int:
    """The largest resident set of a command, in MB."""
    code = f"import subprocess,resource; subprocess.run({command!r}, stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument(
        "--large", type=int, default=0, help="also measure the memory that a log of so many megabytes takes"
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ |= {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(folder / "pyc")}  # as installed: compiled once
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        measure(folder, options.megabytes, options.large)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, megabytes: int, large: int) -> None:
    log, words = folder / "run.log", folder / "literals"
    make_log(log, megabytes)
    words.write_text("\n".join(literals()) + "\n")
    doctor = [sys.executable, "-m", "doctor", "logs"]
    run([*doctor, str(log)])  # warm: page cache, index cache
    ours = seconds([*doctor, str(log)])
    print(f"{'':34}{'seconds':>9}{'MB/s':>9}")
    print(f"doctor logs, {megabytes} MB, all signatures {ours:>8.2f}{megabytes / ours:>9.0f}")
    if shutil.which("rg"):
        peer = seconds(["rg", "-F", "-c", "-f", str(words), str(log)])
        print(f"rg -F -f, {len(literals())} literals{'':10}{peer:>9.2f}{megabytes / peer:>9.0f}")
        print(f"ratio doctor / rg {ours / peer:>25.2f}   (goal 1.0)")
    print(f"memory {peak_memory([*doctor, str(log)]):>36} MB (goal 300)")
    if large:
        make_log(log, large)
        print(f"memory, {large} MB log {peak_memory([*doctor, str(log)]):>24} MB (goal 300)")
    small = folder / "small.log"
    small.write_text("\n".join(log_lines(1))[:10_000].replace("EPOCH", "0.01"))
    cold, base = seconds([*doctor, str(small)]), seconds([sys.executable, "-c", "import click, rich.console"])
    print(
        f"cold start, 10 KB log {cold:>20.3f} s, import click and rich {base:.3f} s: {cold / base:.1f} times (goal 3)"
    )


if __name__ == "__main__":
    main()
