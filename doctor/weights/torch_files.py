"""torch .bin and .pt files: where their tensors lie, without running or loading anything.

The file is opened with weights_only=True under a fake tensor mode: torch's restricted unpickler builds tensors without
data that know their offset in the file. The data is then read as any other file's.
"""

import os
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from doctor.errors import CheckpointError
from doctor.weights.dtypes import BY_TORCH_NAME
from doctor.weights.entries import Entry, Fault, FaultKind, Piece, Unmeasured
from doctor.weights.safetensors_header import LFS, shown

if TYPE_CHECKING:
    import torch

ZIP = b"PK\x03\x04"
MOST_DEPTH = 8
INERT = (  # what trainers put beside the weights; each is replaced by an object that does nothing
    "argparse.Namespace",
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.utils.tensor_fragment.fragment_address",
    "deepspeed.runtime.config.DeepSpeedConfig",
    "pathlib.PosixPath",
    "pathlib.Path",
)


class Inert:
    """Stands for an object of a class that doctor does not import: takes any arguments and state, and drops them."""

    def __init__(self, *args: object, **keywords: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


@dataclass(frozen=True, slots=True)
class TorchFile:
    """The tensors of a torch file by dotted name, those that can't be measured, names that share data, and damage."""

    entries: tuple[Entry, ...]
    unmeasured: tuple[Unmeasured, ...]
    aliases: Mapping[str, str]
    faults: tuple[Fault, ...] = ()


def read_torch_file(path: Path) -> TorchFile:
    """The tensors of a state dict; CheckpointError if it is not a torch zip file or holds more than weights."""
    loaded = load_structure(path)
    found = list(_named_tensors(loaded))
    if not found:
        raise CheckpointError(f"{path}: no tensors in it; give the file with the model's weights")
    entries, unmeasured, faults, aliases = list[Entry](), list[Unmeasured](), list[Fault](), dict[str, str]()
    seen: dict[tuple[object, ...], str] = {}
    size = path.stat().st_size
    for name, tensor in found:
        entry = entry_of(name, tensor, path, size)
        if isinstance(entry, Fault):
            faults.append(entry)
        elif isinstance(entry, Unmeasured):
            unmeasured.append(entry)
        elif (key := (entry.pieces, entry.shape, entry.dtype)) in seen and entry.count:
            aliases[name] = seen[key]
        else:
            seen[key] = name
            entries.append(entry)
    return TorchFile(tuple(entries), tuple(unmeasured), aliases, tuple(faults))


def load_structure(path: Path, offset: int = 0, length: int | None = None) -> object:
    """What a torch file (or the part of a file at ``offset``) holds, as fake tensors; CheckpointError if refused."""
    with _opened(path) as file:
        file.seek(offset)
        _check_kind(file.read(24), path)
        part = _Part(file, offset, os.fstat(file.fileno()).st_size - offset if length is None else length)
        _check_records(part, path)
        return _load(part, path)


def _load(file: "_Part", path: Path) -> object:
    import pickle

    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    if not hasattr(torch.serialization, "skip_data"):  # came with the release that reads shapes without data
        raise CheckpointError(
            f"{path}: torch 2.6 or later is needed to read it, here is {torch.__version__}; upgrade it, or save as safetensors"
        )
    inert = [(type(name.rpartition(".")[2], (Inert,), {}), name) for name in INERT]
    try:
        with FakeTensorMode(), torch.serialization.safe_globals(inert), warnings.catch_warnings():  # type: ignore[arg-type]
            warnings.simplefilter("ignore")
            return torch.load(cast(IO[bytes], file), weights_only=True)
    except pickle.UnpicklingError as fault:
        raise CheckpointError(
            f"{path}: {_refusal(str(fault))}; it was not run. Save the weights alone, as safetensors"
        ) from None
    except MemoryError:
        raise CheckpointError(f"{path}: asks for more memory than there is; not a real checkpoint") from None
    except (
        RuntimeError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        EOFError,
        OverflowError,
        AssertionError,
        RecursionError,
    ) as fault:
        raise CheckpointError(
            f"{path}: can't be read as a torch file ({_first_line(fault)}); cut short or damaged, copy it again"
        ) from None


def _refusal(message: str) -> str:
    for mark in ("GLOBAL ", "global "):
        if mark in message:
            return (
                f"holds code or objects beside the weights ({message.split(mark, 1)[1].split()[0].strip('`.,')[:80]})"
            )
    return "holds something beside the weights"


def _first_line(fault: Exception) -> str:
    return str(fault).strip().partition("\n")[0][:160] or type(fault).__name__


def _check_kind(beginning: bytes, path: Path) -> None:
    if beginning.startswith(ZIP):
        return
    if not beginning:
        raise CheckpointError(f"{path}: is empty (0 bytes); copy or download it again")
    if beginning.startswith(LFS):
        raise CheckpointError(f"{path}: is a git-lfs pointer, not the weights; run `git lfs pull`")
    if beginning[:1] == b"\x80":
        raise CheckpointError(
            f"{path}: a bare pickle, or the format of torch before 1.6; doctor does not run it. Save it as safetensors"
        )
    raise CheckpointError(f"{path}: not a torch file (it does not begin as a zip archive); copy or download it again")


def _check_records(part: "_Part", path: Path) -> None:
    """Refuse archives whose records are compressed or larger than the file: torch would allocate what they claim."""
    import zipfile

    try:
        with zipfile.ZipFile(cast(IO[bytes], part)) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError, struct.error):
        raise CheckpointError(
            f"{path}: can't be read as a torch file (no archive); cut short or damaged, copy it again"
        ) from None
    if any(record.compress_type != zipfile.ZIP_STORED or record.file_size > part.length for record in records):
        raise CheckpointError(f"{path}: holds records that no torch file has (compressed, or larger than it); not read")
    part.seek(0)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as fault:
        raise CheckpointError(f"{path}: can't be read: {fault.strerror}") from None


class _Part:
    """A part of an open file that looks like a whole one, as torch wants it."""

    def __init__(self, file: IO[bytes], offset: int, length: int) -> None:
        self._file, self._offset, self._at = file, offset, 0
        self.length = length

    def read(self, size: int = -1) -> bytes:
        size = self.length - self._at if size is None or size < 0 else min(size, self.length - self._at)
        self._file.seek(self._offset + self._at)
        data = self._file.read(max(size, 0))
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readline(self) -> bytes:
        line = bytearray()
        while (byte := self.read(1)) and byte != b"\n":
            line += byte
        return bytes(line) + byte

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.length}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True


def _named_tensors(value: object, prefix: str = "", depth: int = 0) -> "Iterator[tuple[str, torch.Tensor]]":
    """Every tensor below a loaded value, by the dotted path of its keys."""
    import torch

    if isinstance(value, torch.Tensor):
        yield prefix or "tensor", value
    elif isinstance(value, (Mapping, list, tuple)) and depth < MOST_DEPTH:
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, one in pairs:
            yield from _named_tensors(one, f"{prefix}.{key}" if prefix else str(key), depth + 1)


def entry_of(name: str, tensor: "torch.Tensor", path: Path, size: int, offset: int = 0) -> Entry | Unmeasured | Fault:
    """Where a fake tensor's data lies in the file; Unmeasured if it is no dense array or lies outside of it.

    Statistics do not depend on the order of the elements, so a transposed tensor is read as its storage has it.
    """
    dtype = BY_TORCH_NAME.get(str(tensor.dtype).removeprefix("torch."))
    if dtype is None or not dtype.numpy:
        return Unmeasured(name, path, f"dtype {tensor.dtype} is not measured")
    if str(tensor.layout) != "torch.strided" or not _is_dense(tuple(tensor.shape), tuple(tensor.stride())):
        return Unmeasured(name, path, "it is not a dense array")
    begin = getattr(tensor.untyped_storage(), "_checkpoint_offset", None)
    if begin is None:
        return Unmeasured(name, path, "its place in the file is not known")
    begin += offset + tensor.storage_offset() * dtype.bits // 8
    if begin < 0 or begin + tensor.numel() * dtype.bits // 8 > size:
        return Fault(
            FaultKind.UNREADABLE, path, f"places {shown(name)} outside of itself; damaged, copy it again", name
        )
    return Entry(name, dtype.name, tuple(tensor.shape), (Piece(path, begin, tensor.numel()),))


def _is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the elements fill a run of storage, in whatever order of the dimensions."""
    expected = 1
    for stride, size in sorted((stride, size) for size, stride in zip(shape, strides, strict=True) if size != 1):
        if size and stride != expected:
            return False
        expected *= size
    return True
