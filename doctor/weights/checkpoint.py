"""A path to a Checkpoint: which files belong to it, where each tensor lies, and what is wrong. No data is read."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from doctor.errors import CheckpointError
from doctor.weights import shard_index
from doctor.weights.distributed import METADATA, read_distributed
from doctor.weights.entries import Checkpoint, Entry, Fault, FaultKind, Format
from doctor.weights.safetensors_header import Header, HeaderError, read_header, shown
from doctor.weights.shard_index import ShardIndex, read_index, read_json
from doctor.weights.torch_files import TorchFile, read_torch_file
from doctor.weights.zero import read_zero, step_folder

SAFETENSORS = ".safetensors"
TORCH = (".bin", ".pt", ".pth")
INDEX = ".index.json"
NOT_WEIGHTS = (
    "optimizer",
    "scheduler",
    "rng_state",
    "training_args",
    "scaler",
    "trainer_state",
    "random_states",
    "sampler",
)
CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
LARGEST_CONFIG = 16 << 20
NOT_A_FILE = "is not a regular file; give the weights themselves"

# The files of a folder that hold its weights, best first; the first pattern that finds any is the checkpoint.
SAFETENSORS_CHOICES = (
    "adapter_model.safetensors",
    "model.safetensors.index.json",
    "*.safetensors.index.json",
    "model.safetensors",
    "*.safetensors",
)
TORCH_CHOICES = ("adapter_model.bin", "*.bin.index.json", "pytorch_model.bin", "*.bin", "*.pt", "*.pth")


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at ``path``, a file or a folder. CheckpointError if nothing in it can be measured."""
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError as fault:
        raise CheckpointError(f"{path}: can't be reached: {fault.strerror}") from None
    if not exists:
        why = "a link that leads nowhere, or in a circle" if path.is_symlink() else "no such file or folder"
        raise CheckpointError(f"{path}: {why}; give a checkpoint's file or folder")
    checkpoint = _open_folder(path) if is_folder else _open_file(path, path)
    if not checkpoint.entries and not checkpoint.unmeasured and not _is_just_empty(checkpoint):
        raise CheckpointError(_nothing(checkpoint))
    return checkpoint


def _is_just_empty(checkpoint: Checkpoint) -> bool:
    return all(fault.kind is FaultKind.EMPTY for fault in checkpoint.faults)


def _nothing(checkpoint: Checkpoint) -> str:
    faults = checkpoint.faults
    more = f" (and {len(faults) - 1} more files are damaged)" if len(faults) > 1 else ""
    return f"{faults[0].file}: {faults[0].detail}{more}" if faults else f"{checkpoint.path}: no tensors in it"


def _open_folder(folder: Path) -> Checkpoint:
    """The weights of a folder: safetensors before all else, since trainers leave optimizer states beside them."""
    try:
        chosen = _chosen(folder, SAFETENSORS_CHOICES)
        step = None if chosen else step_folder(folder)
        if step is not None:
            return _open_zero(folder, step)
        if not chosen and (folder / METADATA).is_file():
            return _open_distributed(folder)
        chosen = chosen or _chosen(folder, TORCH_CHOICES)
        if not chosen:
            raise CheckpointError(f"{folder}: no weights in it; {_hint(folder)}")
    except OSError as fault:
        raise CheckpointError(f"{folder}: can't be read: {fault.strerror}") from None
    return _open_file(chosen[0], folder) if len(chosen) == 1 else _open_files(folder, chosen, None)


def _chosen(folder: Path, choices: Iterable[str]) -> list[Path]:
    for pattern in choices:
        found = [path for path in sorted(folder.glob(pattern)) if not path.name.startswith((*NOT_WEIGHTS, "."))]
        if found:
            return found[:1] if pattern.endswith(INDEX) else found
    return []


def _hint(folder: Path) -> str:
    inner = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if inner:
        return f"give one of its folders: {', '.join(inner[:5])}"
    return f"doctor reads *{SAFETENSORS}, torch *.bin and *.pt, .distcp and ZeRO"


def _open_file(file: Path, asked: Path) -> Checkpoint:
    if file.name.endswith(INDEX):
        index = read_index(file)
        return _open_files(asked, index.shards, index)
    if file.suffix == SAFETENSORS or file.suffix in TORCH:
        return _open_files(asked, [file], None)
    raise CheckpointError(
        f"{file}: not a checkpoint that doctor reads; it reads *{SAFETENSORS}, torch *.bin and *.pt, and their folders"
    )


def _open_files(asked: Path, files: list[Path], index: ShardIndex | None) -> Checkpoint:
    is_safe = files[0].suffix == SAFETENSORS
    opened: dict[Path, Header | TorchFile] = {}
    faults: list[Fault] = []
    for file in files:
        result = _read_safetensors(file) if is_safe else _read_torch(file)
        if isinstance(result, Fault):
            faults.append(result)
        else:
            opened[file] = result
            faults += getattr(result, "faults", ())
    faults += _index_faults(index, opened, faults)
    entries, twice = _without_twins(entry for result in opened.values() for entry in result.entries)
    is_adapter = (files[0].parent / ADAPTER_CONFIG).is_file() and files[0].name.startswith("adapter_model")
    config, unread = _config(files[0].parent / (ADAPTER_CONFIG if is_adapter else CONFIG))
    return Checkpoint(
        path=asked,
        format=Format.SAFETENSORS if is_safe else Format.TORCH,
        entries=entries,
        files=tuple(opened),
        faults=(*faults, *twice, *_emptiness(opened), *unread),
        unmeasured=tuple(one for result in opened.values() for one in result.unmeasured),
        config=config,
        is_adapter=is_adapter,
        aliases={
            name: of
            for result in opened.values()
            if isinstance(result, TorchFile)
            for name, of in result.aliases.items()
        },
    )


def _read_safetensors(file: Path) -> Header | Fault:
    if file.exists() and not file.is_file():
        return Fault(FaultKind.UNREADABLE, file, NOT_A_FILE)
    try:
        return read_header(file)
    except HeaderError as fault:
        return Fault(FaultKind.UNREADABLE, file, str(fault))
    except FileNotFoundError:
        return Fault(FaultKind.MISSING_SHARD, file, "is named by the index but not there; copy or download it")
    except OSError as fault:
        return Fault(FaultKind.UNREADABLE, file, f"can't be read: {fault.strerror}")


def _read_torch(file: Path) -> TorchFile | Fault:
    if not file.exists():
        return Fault(FaultKind.MISSING_SHARD, file, "is named by the index but not there; copy or download it")
    if not file.is_file():
        return Fault(FaultKind.UNREADABLE, file, NOT_A_FILE)
    try:
        return read_torch_file(file)
    except CheckpointError as fault:
        return Fault(FaultKind.UNREADABLE, file, str(fault).removeprefix(f"{file}: "))


def _index_faults(
    index: ShardIndex | None, opened: Mapping[Path, Header | TorchFile], faults: Iterable[Fault]
) -> list[Fault]:
    if index is None:
        return []
    known = [fault.file for fault in faults]  # a damaged shard is reported once, not once a tensor
    entries = [entry for result in opened.values() for entry in result.entries]
    held = [Entry(one.name, "F32", (0,), ()) for result in opened.values() for one in result.unmeasured]
    names = {name for result in opened.values() if isinstance(result, TorchFile) for name in result.aliases}
    return shard_index.compare(index, entries, known, names | {entry.name for entry in held})


def _without_twins(entries: Iterable[Entry]) -> tuple[tuple[Entry, ...], list[Fault]]:
    """Entries with distinct names; a name in two shards is a fault: which is loaded depends on their order."""
    first: dict[str, Entry] = {}
    faults = []
    for entry in entries:
        kept = first.setdefault(entry.name, entry)
        if kept is not entry:
            faults.append(
                Fault(
                    FaultKind.TWICE,
                    entry.file,
                    f"holds {shown(entry.name)}, which {kept.file.name} holds too",
                    entry.name,
                )
            )
    return tuple(first.values()), faults


def _emptiness(opened: Mapping[Path, Header | TorchFile]) -> list[Fault]:
    holding = any(result.entries or result.unmeasured or getattr(result, "faults", ()) for result in opened.values())
    return [] if holding else [Fault(FaultKind.EMPTY, file, "holds no tensors at all") for file in opened]


def _open_distributed(folder: Path) -> Checkpoint:
    entries, unmeasured, faults = read_distributed(folder)
    files = tuple(sorted({piece.file for entry in entries for piece in entry.pieces}))
    config, unread = _config(folder / CONFIG)
    return Checkpoint(folder, Format.DISTRIBUTED, entries, files, (*faults, *unread), unmeasured, config)


def _open_zero(folder: Path, step: Path) -> Checkpoint:
    entries, files = read_zero(step)
    config, unread = _config(folder / CONFIG)
    return Checkpoint(folder, Format.ZERO, entries, files, unread, config=config)


def _config(path: Path) -> tuple[Mapping[str, object], tuple[Fault, ...]]:
    """The configuration beside the weights; a damaged one is a fault, since they can be measured without."""
    if not path.is_file():
        return {}, ()
    try:
        return read_json(path, LARGEST_CONFIG), ()
    except CheckpointError as fault:
        return {}, (Fault(FaultKind.UNREADABLE, path, str(fault).removeprefix(f"{path}: ")),)
