"""Metric lines to points: the dense regions of a block are read in one pass over columns, never line by line."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from doctor.logs.metric_keys import END, KEYS, RESUME, ROLES, STEP, Key
from doctor.logs.metric_records import Records, StepReader, find_records
from doctor.logs.metric_regions import Regions, cut_regions
from doctor.logs.number_columns import WIDTH, Bytes, Flags, Numbers, numbers_at
from doctor.points import Ints, Points, joined

NAMES = tuple(dict.fromkeys(key.series for key in KEYS if key.series not in ROLES))

# A dict that a narrow terminal, or a pretty printer, broke into lines; only logs as short as a paste are mended.
_BROKEN = re.compile(rb"""\{['"][^{}\n]{0,4000}\n(?:[^{}\n]{0,4000}\n){0,40}?[^{}\n]{0,4000}\}""")
_PASTE = 4 * 1024 * 1024

Hits = Sequence[tuple[int, int]]


class MetricReader:
    """Collects the points of one log, block by block. ``scan`` finds the hits of ``metric_patterns()`` in bytes."""

    def __init__(self, path: str, scan: Callable[[bytes], Hits]) -> None:
        self._path = path
        self._scan = scan
        self._steps = StepReader()
        self._parts: list[Points] = []

    def take(self, data: bytes, hits: Hits, first_line: int) -> None:
        """Read the hits (pattern number, end offset) of one block whose first line has this number.

        Only the hits that belong to the block, not those that come again in the next one.
        """
        key, end = _columns(hits)
        primary = end[_PRIMARY[key]]
        if not len(primary):
            return
        regions = cut_regions(data, np.sort(primary), first_line)
        inside, end = regions.moved(end)
        key = key[inside]
        if len(data) <= _PASTE and _BROKEN.search(regions.text):
            text = _BROKEN.sub(lambda found: found[0].replace(b"\n", b""), regions.text)
            regions = Regions(text, np.array([0]), np.array([0]), regions.line[:1])
            key, end = _columns(self._scan(text))
        self._read(regions, key, end)

    def points(self) -> Points:
        """All points so far."""
        return joined(self._path, NAMES, self._parts)

    def _read(self, regions: Regions, key: Ints, end: Ints) -> None:
        text = np.frombuffer(regions.text + b"\n" * (2 * WIDTH), np.uint8)
        numbers = _numbers(text, *_one_per_place(key, end))
        records = find_records(text[: len(regions.text)], numbers, _PRIMARY[numbers.key], _role(END)[numbers.key])
        steps = self._steps.read(regions.text, numbers, records)
        if len(records):
            self._parts.append(_points(self._path, regions, numbers, records, steps))
