"""The index of a sharded checkpoint: which tensor is in which shard, and whether index and shards agree."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from doctor.errors import CheckpointError
from doctor.weights.entries import Entry, Fault, FaultKind
from doctor.weights.safetensors_header import shown

LARGEST_INDEX = 64 << 20


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """``path`` of the index, and its table of tensor name to shard (a file name relative to the index)."""

    path: Path
    shard_of: Mapping[str, str]

    @property
    def shards(self) -> list[Path]:
        """The shards in the order of their names."""
        return [self.path.parent / shard for shard in sorted(set(self.shard_of.values()))]


def read_index(path: Path) -> ShardIndex:
    """Read a *.index.json; CheckpointError if it is no table of names to files beside it."""
    table = read_json(path, LARGEST_INDEX).get("weight_map")
    if (
        not isinstance(table, dict)
        or not table
        or not all(isinstance(shard, str) and shard for shard in table.values())
    ):
        raise CheckpointError(f"{path}: no weight_map of tensor names to shards in it; copy or download it again")
    for name, shard in table.items():
        if _leaves_folder(shard):
            raise CheckpointError(
                f"{path}: places {shown(name)} in {shown(shard)}, outside of the checkpoint's folder; do not trust it"
            )
    return ShardIndex(path, table)


def read_json(path: Path, largest: int = LARGEST_INDEX) -> dict[str, object]:
    """A JSON object from a file; CheckpointError if it is larger than ``largest`` bytes, or not one."""
    try:
        if not path.is_file() or path.stat().st_size > largest:
            raise CheckpointError(f"{path}: no regular file, or more than {largest:,} bytes of JSON; not read")
        table = json.loads(path.read_bytes())
    except OSError as fault:
        raise CheckpointError(f"{path}: can't be read: {fault.strerror}") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: not valid JSON; copy or download it again") from None
    if not isinstance(table, dict):
        raise CheckpointError(f"{path}: not a JSON object; copy or download it again")
    return table


def _leaves_folder(shard: str) -> bool:
    paths = (PurePosixPath(shard), PureWindowsPath(shard))
    return any(path.is_absolute() or path.drive or ".." in path.parts for path in paths) or "\0" in shard


def compare(index: ShardIndex, entries: Iterable[Entry], unread: Iterable[Path], cut: Iterable[str]) -> list[Fault]:
    """Where index and shards disagree. Shards in ``unread`` and tensors in ``cut`` are known to be damaged already."""
    home = index.path.parent
    held = {(entry.name, entry.file) for entry in entries}
    names = {name for name, _ in held}
    gone, lost = set(unread), set(cut)
    faults = []
    for name, shard in index.shard_of.items():
        if (name, home / shard) not in held and home / shard not in gone and name not in lost:
            where = "another shard has it" if name in names else "no shard has it"
            faults.append(
                Fault(
                    FaultKind.MISSING_TENSOR,
                    index.path,
                    f"places {shown(name)} in {shard}, where it is not; {where}",
                    name,
                )
            )
    for name, file in sorted(held):
        if name not in index.shard_of:
            detail = f"holds {shown(name)}, which the index does not name: it will not be loaded"
            faults.append(Fault(FaultKind.UNINDEXED_TENSOR, file, detail, name))
    return faults
