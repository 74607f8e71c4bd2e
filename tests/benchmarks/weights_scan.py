"""How fast `doctor weights` goes over a checkpoint, beside what it is compared with, in one run.

    python tests/benchmarks/weights_scan.py --gb 4
    python tests/benchmarks/weights_scan.py --gb 40 --folder /data/bench --cuda

It makes a bf16 checkpoint with the tensors of Qwen3.5-35B-A3B (40 layers, three drifted convolutions; 256 experts whose
width makes it as large as asked for, below 16 GB fewer experts of the real width), warms the page cache, and prints a
table. Every row runs in a process of its own, --repeat times, and counts with its best time: a shared machine only ever
adds to it. Imports count where the command line is measured, and nowhere else. The CPU column is the time of all its threads and processes; where the cores are shared, compare that.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

LAYERS, EXPERTS, WIDTH, HIDDEN, SHARD = 40, 256, 512, 2048, 4_000_000_000
DRIFTED = {36: 1.62, 37: 1.63, 38: 1.42}
READ_BUFFER = 16 << 20
OWN = ("doctor.weights.checkpoint", "doctor.weights.measure")
Tensor = tuple[str, tuple[int, ...], float]
Row = tuple[str, Callable[[], None], int] | tuple[str, Callable[[], None], int, tuple[str, ...]]


def tensors(gb: float) -> Iterator[Tensor]:
    """Name, shape and standard deviation of every tensor."""
    vocab = 248_320 if gb >= 16 else 16_384
    others = 2 * 2 * vocab * HIDDEN + LAYERS * 2 * 20_000_000
    left = (gb * 1e9 - others) / (LAYERS * 3 * HIDDEN * 2)  # experts times their width
    experts, width = (EXPERTS, int(left / EXPERTS)) if gb >= 16 else (max(2, int(left / WIDTH)), WIDTH)
    yield "model.language_model.embed_tokens.weight", (vocab, HIDDEN), 0.02
    for layer in range(LAYERS):
        at = f"model.language_model.layers.{layer}"
        yield f"{at}.input_layernorm.weight", (HIDDEN,), 0.3
        if (layer + 1) % 4:
            yield f"{at}.linear_attn.in_proj_qkv.weight", (8192, HIDDEN), 0.02
            yield f"{at}.linear_attn.conv1d.weight", (8192, 1, 4), 0.0627 * DRIFTED.get(layer, 1.0)
        else:
            yield f"{at}.self_attn.q_proj.weight", (8192, HIDDEN), 0.02
        yield f"{at}.mlp.gate.weight", (EXPERTS, HIDDEN), 0.02
        yield f"{at}.mlp.experts.gate_up_proj", (experts, 2 * width, HIDDEN), 0.02
        yield f"{at}.mlp.experts.down_proj", (experts, HIDDEN, width), 0.02
    yield "lm_head.weight", (vocab, HIDDEN), 0.02


def make(folder: Path, gb: float) -> None:
    """Write the checkpoint: every tensor is a stretch of one pool of normal numbers, scaled."""
    pool = np.random.default_rng(0).standard_normal(1 << 25, dtype=np.float32)
    shards: list[list[Tensor]] = [[]]
    size = 0
    for one in tensors(gb):
        nbytes = 2 * int(np.prod(one[1]))
        if shards[-1] and size + nbytes > SHARD:
            shards.append([])
            size = 0
        shards[-1].append(one)
        size += nbytes
    table = {}
    for n, shard in enumerate(shards, 1):
        name = f"model-{n:05d}-of-{len(shards):05d}.safetensors"
        write_shard(folder / name, shard, pool)
        table |= dict.fromkeys((one[0] for one in shard), name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_5_moe", "num_hidden_layers": LAYERS}))


def write_shard(path: Path, shard: list[Tensor], pool: np.ndarray) -> None:
    """One safetensors file, written as a stream: the library would want all of it in memory."""
    header, at = {}, 0
    for name, shape, _ in shard:
        nbytes = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + nbytes]}
        at += nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape, std in shard:
            scaled = ((pool * np.float32(std)).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
            left, start = int(np.prod(shape)), zlib.crc32(name.encode()) % (len(pool) // 2)
            while left:
                part = scaled[start : start + left]
                file.write(part.data)
                left, start = left - len(part), (start + 12_345) % (len(pool) // 2)


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def read(folder: Path, threads: int = 1) -> None:
    """Plain read() with a 16 MB buffer over all files, by turns of one buffer where there are several threads."""

    def work(own: int) -> None:
        buffer = memoryview(bytearray(READ_BUFFER))
        for path in files_of(folder):
            with open(path, "rb", buffering=0) as file:
                for at in range(own * READ_BUFFER, path.stat().st_size, threads * READ_BUFFER):
                    os.preadv(file.fileno(), [buffer], at)

    workers = [threading.Thread(target=work, args=(own,)) for own in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def straight(folder: Path) -> None:
    """What one writes first: safe_open, and float().std() of each tensor."""
    from safetensors import safe_open

    for path in files_of(folder):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                file.get_tensor(name).float().std().item()


def doctor(folder: Path, workers: int) -> None:
    """doctor's pass: mean, std, rms, norm, absmax, NaN, Inf and zeros of each tensor and each expert."""
    from doctor.weights.checkpoint import open_checkpoint
    from doctor.weights.measure import measure

    measured, faults = measure(open_checkpoint(folder).entries, workers=workers)
    assert measured
    assert not faults


def cuda(folder: Path) -> None:
    """The same statistics on a GPU: pinned buffers, copied and reduced there, to see whether it would help."""
    import torch

    buffers = [torch.empty(64 << 20, dtype=torch.uint8).pin_memory() for _ in range(2)]
    events = [torch.cuda.Event(), torch.cuda.Event()]
    results = []
    for path in files_of(folder):
        with open(path, "rb", buffering=0) as file:
            for n, at in enumerate(range(0, path.stat().st_size, 64 << 20)):
                events[n % 2].synchronize()
                count = os.preadv(file.fileno(), [buffers[n % 2].numpy().data], at) & ~1
                chunk = buffers[n % 2][:count].cuda(non_blocking=True).view(torch.bfloat16)
                events[n % 2].record()
                wide = chunk.float()
                results.append(
                    torch.stack([wide.sum(), wide.square().sum(), wide.abs().max(), (wide == 0).sum().float()])
                )
    torch.stack(results).cpu()


def command(folder: Path, *arguments: str) -> None:
    """The command line, as it is typed."""
    line = [sys.executable, "-m", "doctor", "weights", str(folder), *arguments, "--format", "json"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert len(report["plan"]) == len(DRIFTED), report["plan"]


def rescale(folder: Path, out: Path) -> None:
    """Plan and write the repaired copy."""
    shutil.rmtree(out, ignore_errors=True)
    command(folder, "--rule", r"linear_attn\.conv1d\.weight=1.3", "--out", str(out))


def copy(folder: Path, out: Path) -> None:
    """cp -r, and sync, since doctor syncs what it writes."""
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(["cp", "-r", str(folder), str(out)], check=True)
    for path in out.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def timed(work: Callable[[], None], repeat: int, modules: tuple[str, ...] = ()) -> tuple[float, float, int]:
    """Best wall and CPU time of several runs in forked processes, and the largest resident set of one, in bytes.

    The clock starts when these modules are imported.
    """
    best, cpu, largest = float("inf"), float("inf"), 0
    for _ in range(repeat):
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                for module in modules:
                    importlib.import_module(module)
                started, before = time.perf_counter(), cpu_seconds()
                work()
                os.write(tell, json.dumps([time.perf_counter() - started, cpu_seconds() - before]).encode())
            except BaseException as fault:  # noqa: BLE001
                print(f"  failed: {fault!r}", file=sys.stderr)
                os._exit(1)
            os._exit(0)
        _, status, usage = os.wait4(pid, 0)
        if status:
            return float("nan"), float("nan"), 0
        wall, own = json.loads(os.read(told, 1000))
        best, cpu = min(best, wall), min(cpu, own)
        largest = max(largest, usage.ru_maxrss * 1024)
        os.close(told)
        os.close(tell)
    return best, cpu, largest


def main() -> None:
    """Make the checkpoint, run the rows, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=4, help="size of the checkpoint in GB")
    parser.add_argument("--folder", type=Path, help="where to make it, and keep it (default: a temporary folder)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--skip-copies", action="store_true", help="leave out what writes the checkpoint again")
    parser.add_argument("--cuda", action="store_true", help="also measure on a GPU")
    options = parser.parse_args()
    root = str(Path(__file__).resolve().parents[2])
    sys.path.insert(0, root)
    os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as temporary:
        home = options.folder or Path(temporary)
        folder = home / f"bench-{options.gb:g}gb"
        if not folder.exists():
            folder.mkdir(parents=True)
            make(folder, options.gb)
        report(folder, options)


def report(folder: Path, options: argparse.Namespace) -> None:
    """The rows, one after the other."""
    size = sum(path.stat().st_size for path in files_of(folder))
    print(
        f"{size / 1e9:.1f} GB, {len(files_of(folder))} files, {options.threads} threads, load {os.getloadavg()[0]:.1f}"
    )
    read(folder)
    threads, out = options.threads, folder.with_name(f"{folder.name}-out")
    rows: list[Row] = [
        ("read(), 16 MB buffer, 1 thread", lambda: read(folder), options.repeat),
        (f"read(), 16 MB buffer, {threads} threads", lambda: read(folder, threads), options.repeat),
        ("safe_open, float().std()", lambda: straight(folder), 1, ("torch", "safetensors")),
        ("doctor, full statistics", lambda: doctor(folder, threads), options.repeat, OWN),
        ("doctor weights --dry-run, all signatures", lambda: command(folder, "--dry-run"), 1),
        (
            "doctor weights --dry-run --rule conv1d",
            lambda: command(folder, "--dry-run", "--rule", "conv1d=1.3"),
            options.repeat,
        ),
    ]
    if options.cuda:
        rows.append(("GPU, the same sums", lambda: cuda(folder), options.repeat, ("torch",)))
    if not options.skip_copies:
        rows += [
            ("cp -r and sync", lambda: copy(folder, out), 1),
            ("doctor weights --out, 3 rescaled", lambda: rescale(folder, out), 1),
        ]
    found: dict[str, tuple[float, float]] = {}
    for name, work, repeat, *modules in rows:
        seconds, cpu, resident = timed(work, repeat, *modules)
        found[name] = seconds, cpu
        print(
            f"{name:42} {seconds:8.2f} s {size / seconds / 1e9:7.2f} GB/s {cpu:8.2f} CPU s {resident / 1e6:7.0f} MB",
            flush=True,
        )
    shutil.rmtree(out, ignore_errors=True)
    mine = found["doctor, full statistics"]
    for name in list(found)[:3]:
        wall, cpu = (peer / own for peer, own in zip(found[name], mine, strict=True))
        print(f"rate of doctor's pass over that of {name}: {wall:.2f} by wall time, {cpu:.2f} by CPU time")


if __name__ == "__main__":
    main()
