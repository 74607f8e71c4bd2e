"""The bytes of a tensor, multiplied: in its own dtype, exactly as torch's mul_ does, a block at a time."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from doctor.errors import CheckpointError
from doctor.weights.dtypes import DTYPES
from doctor.weights.entries import Checkpoint
from doctor.weights.measure import measure
from doctor.weights.repair import Rescale

BLOCK = 8 << 20


@dataclass(frozen=True, slots=True)
class Region:
    """Where a tensor that is to be rescaled lies: its file, the byte offset, the length in bytes."""

    name: str
    file: Path
    offset: int
    nbytes: int
    dtype: str
    factor: float


def regions(checkpoint: Checkpoint, rescales: Iterable[Rescale]) -> list[Region]:
    """The regions of these tensors; CheckpointError if one is no longer what was measured."""
    entries = {entry.name: entry for entry in checkpoint.entries}
    wanted = list(rescales)
    measured, faults = measure([entries[one.name] for one in wanted], precise=lambda name: True)
    now = {tensor.name: float(np.float32(tensor.moments.std)) for tensor in measured}
    for one in wanted:
        if faults or now[one.name] != one.value:
            raise CheckpointError(
                f"{one.file}: changed after it was measured; stop what writes to it and run doctor again"
            )
    return [
        Region(one.name, one.file, entry.pieces[0].offset, entry.nbytes, entry.dtype, one.factor)
        for one in wanted
        for entry in (entries[one.name],)
    ]


def read_blocks(file: Path, offset: int, nbytes: int) -> Iterator[bytes]:
    """The bytes of a region, BLOCK at a time; CheckpointError if the file ends before it does."""
    with open(file, "rb") as source:
        source.seek(offset)
        for at in range(0, nbytes, BLOCK):
            block = source.read(min(BLOCK, nbytes - at))
            if len(block) < min(BLOCK, nbytes - at):
                raise CheckpointError(f"{file}: ended while it was read; is something writing to it?")
            yield block


def multiplied(block: bytes, dtype: str, factor: float) -> bytes:
    """The elements of a block times a factor, to the bit what torch's mul_ gives (a test holds every bfloat16 to it).

    As there, 16-bit types are multiplied in float32 and rounded to the nearest, ties to even. Importing torch for it
    would take longer than all else.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype == "BF16":
            return _bfloat16_bytes(as_float32(block) * np.float32(factor))
        values = np.frombuffer(block, DTYPES[dtype].numpy)
        if dtype == "F16":
            return (values.astype(np.float32) * np.float32(factor)).astype(np.float16).tobytes()
        return bytes((values * values.dtype.type(factor)).data)


def as_float32(block: bytes) -> npt.NDArray[np.float32]:
    """Bytes of bfloat16 as float32, shape (n,)."""
    return (np.frombuffer(block, "<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


def _bfloat16_bytes(values: npt.NDArray[np.float32]) -> bytes:
    """Bytes of bfloat16: the upper halves, rounded to the nearest with ties to even; NaN is the quiet one."""
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    rounded[np.isnan(values)] = 0x7FC0
    return bytes(rounded.astype("<u2").data)


def sha256(pieces: Iterable[bytes]) -> str:
    """The hash of bytes that come in pieces, as hex digits."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
