"""torch distributed checkpoints: .metadata says which slice of which tensor lies where in the .distcp files.

.metadata is a pickle. It is read with stand-ins for the few classes that torch puts into it; anything else is refused.
"""

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

from doctor.errors import CheckpointError
from doctor.weights.dtypes import BY_TORCH_NAME
from doctor.weights.entries import Entry, Fault, FaultKind, Piece, Unmeasured
from doctor.weights.safetensors_header import shown
from doctor.weights.torch_files import entry_of, load_structure

METADATA = ".metadata"
LARGEST_METADATA = 256 << 20
CLASSES = {
    "torch.distributed.checkpoint.metadata": {
        "Metadata", "TensorStorageMetadata", "TensorProperties", "ChunkStorageMetadata", "BytesStorageMetadata",
        "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "pathlib": {"PosixPath", "PurePosixPath", "Path"},
}  # fmt: skip


class Record:
    """Stands for an object of .metadata: keeps its state and does nothing, whatever the pickle asks of it."""

    state: Any = None

    def __init__(self, *args: object) -> None:
        self.args = args

    def __setstate__(self, state: object) -> None:
        self.state = state

    def field(self, name: str) -> Any:
        """A field of the object; CheckpointError if it has none of that name."""
        if not isinstance(self.state, dict) or name not in self.state:
            raise CheckpointError(f"{METADATA}: not as torch writes it (no {name})")
        return self.state[name]


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name == "Size":
            return tuple
        if module == "torch" and name in BY_TORCH_NAME:
            return Record
        if name in CLASSES.get(module, ()):
            return Record
        raise pickle.UnpicklingError(f"{module}.{name}")


def read_metadata(path: Path) -> Record:
    """The Metadata object of a .metadata file; CheckpointError if it holds anything that torch does not write there."""
    try:
        if path.stat().st_size > LARGEST_METADATA:
            raise CheckpointError(f"{path}: more than {LARGEST_METADATA:,} bytes, which no real one has; not read")
        data = path.read_bytes()
        _check_memo(data)
        metadata = _Reader(io.BytesIO(data)).load()
    except OSError as fault:
        raise CheckpointError(f"{path}: can't be read: {fault.strerror}") from None
    except pickle.UnpicklingError as fault:
        raise CheckpointError(
            f"{path}: a pickle with something that torch does not write ({str(fault)[:80]}); it was not run"
        ) from None
    except (
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        OverflowError,
        MemoryError,
        RecursionError,
    ):
        raise CheckpointError(f"{path}: damaged or cut short; copy the checkpoint again") from None
    if not isinstance(metadata, Record):
        raise CheckpointError(f"{path}: not the metadata of a torch distributed checkpoint")
    return metadata


def _check_memo(data: bytes) -> None:
    """Refuse an index into the memo that this file can't have reached: the unpickler would allocate up to it."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name.endswith("PUT") and isinstance(argument, int) and argument > len(data):
            raise pickle.UnpicklingError("a memo index out of range")


def read_distributed(folder: Path) -> tuple[tuple[Entry, ...], tuple[Unmeasured, ...], tuple[Fault, ...]]:
    """The tensors of a .distcp folder, each with the pieces that its ranks wrote; damage comes back as faults."""
    path = folder / METADATA
    metadata = read_metadata(path)
    places = {_key(index): info for index, info in metadata.field("storage_data").items()}
    entries, unmeasured, faults = [], [], []
    for name, description in metadata.field("state_dict_metadata").items():
        if not isinstance(description.state, dict) or "chunks" not in description.state:
            continue  # bytes, no tensor
        shape = tuple(description.field("size"))
        try:
            found = [_chunk(folder, name, chunk, places) for chunk in description.field("chunks")]
            entries.append(_joined(name, shape, found))
        except CheckpointError as fault:
            faults.append(
                Fault(
                    FaultKind.MISSING_TENSOR, path, f"names {shown(str(name))}, which can't be read: {fault}", str(name)
                )
            )
        except _NotMeasuredError as skipped:
            unmeasured.append(Unmeasured(str(name), path, str(skipped)))
    return tuple(entries), tuple(unmeasured), tuple(faults)


class _NotMeasuredError(Exception):
    pass


def _key(index: Record) -> tuple[str, tuple[int, ...]]:
    offset = index.state.get("offset") if isinstance(index.state, dict) else None  # absent where it is None
    return str(index.field("fqn")), tuple(offset) if offset is not None else ()


def _chunk(folder: Path, name: str, chunk: Record, places: dict[tuple[str, tuple[int, ...]], Record]) -> Entry:
    offsets = tuple(chunk.field("offsets"))
    info = places.get((name, offsets)) or places.get((name, ()))
    if info is None:
        raise CheckpointError("it has no place in the files")
    relative, offset, length = info.field("relative_path"), info.field("offset"), info.field("length")
    if not isinstance(relative, str) or Path(relative).is_absolute() or ".." in Path(relative).parts:
        raise CheckpointError(f"its file {shown(str(relative))} is outside of the folder")
    if info.state.get("transform_descriptors"):
        raise _NotMeasuredError("it is stored compressed")
    return _tensor_at(folder / relative, name, offset, length)


def _tensor_at(file: Path, name: str, offset: int, length: int) -> Entry:
    import torch

    tensor = load_structure(file, offset, length)
    if not isinstance(tensor, torch.Tensor):
        raise CheckpointError(f"{file}: holds something else at byte {offset:,}")
    entry = entry_of(name, tensor, file, file.stat().st_size, offset)
    if isinstance(entry, Fault):
        raise CheckpointError(f"{file}: {entry.detail}")
    if isinstance(entry, Unmeasured):
        raise _NotMeasuredError(entry.reason)
    return entry


def _joined(name: str, shape: tuple[int, ...], chunks: list[Entry]) -> Entry:
    pieces: list[Piece] = [piece for chunk in chunks for piece in chunk.pieces]
    if len({chunk.dtype for chunk in chunks}) != 1 or sum(piece.count for piece in pieces) != math.prod(shape):
        raise CheckpointError("its slices do not add up to its shape")
    return Entry(name, chunks[0].dtype, shape, tuple(pieces))
