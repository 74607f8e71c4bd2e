"""Offline runs of Weights & Biases (run-ID.wandb): a LevelDB log whose records hold history rows as JSON.

The file starts with a header of 7 bytes; blocks of 32 KiB follow, the header counted into the first. A record in a block is a
checksum (4 bytes), a length (2), a type (1) and data; long records are split over blocks.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from doctor.errors import LogError
from doctor.points import Points
from doctor.traces.protobuf_wire import fields
from doctor.traces.rows import points_of

MAGIC = b":W&B"
HEADER = 7
BLOCK = 32 * 1024
RECORD_HEADER = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4

# Fields of wandb's Record, HistoryRecord, HistoryItem and HistoryStep.
RECORD_HISTORY = 2
HISTORY_ITEM, HISTORY_STEP = 1, 2
ITEM_KEY, ITEM_NESTED_KEY, ITEM_VALUE = 1, 2, 16
STEP_NUMBER = 1


def read_wandb_file(path: Path) -> Points:
    """The history of an offline run; LogError if the file can't be read or is none."""
    try:
        with path.open("rb") as file:
            if file.read(HEADER)[:4] != MAGIC:
                raise ValueError("it does not start like one")
            file.seek(0)
            rows = [row for record in _records(file) if (row := _history(record))]
    except (OSError, ValueError) as fault:
        raise LogError(f"{path}: can't be read as an offline wandb run: {fault}") from None
    return points_of(str(path), rows)


def _records(file: "object") -> Iterator[bytes]:
    """Whole records; what a killed run cut off at the end is left out."""
    pending = b""
    for start, block in enumerate(iter(lambda: file.read(BLOCK), b"")):  # type: ignore[attr-defined]
        at = HEADER if start == 0 else 0
        while at + RECORD_HEADER <= len(block):
            length, kind = int.from_bytes(block[at + 4 : at + 6], "little"), block[at + 6]
            data = block[at + RECORD_HEADER : at + RECORD_HEADER + length]
            at += RECORD_HEADER + length
            if kind not in (FULL, FIRST, MIDDLE, LAST) or len(data) < length:
                break
            pending = data if kind in (FULL, FIRST) else pending + data
            if kind in (FULL, LAST):
                yield pending


def _history(record: bytes) -> dict[str, object]:
    row: dict[str, object] = {}
    for number, history in fields(record):
        if number != RECORD_HISTORY or not isinstance(history, bytes):
            continue
        for part, value in fields(history):
            if part == HISTORY_ITEM and isinstance(value, bytes):
                row.update(_item(value))
            elif part == HISTORY_STEP and isinstance(value, bytes):
                row.setdefault("_step", dict(fields(value)).get(STEP_NUMBER, 0))
    return row


def _item(item: bytes) -> dict[str, object]:
    keys, text = list[str](), b""
    for number, value in fields(item):
        if number in (ITEM_KEY, ITEM_NESTED_KEY) and isinstance(value, bytes):
            keys.append(value.decode("utf-8", "replace"))
        elif number == ITEM_VALUE and isinstance(value, bytes):
            text = value
    try:
        return {"/".join(filter(None, keys)): json.loads(text)}
    except ValueError:
        return {}
