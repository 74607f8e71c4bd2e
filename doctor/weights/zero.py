"""DeepSpeed ZeRO folders: the float32 weights lie flat, a partition a rank; their shapes stand in rank 0's file.

What is joined, and in what order, is that of zero_to_fp32.py, which DeepSpeed puts beside every checkpoint.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doctor.errors import CheckpointError
from doctor.weights.entries import Entry, Piece
from doctor.weights.torch_files import entry_of, load_structure

OPTIMIZER = re.compile(r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_optim_states\.pt")
MODEL = "*mp_rank_00_model_states.pt"
DTYPE = "F32"


def step_folder(folder: Path) -> Path | None:
    """The folder of the newest step: ``folder`` itself, or the one that ``latest`` names; None without one."""
    if any(folder.glob("*_optim_states.pt")):
        return folder
    latest = folder / "latest"
    if not latest.is_file():
        return None
    name = latest.read_text(errors="replace")[:200].strip()
    inner = folder / name
    return (
        inner if name and Path(name).name == name and inner.is_dir() and any(inner.glob("*_optim_states.pt")) else None
    )


def read_zero(folder: Path) -> tuple[tuple[Entry, ...], tuple[Path, ...]]:
    """The weights of a step's folder and the files that hold them; CheckpointError if partitions are missing."""
    ranks = _ranks(folder)
    models = sorted(folder.glob(MODEL), key=_rank_of)
    if not models:
        raise CheckpointError(f"{folder}: no *_model_states.pt beside the optimizer states; copy the whole folder")
    model = _table(load_structure(models[0]), models[0])
    partitions, stage3 = [_partition(path) for path in ranks], "zero_pp_rank" in models[0].name
    shapes = [_shapes(group, models[0]) for group in _param_shapes(model, models[0])]
    if stage3:
        flat = {name: shape for group in shapes for name, shape in group.items()}
        entries = list(
            _interleaved(flat, [_Flat([piece for part in one for piece in part.pieces]) for one in partitions], folder)
        )
    else:
        entries = [
            entry
            for g, group in enumerate(shapes)
            for entry in _consecutive(group, _group(partitions, g, folder), folder)
        ]
    return (*entries, *_frozen(model, models, stage3)), (*ranks, *models)


def _ranks(folder: Path) -> list[Path]:
    found = {path: OPTIMIZER.fullmatch(path.name) for path in folder.glob("*_optim_states.pt")}
    named = {path: match for path, match in found.items() if match}
    if not named:
        raise CheckpointError(
            f"{folder}: no ZeRO partitions (zero_pp_rank_*_optim_states.pt) in it; give the folder that has them"
        )
    if any(int(match[2]) for match in named.values()):
        raise CheckpointError(
            f"{folder}: saved with tensor parallelism, which doctor does not join; convert it with zero_to_fp32.py"
        )
    paths = sorted(named, key=_rank_of)
    if [_rank_of(path) for path in paths] != list(range(len(paths))):
        raise CheckpointError(
            f"{folder}: partitions are missing (found ranks {list(map(_rank_of, paths))}); copy the whole folder"
        )
    return paths


def _rank_of(path: Path) -> int:
    found = re.search(r"pp_rank_(\d+)", path.name)
    return int(found[1]) if found else 0


def _table(value: object, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{path}: not as DeepSpeed writes it (no table at its top)")
    return value


def _partition(path: Path) -> list[Entry]:
    """The flat float32 partitions of one rank, one a parameter group."""
    state = _table(_table(load_structure(path), path).get("optimizer_state_dict"), path)
    flats = state.get("single_partition_of_fp32_groups", state.get("fp32_flat_groups"))
    if not isinstance(flats, Sequence) or not flats:
        raise CheckpointError(
            f"{path}: no float32 partitions in it (stage 0, or only optimizer state); doctor can't read its weights"
        )
    entries = [entry_of("partition", flat, path, path.stat().st_size) for flat in flats]
    if any(not isinstance(entry, Entry) or entry.dtype != DTYPE for entry in entries):
        raise CheckpointError(f"{path}: its partitions are not float32 arrays; damaged, copy it again")
    return [entry for entry in entries if isinstance(entry, Entry)]


def _param_shapes(model: Mapping[str, Any], path: Path) -> Sequence[object]:
    shapes = model.get("param_shapes")
    if not isinstance(shapes, Sequence) or not shapes:
        raise CheckpointError(
            f"{path}: no param_shapes in it; saved by a DeepSpeed before 0.4, convert it with zero_to_fp32.py"
        )
    return shapes


def _shapes(group: object, path: Path) -> dict[str, tuple[int, ...]]:
    table = _table(group, path)
    return {str(name): tuple(int(size) for size in shape) for name, shape in table.items()}


@dataclass(slots=True)
class _Flat:
    """Pieces read as one run of elements, taken from the front."""

    pieces: list[Piece]

    def take(self, count: int) -> list[Piece]:
        """The next ``count`` elements, or as many as are left."""
        taken = []
        while count and self.pieces:
            piece = self.pieces.pop(0)
            part = min(count, piece.count)
            taken.append(Piece(piece.file, piece.offset, part))
            count -= part
            if part < piece.count:
                self.pieces.insert(0, Piece(piece.file, piece.offset + 4 * part, piece.count - part))
        return taken


def _group(partitions: list[list[Entry]], g: int, folder: Path) -> _Flat:
    if any(len(one) <= g for one in partitions):
        raise CheckpointError(f"{folder}: ranks disagree on the number of parameter groups; copy the whole folder")
    return _Flat([piece for one in partitions for piece in one[g].pieces])


def _consecutive(shapes: Mapping[str, tuple[int, ...]], flat: _Flat, folder: Path) -> Iterator[Entry]:
    """Stages 1 and 2: the group is one run over all ranks."""
    for name, shape in shapes.items():
        yield _entry(name, shape, flat.take(math.prod(shape)), folder)


def _interleaved(shapes: Mapping[str, tuple[int, ...]], flats: list[_Flat], folder: Path) -> Iterator[Entry]:
    """Stage 3: each parameter is cut into equal parts, one a rank; the last part is padded."""
    for name, shape in shapes.items():
        left, part = math.prod(shape), -(-math.prod(shape) // len(flats))
        pieces: list[Piece] = []
        for flat in flats:
            pieces += _Flat(flat.take(part)).take(min(left, part))
            left -= min(left, part)
        yield _entry(name, shape, pieces, folder)


def _entry(name: str, shape: tuple[int, ...], pieces: list[Piece], folder: Path) -> Entry:
    if sum(piece.count for piece in pieces) != math.prod(shape):
        raise CheckpointError(
            f"{folder}: the partitions are too small for {name} {list(shape)}; ranks are missing, copy the whole folder"
        )
    return Entry(name, DTYPE, shape, tuple(pieces))


def _frozen(model: Mapping[str, Any], models: list[Path], stage3: bool) -> Iterator[Entry]:
    """Frozen parameters lie in the model states: whole in stages 1 and 2, cut over the ranks in stage 3."""
    shapes = model.get("frozen_param_shapes") or {}
    if not shapes:
        return
    tables = [
        _table(load_structure(path), path).get("frozen_param_fragments") or {}
        for path in (models if stage3 else models[:1])
    ]
    for name, shape in _shapes(shapes, models[0]).items():
        left, pieces, dtypes = math.prod(shape), list[Piece](), set[str]()
        for path, table in zip(models, tables, strict=False):
            fragment = entry_of(name, table[name], path, path.stat().st_size) if name in table else None
            if not isinstance(fragment, Entry):
                raise CheckpointError(f"{path}: the frozen parameter {name} is not whole in it; copy the whole folder")
            pieces += _Flat(list(fragment.pieces)).take(left)
            left, dtypes = left - min(left, fragment.count), dtypes | {fragment.dtype}
        yield Entry(name, dtypes.pop(), shape, tuple(pieces))
