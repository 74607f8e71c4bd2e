"""How fast metric lines are read: python tests/benchmarks/traces_speed.py [--lines N]

For each format N lines are made, scanned for metrics and read into points, on one core. Beside it, in the same run, what one
would write instead: a regular expression and float() on each line. Seconds of CPU; the ratio is what counts.
"""

import argparse
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from doctor.logs.block_cuts import Block
from doctor.logs.block_scan import BlockScanner
from doctor.logs.marks import METRIC
from doctor.logs.metric_points import MetricReader
from doctor.logs.metrics import METRIC_PATTERNS
from doctor.logs.scan import compile_patterns
from doctor.points import Points

BLOCK = 4 * 1024 * 1024

FORMATS: dict[str, Callable[[int], str]] = {
    "transformers 5": lambda n: (
        f"{{'loss': '{5 / (1 + n * 1e-3):.4g}', 'grad_norm': '{(n * 7919 % 997) / 997:.4g}', 'learning_rate': "
        f"'{1e-5 * (n % 997) / 997:.4g}', 'epoch': '{n / 1000:.4g}'}}"
    ),
    "torchtitan": lambda n: (
        f"[rank0]:[titan] 2025-01-02 {n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d},{n * 37 % 1000:03d} - root - INFO - step: {n}  loss:  {5 / (1 + n * 1e-3):.4f}  "
        f"grad_norm:  0.74  memory:  9.1GiB(61.2%)  tps: 7,120  tflops: 0.51  mfu: 0.16%"
    ),
    "nanoGPT": lambda n: f"iter {n}: loss {5 / (1 + n * 1e-3):.4f}, time 51.33ms, mfu 7.10%",
}
PEER = re.compile(r"(\w+)['\"]?[:= ]+['\"]?([-+]?\d+\.?\d*(?:e[-+]?\d+)?)")


def blocks(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = data.rfind(b"\n", at, at + BLOCK) + 1 or len(data)
        yield data[at:end]
        at = end


def read(data: bytes, scanner: BlockScanner) -> Points:
    reader, line = MetricReader("x"), 1
    for block in blocks(data):
        scanned = scanner.scan(Block(block, len(block)))
        if scanned.metrics is not None:
            reader.take(scanned.metrics, line)
        line += scanned.newlines
    return reader.points()


def peer(data: bytes) -> int:
    """A regular expression and float() on each line."""
    count = 0
    for line in data.decode().splitlines():
        count += len({name: float(value) for name, value in PEER.findall(line)})
    return count


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    lines = parser.parse_args().lines
    scanner = BlockScanner(compile_patterns(METRIC_PATTERNS, METRIC_PATTERNS), [METRIC] * len(METRIC_PATTERNS))
    print(f"{'format':16} {'MB':>6} {'points':>9} {'doctor':>8} {'peer':>8} {'ratio':>6} {'peak MB':>8}")
    for name, line in FORMATS.items():
        data = "".join(f"{line(n)}\n" for n in range(lines)).encode()
        points = len(read(data, scanner))
        own, other = timed(lambda data=data: read(data, scanner)), timed(lambda data=data: peer(data))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name:16} {len(data) / 1e6:6.0f} {points:9} {own:7.2f}s {other:7.2f}s {own / other:6.2f} {peak:8.0f}")
    prose = (
        b"[2025-01-02 03:04:05,678] [INFO] [module] the quick model loaded shard tokens into cache memory device\n"
        * 2_000_000
    )
    start = time.process_time()
    for block in blocks(prose):
        scanner.scan(Block(block, len(block)))
    print(f"scan of a log without metrics: {len(prose) / 1e6 / (time.process_time() - start):.0f} MB/s")


if __name__ == "__main__":
    main()
