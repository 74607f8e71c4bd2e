"""What a checkpoint holds, without its data: where each tensor lies, and what is wrong with the files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from doctor.weights.dtypes import DTYPES


@dataclass(frozen=True)
class Piece:
    """A run of elements in a file: byte offset of the first, and how many."""

    file: Path
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: its name, type (as safetensors names it), shape, and the pieces that hold it in order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    @property
    def file(self) -> Path:
        """The file of its first piece."""
        return self.pieces[0].file

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that it takes on disk."""
        return self.count * DTYPES[self.dtype].bits // 8


class FaultKind(StrEnum):
    """What can be wrong with the files of a checkpoint."""

    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"
    MISSING_SHARD = "missing-shard"
    MISSING_TENSOR = "missing-tensor"
    UNINDEXED_TENSOR = "unindexed-tensor"
    TWICE = "twice"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Fault:
    """Damage that leaves the rest of the checkpoint readable. ``detail`` is a clause that follows the file's name."""

    kind: FaultKind
    file: Path
    detail: str
    tensor: str = ""


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A tensor whose numbers doctor does not read, and why."""

    name: str
    file: Path
    reason: str


class Format(StrEnum):
    """How a checkpoint is stored. Only safetensors can be repaired."""

    SAFETENSORS = "safetensors"
    TORCH = "torch"
    DISTRIBUTED = "torch distributed checkpoint"
    ZERO = "DeepSpeed ZeRO"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint.

    ``path`` is what was asked for, ``files`` are the weight files that belong to it, ``config`` is config.json (or
    adapter_config.json) as parsed, ``aliases`` maps names that share their data with another tensor to that tensor.
    """

    path: Path
    format: Format
    entries: tuple[Entry, ...]
    files: tuple[Path, ...]
    faults: tuple[Fault, ...] = ()
    unmeasured: tuple[Unmeasured, ...] = ()
    config: Mapping[str, object] = field(default_factory=dict)
    is_adapter: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors that can be measured."""
        return sum(entry.nbytes for entry in self.entries)
