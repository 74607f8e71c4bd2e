"""What a run's folder holds besides its logs: files with metrics, and which of several sources of one series counts."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from doctor.errors import LogError
from doctor.points import Floats, Points
from doctor.traces.csv_metrics import read_csv
from doctor.traces.event_files import read_event_file
from doctor.traces.json_metrics import HISTORY, read_columns, read_golden_values, read_json_lines, read_trainer_state
from doctor.traces.rows import key_of
from doctor.traces.wandb_files import MAGIC, read_wandb_file

SNIFF = 64 * 1024
# All rules over metrics, as a report names what was not looked at.
RULES = "trace/*"
MOST_FILES = 10_000

# Sources in the order of trust; text logs come last. Trainer's own history knows the steps; a console rounds.
READERS: tuple[tuple[str, Callable[[Path], Points]], ...] = (
    ("trainer-state", read_trainer_state),
    ("golden-values", read_golden_values),
    ("columns", read_columns),
    ("wandb", read_wandb_file),
    ("csv", read_csv),
    ("events", read_event_file),
    ("json-lines", read_json_lines),
)
_READER = dict(READERS)
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_EVENTS = re.compile(r"(?:^|/)events\.out\.tfevents\.")
# How a list of rows begins that measure a loss.
_ROWS = re.compile(rb"\s*\[\s*\{")
_LOSS = re.compile(rb"[\"_/ ]loss\"\s{0,9}:\s{0,9}\"?(?:[-\d]|nan)", re.IGNORECASE)
# How an object of lists begins, one of them of losses.
_COLUMN = re.compile(rb"\{\s*\"[^\"]{1,80}\"\s*:\s*\[")
_LOSSES = re.compile(rb"[\"_/ ]loss\"\s{0,9}:\s{0,9}\[\s{0,20}(?:[-\d]|nan)", re.IGNORECASE)
_MEASURES = re.compile(rb"loss|reward|perplexity|ppl")
# Two sources hold the same series if so many of the values of one are found in the other, to three digits.
SAME = 0.8


def is_metric_file(path: Path) -> bool:
    """Whether a file is a structured source of metrics, whatever its name says."""
    return kind_of(path) is not None


def kind_of(path: Path) -> str | None:
    """The name of the reader for a file, told from its beginning; None if it is no structured source of metrics."""
    try:
        with path.open("rb") as file:
            head = file.read(SNIFF)
    except OSError:
        return None
    if _EVENTS.search(path.as_posix()):
        return "events"
    if head.startswith(MAGIC):
        return "wandb"
    if path.suffix == ".csv":
        return "csv" if _names_metrics(head.partition(b"\n")[0].decode("utf-8", "replace")) else None
    return _json_kind(path, head)


def _names_metrics(header: str) -> bool:
    """Whether the columns of a table are such as loops write."""
    keys = [key_of(cell.strip().strip('"')) for cell in header.split(",")]
    return "loss" in header.lower() or any(key is not None and (key.primary or key.series == "reward") for key in keys)


def _json_kind(path: Path, head: bytes) -> str | None:
    if _ROWS.match(head) and _LOSS.search(head):
        return "trainer-state"
    start = head.lstrip()
    if not start.startswith(b"{"):
        return None
    if _COLUMN.match(start) and _LOSSES.search(start):
        return "columns"
    first, _, rest = start.partition(b"\n")
    if first.rstrip().endswith(b"}") and rest.lstrip().startswith(b"{") and _MEASURES.search(first):
        return "json-lines"  # whatever a last line sums up
    if f'"{HISTORY}"'.encode() in head or path.name == "trainer_state.json":
        return "trainer-state"
    if b'"start_step"' in head and b'"values"' in head:
        return "golden-values"
    return "json-lines" if first.rstrip().endswith(b"}") and _MEASURES.search(head) else None


def all_metric_files(folder: Path) -> list[Path]:
    """The structured sources below a folder."""
    return [path for path in _files(folder) if is_metric_file(path)]


def metric_files(folder: Path) -> list[Path]:
    """The structured sources below a folder that count; of several checkpoints' trainer states only the last one's."""
    found = all_metric_files(folder)
    states = [path for path in found if _CHECKPOINT.search(path.parent.name) and kind_of(path) == "trainer-state"]
    last = {path.parent.parent: path for path in sorted(states, key=_checkpoint)}
    return [path for path in found if path not in states or last[path.parent.parent] == path]


def _checkpoint(path: Path) -> int:
    found = _CHECKPOINT.search(path.parent.name)
    return int(found[1]) if found else 0


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix in (".json", ".jsonl", ".csv", ".wandb", ".log") or _EVENTS.search(path.as_posix()):
                count += 1
                if count > MOST_FILES:
                    raise LogError(f"{folder}: more than {MOST_FILES} files; give the folder of one run")
                yield path


def read_metric_file(path: Path) -> Points:
    """The points of a structured source; LogError if it can't be read or is none."""
    kind = kind_of(path)
    if kind is None:
        raise LogError(f"{path}: no metrics in it that doctor can read")
    return _READER[kind](path)


def read_metric_files(
    paths: Sequence[Path], named: Sequence[str], alone: bool
) -> tuple[list[Points], list[tuple[str, str]]]:
    """The points of each of these files, and (rules, why) for those that can't be read; LogError if one of the latter is named,
    or none can be read and they are ``alone``, without a log."""
    read, faults = list[Points](), list[tuple[str, str]]()
    for path in paths:
        try:
            read.append(read_metric_file(path))
        except LogError as fault:
            if str(path) in named:
                raise
            faults.append((RULES, str(fault)))
    if alone and faults and not read:
        raise LogError(faults[0][1])
    return read, faults


def best_sources(structured: Sequence[Points], logs: Sequence[Points]) -> list[Points]:
    """All sources, without the series that a better source holds as well: the one with more points, and of equals the one
    that stands first in READERS. A log that goes on behind the last checkpoint so keeps its own."""
    order = [name for name, _ in READERS]
    ranked = [(order.index(kind_of(Path(one.path)) or order[-1]), one) for one in structured]
    ranked += [(len(order), one) for one in logs]
    kept = list[Points]()
    for n, (rank, one) in enumerate(ranked):
        others = [(other_rank, other) for m, (other_rank, other) in enumerate(ranked) if m != n]
        worse = [
            name
            for name in one.names
            if any(_better(name, other, one, other_rank < rank) for other_rank, other in others)
        ]
        kept.append(_without(one, worse))
    return [one for one in kept if len(one)]


def _better(name: str, other: Points, one: Points, first: bool) -> bool:
    """Whether another source holds the same series, with more points or with as many and more trust."""
    theirs, ours = _values(other, name), _values(one, name)
    if not len(ours) or len(theirs) < len(ours) or (len(theirs) == len(ours) and not first):
        return False
    return float(np.mean(np.isin(_rounded(ours), _rounded(theirs)))) >= SAME


def _values(points: Points, name: str) -> Floats:
    if name not in points.names:
        return np.empty(0)
    values: Floats = points.value[points.series == points.names.index(name)]
    return values


def _rounded(values: Floats) -> Floats:
    """Values to three digits; what is not finite counts as one value."""
    with np.errstate(all="ignore"):
        scale = 10.0 ** (2 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * scale) / scale
    kept: Floats = np.where(np.isfinite(rounded), rounded, np.where(values == 0, 0.0, 1e300))
    return kept


def _without(points: Points, names: Sequence[str]) -> Points:
    numbers = [points.names.index(name) for name in names]
    keep = ~np.isin(points.series, numbers)
    return replace(points, series=points.series[keep], record=points.record[keep], value=points.value[keep])
