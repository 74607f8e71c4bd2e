"""The points of all series as a table in a file."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from doctor.errors import LogError
from doctor.traces.series import Run
from doctor.whole_file import write_whole

COLUMNS = ["path", "run", "series", "step", "value", "line"]


def write_points(path: Path, runs: Sequence[Run]) -> None:
    """All points of all series as a table, .csv or .parquet: path, run, series, step, value, line.

    The file appears whole or not at all; LogError if it can't be written.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise LogError(f"{path}: the points go into a .csv or a .parquet file")
    table = _table(runs)
    write = table.to_csv if path.suffix == ".csv" else table.to_parquet
    try:
        write_whole(path, lambda beside: write(beside, index=False))
    except OSError as fault:
        raise LogError(f"{path}: can't be written: {fault.strerror or fault}; choose another place") from None
    except ImportError:
        raise LogError(f"{path}: Parquet needs pyarrow; install it, or write a .csv") from None


def _table(runs: Sequence[Run]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"step": one.steps, "value": one.values, "line": one.lines}).assign(
            path=one.path, run=one.run, series=one.name
        )
        for run in runs
        for one in run.series.values()
    ]
    return pd.concat(parts)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)
