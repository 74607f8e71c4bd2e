"""Rows of named values, as structured sources hold them, to points: keys become series, one of them the step."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

from doctor.metric_keys import END, KEYS, ROLES, Key
from doctor.points import Points, points_of_rows

# Keys that hold the step, the global one first.
STEP_KEYS = (
    "trainer/global_step",
    "train/global_step",
    "global_step",
    "global_step/max_steps",
    "current_steps",
    "step",
    "iteration",
    "iter",
    "update",
    "_step",
    "round",
)
NAMED = {key.series for key in KEYS} - set(ROLES)
_PHASE = re.compile(r"^(?:train|metrics)/")


@cache  # a plain log has no rows, and should not wait for this
def _spellings() -> list[tuple[Key, re.Pattern[str]]]:
    wanted = (k for k in KEYS if k.series in {*NAMED, END} and (k.separator is None or k.series == "epoch"))
    return [(key, re.compile(key.spelling, re.IGNORECASE)) for key in wanted]


def points_of(path: str, rows: Iterable[Mapping[str, object]], lines: Iterable[int] | None = None) -> Points:
    """Points of all rows that hold a metric. Rows that sum up a run are left out; lines count from 1, 0 where there are none."""
    found, steps, kept = list[Mapping[str, float]](), list[float](), list[int]()
    unread = dict[str, None]()
    for row, line in zip(rows, lines or iter(int, 1), strict=False):
        values = _values(row)
        if values:
            found.append(values)
            steps.append(_step(row))
            kept.append(line)
        elif not found:
            unread |= dict.fromkeys(name for name, value in row.items() if number_of(value) is not None)
    points = points_of_rows(path, found, steps, kept)
    return (
        points
        if found
        else replace(points, unread=tuple(name for name in unread if name not in STEP_KEYS and not key_of(name)))
    )


def _values(row: Mapping[str, object]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, value in row.items():
        key = key_of(name)
        if key is None:
            continue
        if key.series == END:
            return {}
        number = number_of(value)
        if number is not None:
            values.setdefault(key.series, _in_units(key, number))
    return values if values.keys() - {"epoch"} else {}


def _in_units(key: Key, number: float) -> float:
    return (1 / number if number else math.inf) if key.inverse else number * key.unit


def _step(row: Mapping[str, object]) -> float:
    for name in STEP_KEYS:
        step = number_of(row.get(name))
        if step is not None:
            return step
    return math.nan


@cache
def key_of(name: str) -> Key | None:
    """The series that a key names, with or without the phase that loggers put in front."""
    for spelling in (name, _PHASE.sub("", name)):
        for key, pattern in _spellings():
            if pattern.fullmatch(spelling):
                return key
    return None


def number_of(value: object) -> float | None:
    """A number, also one that is written as text ("0.91", "310/900", "34.4%"); None if it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        return float(value.partition("/")[0].rstrip("%").replace(",", ""))
    except ValueError:
        return None
