"""The files that a command reads, so that nothing is written over one of them."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from doctor.catalog import SUFFIX, user_folder
from doctor.logs.source import STDIN, find_sources

if TYPE_CHECKING:
    from doctor.config.read import Document
    from doctor.weights.entries import Checkpoint

STDIN_FILE = Path("/dev/stdin")


def among(target: Path, inputs: Iterable[Path]) -> bool:
    """Whether a file is one of the inputs, by whatever name or link; what is no regular file can't be written over."""
    return target.is_file() and any(_same(target, one) for one in inputs)


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def of_logs(paths: list[str], config: Path | None) -> Iterator[Path]:
    """The logs and metric files that arguments name, and those in the folders among them."""
    for source in find_sources(paths, needed=False):
        yield STDIN_FILE if source.path == STDIN else Path(source.path)
    folders = [Path(path) for path in paths if Path(path).is_dir()]
    if folders:
        from doctor.traces.run_folder import all_metric_files

        yield from (file for folder in folders for file in all_metric_files(folder))
    if config is not None:
        yield config


def of_weights(checkpoints: Iterable["Checkpoint"], rules: Path | None) -> Iterator[Path]:
    """The files of checkpoints; all of a folder, since a repaired copy takes what lies in it along."""
    for checkpoint in checkpoints:
        home = checkpoint.files[0].parent
        yield from (checkpoint.path, *checkpoint.files, home / "config.json", home / "adapter_config.json")
        if checkpoint.path.is_dir():
            yield from checkpoint.path.rglob("*")
    if rules is not None:
        yield rules


def of_config(document: "Document") -> Iterator[Path]:
    """A configuration, and the files that it names."""
    from doctor.config.linked import linked_files

    yield Path(document.path)
    yield from linked_files(document)


def of_signatures(folders: Iterable[Path]) -> Iterator[Path]:
    """The signatures of these folders, and the user's own."""
    for folder in (user_folder(), *folders):
        yield from folder.glob(f"*/*{SUFFIX}")
