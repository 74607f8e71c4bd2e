"""Which files go into a repaired checkpoint: its weights, and the small files beside them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doctor.weights.entries import Checkpoint

LARGEST_SMALL = 128 << 20  # tokenizers are below 50 MB
OTHER_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".distcp", ".gguf", ".h5", ".msgpack", ".onnx", ".ckpt", ".npz")
WRITTEN_BY_DOCTOR = ("doctor-repair.json", "doctor-undo")


@dataclass(frozen=True, slots=True)
class Carried:
    """``files`` are (source, place in the new folder); ``weights`` and ``left_behind`` are places."""

    files: tuple[tuple[Path, Path], ...]
    weights: frozenset[Path]
    left_behind: tuple[Path, ...]
    nbytes: int


def carried(checkpoint: Checkpoint) -> Carried:
    """The files of a safetensors checkpoint to carry over.

    Weight files that are not part of it (the same model as .bin, optimizer states) would be stale or are not small:
    they are left behind, and named.
    """
    home = checkpoint.files[0].parent
    weights = {file: file.relative_to(home) for file in checkpoint.files}
    small, left = list[Path](), list[Path]()
    if checkpoint.path.is_dir() or checkpoint.path.name.endswith(".index.json"):
        for file in _regular_files(home):
            if file in weights:
                continue
            is_small = file.suffix not in OTHER_WEIGHTS and file.stat().st_size <= LARGEST_SMALL
            (small if is_small else left).append(file.relative_to(home))
    files = (*weights.items(), *((home / relative, relative) for relative in small))
    return Carried(files, frozenset(weights.values()), tuple(left), sum(source.stat().st_size for source, _ in files))


def _regular_files(home: Path) -> Iterator[Path]:
    """The files below a folder, without hidden folders and folders that are checkpoints themselves."""
    for folder, names, files in os.walk(home):
        place = Path(folder)
        names[:] = sorted(name for name in names if not name.startswith(".") and not _has_weights(place / name))
        for name in sorted(files):
            if (place / name).is_file() and not name.startswith(WRITTEN_BY_DOCTOR):
                yield place / name


def _has_weights(folder: Path) -> bool:
    try:
        return any(Path(name).suffix in OTHER_WEIGHTS for name in os.listdir(folder))
    except OSError:
        return True
