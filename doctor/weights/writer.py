"""A plan to a new checkpoint: written beside the old one under another name, verified, renamed last.

Until the last rename nothing exists under the new name, and no weight file under its own. What the plan does not change
is copied by the kernel (a reflink where the file system has them): a hard link would let a later writer of the copy
destroy the original.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from doctor import __version__
from doctor.errors import CheckpointError
from doctor.weights.carried import Carried, carried
from doctor.weights.entries import Checkpoint
from doctor.weights.repair import Plan, Rescale
from doctor.weights.rescale import Region, multiplied, read_blocks, regions, sha256
from doctor.weights.safetensors_header import read_header

MANIFEST = "doctor-repair.json"
LOCK = ".doctor-lock"
PART = ".part"
COPY_STEP = 64 << 20
SPARE = 16 << 20  # for directories, the manifest, and what else is written meanwhile
NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Changed:
    """A tensor that was rescaled, with the hashes of its bytes before and after."""

    region: Region
    before: str
    after: str


def default_out(path: Path) -> Path:
    """Where a repaired checkpoint goes unless told otherwise: a folder beside it, named after it."""
    path = path.absolute() if path.name else path.resolve()
    return path.with_name(f"{path.name if path.is_dir() else path.stem}-repaired")


def write_repaired(checkpoint: Checkpoint, plan: Plan, out: Path, progress: Progress = lambda _: None) -> Path:
    """Write the repaired checkpoint to the new folder ``out``; after a CheckpointError there is none."""
    out = out.absolute()
    _check_place(checkpoint, out)
    carry = carried(checkpoint)
    _check_space(out.parent, carry.nbytes)
    try:
        with _partial(out) as folder:
            _copy_all(carry, folder, progress)
            changed = _rescale_all(checkpoint, plan, carry, folder)
            _verify(carry, changed, folder)
            _write_manifest(folder, checkpoint, plan, carry, changed)
            _publish(carry, folder, out)
    except OSError as fault:
        raise CheckpointError(
            f"{out}: not written: {_sentence(fault)}; nothing was changed, and no part of it is left"
        ) from None
    return out


def _sentence(fault: OSError) -> str:
    what = fault.strerror or type(fault).__name__
    return f"{what} ({fault.filename})" if fault.filename else what


def _check_place(checkpoint: Checkpoint, out: Path) -> None:
    if os.path.lexists(out):
        raise CheckpointError(f"{out}: exists already; give another place with --out, or remove it first")
    if not out.parent.is_dir():
        raise CheckpointError(f"{out.parent}: no such folder; make it, or give another place with --out")
    source = checkpoint.path.resolve()
    if source.is_dir() and (out.parent.resolve() == source or source in out.parent.resolve().parents):
        raise CheckpointError(f"{out}: lies inside of the checkpoint itself; give a place beside it with --out")


def _check_space(folder: Path, nbytes: int) -> None:
    state = os.statvfs(folder)
    free = state.f_bavail * state.f_frsize
    if free < nbytes + SPARE:
        raise CheckpointError(
            f"{folder}: {nbytes:,} bytes are to be written but {free:,} are free; give another place with --out"
        )


@contextmanager
def _partial(out: Path) -> Iterator[Path]:
    """A new folder beside ``out``, locked while it is written and removed if anything goes wrong."""
    folder = out.with_name(f".{out.name}.doctor-partial")
    if os.path.lexists(folder):
        _remove_stale(folder)
    folder.mkdir()
    try:
        with open(folder / LOCK, "xb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_stale(folder: Path) -> None:
    """Remove what a killed run left; CheckpointError if that run is alive, or the folder is no doing of doctor's."""
    names = set(os.listdir(folder)) if folder.is_dir() and not folder.is_symlink() else {""}
    if names and not {LOCK, MANIFEST} & names:
        raise CheckpointError(f"{folder}: in the way, and not made by doctor; move it")
    if LOCK in names and _is_locked(folder / LOCK):
        raise CheckpointError(f"{folder}: another doctor is writing there; wait for it, or choose another --out")
    shutil.rmtree(folder)


def _is_locked(path: Path) -> bool:
    with open(path, "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _copy_all(carry: Carried, folder: Path, progress: Progress) -> None:
    for source, relative in carry.files:
        target = folder / _part_name(relative, carry)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(source, target, progress)


def _part_name(relative: Path, carry: Carried) -> Path:
    """Weight files have no name that anything would load until all is done."""
    return relative.with_name(relative.name + PART) if relative in carry.weights else relative


def copy_file(source: Path, target: Path, progress: Progress) -> None:
    """Copy a file in the kernel and sync it; the mode is kept."""
    with open(source, "rb") as reading, open(target, "xb") as writing:
        size = left = os.fstat(reading.fileno()).st_size
        while left:
            count = _copy_some(reading.fileno(), writing.fileno(), size - left, left)
            if not count:
                raise CheckpointError(f"{source}: ended while it was copied; is something writing to it?")
            left -= count
            progress(count)
        os.fsync(writing.fileno())
    shutil.copymode(source, target)


def _copy_some(reading: int, writing: int, offset: int, left: int) -> int:
    try:
        return os.copy_file_range(reading, writing, min(left, COPY_STEP), offset, offset)
    except OSError as fault:
        if fault.errno not in NO_KERNEL_COPY:
            raise
        return os.pwrite(writing, os.pread(reading, min(left, COPY_STEP), offset), offset)


def _rescale_all(checkpoint: Checkpoint, plan: Plan, carry: Carried, folder: Path) -> list[Changed]:
    names = dict(carry.files)
    return [
        _rescale(region, folder / _part_name(names[region.file], carry))
        for region in regions(checkpoint, plan.rescales)
    ]


def _rescale(region: Region, target: Path) -> Changed:
    """Write a rescaled tensor over its copy; what is read comes from the original."""
    before, after = hashlib.sha256(), hashlib.sha256()
    with open(target, "r+b") as file:
        file.seek(region.offset)
        for block in read_blocks(region.file, region.offset, region.nbytes):
            scaled = multiplied(block, region.dtype, region.factor)
            before.update(block)
            after.update(scaled)
            file.write(scaled)
        file.flush()
        os.fsync(file.fileno())
    return Changed(region, before.hexdigest(), after.hexdigest())


def _verify(carry: Carried, changed: list[Changed], folder: Path) -> None:
    """Open what was written again: the same headers and sizes as in the source, the changed tensors as computed."""
    for source, relative in carry.files:
        target = folder / _part_name(relative, carry)
        if target.stat().st_size != source.stat().st_size:
            raise CheckpointError(f"{source}: changed while it was copied; stop what writes to it and run doctor again")
        if relative in carry.weights and _layout(source) != _layout(target):
            raise CheckpointError(f"{target}: its header is not that of {source} after writing; is the disk failing?")
    names = dict(carry.files)
    for one in changed:
        target = folder / _part_name(names[one.region.file], carry)
        if sha256(read_blocks(target, one.region.offset, one.region.nbytes)) != one.after:
            raise CheckpointError(f"{target}: {one.region.name} reads back other than written; is the disk failing?")


def _layout(path: Path) -> object:
    header = read_header(path)
    return (
        [(one.name, one.dtype, one.shape, one.pieces[0].offset) for one in header.entries],
        header.metadata,
        header.end,
    )


def _write_manifest(folder: Path, checkpoint: Checkpoint, plan: Plan, carry: Carried, changed: list[Changed]) -> None:
    factors = {one.name: one for one in plan.rescales}
    manifest = {
        "schema": "doctor.repair/1",
        "doctor": __version__,
        "source": checkpoint.path.name,
        "rescaled": [_manifest_row(one, factors[one.region.name], carry) for one in changed],
        "files": [{"path": relative.as_posix(), "bytes": source.stat().st_size} for source, relative in carry.files],
        "left_behind": [relative.as_posix() for relative in carry.left_behind],
    }
    with open(folder / MANIFEST, "x", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _manifest_row(one: Changed, rescale: Rescale, carry: Carried) -> dict[str, object]:
    return {
        "tensor": rescale.name,
        "file": dict(carry.files)[one.region.file].as_posix(),
        "dtype": one.region.dtype,
        "std": rescale.value,
        "ratio": rescale.ratio,
        "factor": rescale.factor,
        "sha256_before": one.before,
        "sha256_after": one.after,
    }


def _publish(carry: Carried, folder: Path, out: Path) -> None:
    for relative in carry.weights:
        os.rename(folder / _part_name(relative, carry), folder / relative)
    (folder / LOCK).unlink()
    for place in {folder, *((folder / relative).parent for _, relative in carry.files)}:
        sync_folder(place)
    if os.path.lexists(out):
        raise CheckpointError(f"{out}: appeared while it was written; give another place with --out")
    os.rename(folder, out)
    sync_folder(out.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
