"""Repair in place, and back again: an undo file with the original bytes is written and synced before the first change.

The file: MAGIC, the length of the header (8 bytes, little-endian), the header (JSON: for each tensor its file, offset,
length, dtype, factor and the hashes before and after), the original bytes in that order, SHA-256 of all that.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from doctor.errors import CheckpointError
from doctor.weights.entries import Checkpoint
from doctor.weights.repair import RESCALED, Plan
from doctor.weights.rescale import Region, multiplied, read_blocks, regions, sha256
from doctor.weights.writer import PART, sync_folder

MAGIC = b"doctor-undo 1\n"
NAME = "doctor-undo"
LARGEST_HEADER = 64 << 20
DIGEST = 32


class State(StrEnum):
    """What the tensors of an undo file are now."""

    ORIGINAL = "original"
    REPAIRED = "repaired"
    INTERRUPTED = "interrupted"
    FOREIGN = "changed by something else"


@dataclass(frozen=True, slots=True)
class Saved:
    """One tensor of an undo file: its region, where its original bytes lie in the undo file, and both hashes."""

    region: Region
    at: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Undo:
    """An undo file that was read and found whole."""

    path: Path
    saved: tuple[Saved, ...]


def repair_in_place(checkpoint: Checkpoint, plan: Plan) -> Path:
    """Write the undo file, then the rescaled tensors; returns the undo file. CheckpointError if links share them."""
    changes = regions(checkpoint, plan.rescales)
    files = sorted({region.file for region in changes})
    for file in files:
        _check_own(file)
    try:
        with _locked(files):
            undo = read_undo(_write_undo(_undo_path(checkpoint), changes))
            finish(undo)
    except OSError as fault:
        raise CheckpointError(
            f"{fault.filename or files[0]}: {fault.strerror}; run the same command again to finish, or --undo"
        ) from None
    return undo.path


def _check_own(file: Path) -> None:
    if file.is_symlink() or file.stat().st_nlink > 1:
        raise CheckpointError(
            f"{file}: shared with other names by a link (a model cache?); write a repaired copy with --out instead"
        )
    if not os.access(file, os.W_OK):
        raise CheckpointError(f"{file}: not writable; write a repaired copy with --out instead")


@contextmanager
def _locked(files: Sequence[Path]) -> Iterator[None]:
    descriptors = [os.open(file, os.O_RDWR) for file in files]
    try:
        for file, descriptor in zip(files, descriptors, strict=True):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(f"{file}: another doctor is repairing it; wait for it") from None
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _undo_path(checkpoint: Checkpoint) -> Path:
    home = checkpoint.files[0].parent
    numbers = (n for n in range(1, 10_000) if not (home / f"{NAME}-{n}.bin").exists())
    return home / f"{NAME}-{next(numbers)}.bin"


def _write_undo(path: Path, changes: Sequence[Region]) -> Path:
    header = json.dumps({"tensors": [_described(region, path.parent) for region in changes]}).encode()
    part = path.with_name(path.name + PART)
    digest = hashlib.sha256()
    with open(part, "wb") as file:
        for piece in _pieces(header, changes):
            digest.update(piece)
            file.write(piece)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, path)
    sync_folder(path.parent)
    return path


def _described(region: Region, home: Path) -> dict[str, object]:
    before, after = hashlib.sha256(), hashlib.sha256()
    for block in read_blocks(region.file, region.offset, region.nbytes):
        before.update(block)
        after.update(multiplied(block, region.dtype, region.factor))
    row = asdict(region) | {"file": region.file.relative_to(home).as_posix()}
    return row | {"before": before.hexdigest(), "after": after.hexdigest()}


def _pieces(header: bytes, changes: Sequence[Region]) -> Iterator[bytes]:
    yield MAGIC + len(header).to_bytes(8, "little") + header
    for region in changes:
        yield from read_blocks(region.file, region.offset, region.nbytes)


def read_undo(path: Path) -> Undo:
    """Read an undo file and check it whole; CheckpointError if it is damaged or not one."""
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path}: not an undo file of doctor's; give the {NAME}-N.bin that --in-place left")
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(len(MAGIC) + 8)
            length = int.from_bytes(start[len(MAGIC) :], "little")
            if not start.startswith(MAGIC) or len(start) < len(MAGIC) + 8 or length > min(size, LARGEST_HEADER):
                raise CheckpointError(
                    f"{path}: not an undo file of doctor's; give the {NAME}-N.bin that --in-place left"
                )
            saved = _saved(json.loads(file.read(length)), len(start) + length, path.parent)
            file.seek(-DIGEST, os.SEEK_END)
            digest = file.read()
        if (
            sha256(read_blocks(path, 0, size - DIGEST)) != digest.hex()
            or _end(saved, len(start) + length) != size - DIGEST
        ):
            raise CheckpointError(f"{path}: damaged (its checksum does not fit); it is not used")
    except OSError as fault:
        raise CheckpointError(f"{path}: can't be read: {fault.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path}: damaged (its header can't be read); it is not used") from None
    return Undo(path, saved)


def _end(saved: tuple[Saved, ...], start: int) -> int:
    return saved[-1].at + saved[-1].region.nbytes if saved else start


def _saved(header: dict[str, list[dict[str, object]]], at: int, home: Path) -> tuple[Saved, ...]:
    found = []
    for row in header["tensors"]:
        region = _region(row, home)
        found.append(Saved(region, at, str(row["before"]), str(row["after"])))
        at += region.nbytes
    return tuple(found)


def _region(row: dict[str, object], home: Path) -> Region:
    """A region from the header; ValueError if it points outside of the folder or is not as doctor writes it."""
    file, offset, nbytes, factor = Path(str(row["file"])), row["offset"], row["nbytes"], row["factor"]
    is_sound = type(offset) is int and type(nbytes) is int and min(offset, nbytes) >= 0 and type(factor) is float
    if not is_sound or file.is_absolute() or ".." in file.parts or row["dtype"] not in RESCALED:
        raise ValueError(file)
    return Region(str(row["name"]), home / file, offset, nbytes, str(row["dtype"]), factor)  # type: ignore[arg-type]


def state_of(undo: Undo) -> State:
    """What the tensors are now, all together."""
    states = {_state(undo, one) for one in undo.saved}
    if State.FOREIGN in states:
        return State.FOREIGN
    return states.pop() if len(states) == 1 else State.INTERRUPTED


def _state(undo: Undo, one: Saved) -> State:
    """A write that was cut leaves bytes that are each either old or new."""
    region = one.region
    current = sha256(read_blocks(region.file, region.offset, region.nbytes))
    if current in (one.before, one.after):
        return State.ORIGINAL if current == one.before else State.REPAIRED
    pairs = zip(
        read_blocks(region.file, region.offset, region.nbytes),
        read_blocks(undo.path, one.at, region.nbytes),
        strict=True,
    )
    return State.INTERRUPTED if all(_is_mixture(now, old, region) for now, old in pairs) else State.FOREIGN


def _is_mixture(now: bytes, old: bytes, region: Region) -> bool:
    import numpy as np

    new = np.frombuffer(multiplied(old, region.dtype, region.factor), np.uint8)
    current = np.frombuffer(now, np.uint8)
    return bool(((current == new) | (current == np.frombuffer(old, np.uint8))).all())


def finish(undo: Undo) -> None:
    """Bring every tensor of an undo file to its repaired state, and read it back."""
    for one in undo.saved:
        blocks = (multiplied(block, one.region.dtype, one.region.factor) for block in _originals(undo, one))
        _overwrite(one, blocks, one.after)


def restore(undo: Undo) -> State:
    """Bring every tensor back to its original bytes, read them back, remove the undo file; returns the state found."""
    state = state_of(undo)
    if state is State.FOREIGN:
        raise CheckpointError(
            f"{undo.path}: the tensors were {state.value} since; restoring would destroy that, nothing was done"
        )
    with _locked(sorted({one.region.file for one in undo.saved})):
        for one in undo.saved:
            _overwrite(one, _originals(undo, one), one.before)
    undo.path.unlink()
    sync_folder(undo.path.parent)
    return state


def _originals(undo: Undo, one: Saved) -> Iterator[bytes]:
    return read_blocks(undo.path, one.at, one.region.nbytes)


def _overwrite(one: Saved, blocks: Iterator[bytes], expected: str) -> None:
    region = one.region
    with open(region.file, "r+b") as file:
        file.seek(region.offset)
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if sha256(read_blocks(region.file, region.offset, region.nbytes)) != expected:
        raise CheckpointError(
            f"{region.file}: {region.name} reads back other than written; is the disk failing? Keep the undo file"
        )


def find_interrupted(home: Path) -> tuple[Undo, State] | None:
    """The undo file of a repair that was cut off in this folder, and its state; what undoes nothing is removed."""
    for draft in home.glob(f"{NAME}-*.bin{PART}"):
        draft.unlink()  # a draft is written before anything is changed
    for path in sorted(home.glob(f"{NAME}-*.bin")):
        undo = read_undo(path)
        state = state_of(undo)
        if state is State.INTERRUPTED:
            return undo, state
        if state is State.ORIGINAL:
            path.unlink()
    return None
