"""`doctor weights` beside WeightWatcher on the same files, where that is installed.

    python tests/benchmarks/weights_weightwatcher.py [--layers 4]

The two answer different questions: WeightWatcher fits the spectrum of each matrix (an SVD), doctor takes its moments.
The table says what each costs on a small dense model in bf16.
"""

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main() -> None:
    """Make the model, run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args()
    import weightwatcher

    from doctor.weights.checkpoint import open_checkpoint
    from doctor.weights.measure import measure

    with tempfile.TemporaryDirectory() as folder:
        names = [f"model.layers.{i}.mlp.{part}_proj.weight" for i in range(options.layers) for part in ("gate", "up")]
        save_file(
            {name: (torch.randn(2048, 512) * 0.02).bfloat16() for name in names}, Path(folder) / "model.safetensors"
        )
        started = time.perf_counter()
        measured, _ = measure(open_checkpoint(Path(folder)).entries)
        mine = time.perf_counter() - started
        logging.disable(logging.CRITICAL)
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            weightwatcher.WeightWatcher().analyze(model=folder)
        other = time.perf_counter() - started
    print(f"{len(measured)} matrices of 2048 x 512: doctor {mine:.3f} s, WeightWatcher {other:.1f} s")


if __name__ == "__main__":
    main()
