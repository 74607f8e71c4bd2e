"""Metrics in CSV: Lightning's metrics.csv, Keras' CSVLogger, tables of one's own."""

import csv
from itertools import islice
from pathlib import Path

from doctor.errors import LogError
from doctor.points import Points
from doctor.traces.rows import points_of


def read_csv(path: Path, most: int | None = None) -> Points:
    """A row a record, at most so many, sparse cells left out; LogError if the file can't be read as a table with a header."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = [(row, number) for number, row in enumerate(islice(csv.DictReader(file), most), 2)]
    except (OSError, csv.Error) as fault:
        raise LogError(f"{path}: can't be read as CSV: {fault}; check that the file is whole") from None
    return points_of(
        str(path),
        ({name: cell for name, cell in row.items() if name and cell} for row, _ in rows),
        (number for _, number in rows),
    )
