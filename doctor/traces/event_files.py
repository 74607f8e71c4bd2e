"""TensorBoard event files: records of events, each with a step and scalars.

A record is a length (8 bytes), its checksum (4), the event, its checksum (4). Checksums are not verified: a run that was killed
leaves a cut last record, and everything before it is wanted.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from doctor.errors import LogError
from doctor.points import Points
from doctor.traces.protobuf_wire import fields
from doctor.traces.rows import points_of

# Fields of tensorboard's Event, Summary, Summary.Value and TensorProto.
EVENT_STEP, EVENT_SUMMARY = 2, 5
SUMMARY_VALUE = 1
VALUE_TAG, VALUE_SIMPLE, VALUE_TENSOR = 1, 2, 8
TENSOR_TYPE, TENSOR_CONTENT, TENSOR_FLOAT, TENSOR_DOUBLE = 1, 4, 5, 6
FLOAT, DOUBLE = 1, 2


def read_event_file(path: Path) -> Points:
    """The scalars of an event file; LogError if it can't be read or is none."""
    try:
        rows = list(_on_one_counter(_rows(path)))
    except (OSError, ValueError, struct.error) as fault:
        raise LogError(f"{path}: can't be read as a TensorBoard event file: {fault}") from None
    return points_of(str(path), rows)


def _rows(path: Path) -> Iterator[dict[str, object]]:
    """Scalars that are written at one step follow each other, one event each; they make one row."""
    row: dict[str, object] = {}
    for event in _records(path):
        step, scalars = _event(event)
        if row and (row["step"] != step or row.keys() & scalars.keys()):
            yield row
            row = {}
        if scalars:
            row = {"step": step, **row, **scalars}
    if row:
        yield row


def _on_one_counter(rows: Iterable[dict[str, object]]) -> Iterator[dict[str, object]]:
    """Rows of tags that are counted by epochs, between rows of tags that are counted by steps, at the step before them.

    What starts again in earnest falls below its own last step.
    """
    latest, now = dict[str, int](), 0
    for row in rows:
        step = int(str(row["step"]))
        tags = row.keys() - {"step"}
        rises = all(step > latest.get(tag, -1) for tag in tags)
        latest.update(dict.fromkeys(tags, step))
        now = max(now, step) if rises else step
        yield {**row, "step": now}


def _records(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            length = int.from_bytes(head[:8], "little")
            if length > size - file.tell():
                return
            yield file.read(length)
            file.seek(4, 1)


def _event(event: bytes) -> tuple[int, dict[str, object]]:
    step, scalars = 0, dict[str, object]()
    for number, value in fields(event):
        if number == EVENT_STEP and isinstance(value, int):
            step = value
        elif number == EVENT_SUMMARY and isinstance(value, bytes):
            scalars.update(scalar for part, one in fields(value) if part == SUMMARY_VALUE and (scalar := _scalar(one)))
    return step, scalars


def _scalar(value: int | bytes) -> tuple[str, float] | None:
    tag, number = "", None
    for part, one in fields(value) if isinstance(value, bytes) else ():
        if part == VALUE_TAG and isinstance(one, bytes):
            tag = one.decode("utf-8", "replace")
        elif part == VALUE_SIMPLE and isinstance(one, bytes):
            number = struct.unpack("<f", one)[0]
        elif part == VALUE_TENSOR and isinstance(one, bytes):
            number = _tensor(one)
    return (tag, number) if tag and number is not None else None


def _tensor(tensor: bytes) -> float | None:
    """The number in a tensor of one element, packed or as raw bytes."""
    parts = dict(fields(tensor))
    for field, kind, dtype in ((TENSOR_FLOAT, "<f", FLOAT), (TENSOR_DOUBLE, "<d", DOUBLE)):
        raw = parts.get(field) or (parts.get(TENSOR_CONTENT) if parts.get(TENSOR_TYPE) == dtype else None)
        if isinstance(raw, bytes) and len(raw) == struct.calcsize(kind):
            return float(struct.unpack(kind, raw)[0])
    return None
