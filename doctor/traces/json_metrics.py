"""Metrics in JSON: trainer_state.json and other lists of rows, lines of JSON, and Megatron's golden values."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from doctor.errors import LogError
from doctor.points import Points
from doctor.traces.rows import number_of, points_of

HISTORY = "log_history"


def read_trainer_state(path: Path) -> Points:
    """The log history of a Trainer (or any file of that shape, whatever its name), or a list of such rows alone; LogError if
    there is none in it."""
    table = _load(path)
    history = table.get(HISTORY) if isinstance(table, dict) else table
    rows = [dict(_flat(row)) for row in history if isinstance(row, dict)] if isinstance(history, list) else []
    if not rows and (history is table or not isinstance(history, list)):
        raise LogError(f"{path}: no {HISTORY} in it; give the trainer_state.json of a checkpoint")
    return points_of(str(path), rows)


def read_golden_values(path: Path) -> Points:
    """{"lm loss": {"values": {"1": 10.9, ...}}, ...}: the text "nan" means that a step was not recorded."""
    table = _load(path)
    rows: dict[float, dict[str, object]] = {}
    for name, one in table.items() if isinstance(table, dict) else ():
        values = one.get("values") if isinstance(one, dict) else None
        for step, value in values.items() if isinstance(values, dict) else ():
            number = number_of(step)
            if number is not None and not (isinstance(value, str) and value.lower() == "nan"):
                rows.setdefault(number, {"step": number})[name] = value
    return points_of(str(path), [rows[step] for step in sorted(rows)])


def read_columns(path: Path) -> Points:
    """{"loss": [2.1, 1.8], "val_loss": [2.2, 1.9]}, as Keras' History is dumped: a list a metric, a member an epoch."""
    table = _load(path)
    columns = {name: one for name, one in table.items() if isinstance(one, list)} if isinstance(table, dict) else {}
    rows = max(map(len, columns.values()), default=0)
    told = {name: one for name, one in columns.items() if len(one) == rows}
    numbered = [{"epoch": n + 1, **{name: one[n] for name, one in told.items()}} for n in range(rows)]
    return points_of(str(path), numbered)


def read_json_lines(path: Path, most: int | None = None) -> Points:
    """A JSON object a line, of at most so many lines; those that are none are skipped, as a killed run leaves half a line."""
    with path.open("rb") as file:
        numbered = [(row, line) for line, text in enumerate(islice(file, most), 1) if (row := _row(text)) is not None]
    return points_of(str(path), (row for row, _ in numbered), (line for _, line in numbered))


def _row(text: bytes) -> Mapping[str, object] | None:
    if not text.lstrip().startswith(b"{"):
        return None
    try:
        row = json.loads(text)
    except ValueError:
        return None
    return dict(_flat(row)) if isinstance(row, dict) else None


def _flat(row: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in row.items():
        if isinstance(value, dict) and not prefix:
            yield from _flat(value, f"{name}/")
        else:
            yield f"{prefix}{name}", value


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as fault:
        raise LogError(f"{path}: can't be read as JSON: {fault}; check that the file is whole") from None
