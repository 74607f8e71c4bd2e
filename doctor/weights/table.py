"""The statistics of every tensor as a table, for --tensors."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from doctor.errors import CheckpointError
from doctor.weights.compare import Change
from doctor.weights.measure import Measured
from doctor.weights.moments import Moments
from doctor.whole_file import write_whole

if TYPE_CHECKING:
    import pandas

SUFFIXES = (".csv", ".parquet")


def table_of(measured: Iterable[Measured], changes: Sequence[Change] = ()) -> "pandas.DataFrame":
    """A row for each tensor and each expert of a stack: place, role, dtype, shape, statistics and change."""
    import pandas

    change_of = {change.name: change for change in changes}
    rows = [row for tensor in measured for row in _rows(tensor, change_of.get(tensor.name))]
    frame = pandas.DataFrame(rows)
    return frame.astype({"layer": "Int64", "expert": "Int64", "first_nonfinite": "Int64"}) if rows else frame


def _rows(tensor: Measured, change: Change | None) -> list[dict[str, object]]:
    from doctor.weights.layers import place_of

    place = {
        "tensor": tensor.name,
        "file": tensor.file.name,
        "layer": tensor.layer,
        "expert": place_of(tensor.name).expert,
        "role": tensor.role.value,
        "dtype": tensor.dtype,
        "shape": "x".join(map(str, tensor.shape)),
    }
    compared = (
        {} if change is None else {"base": change.status.value, "distance": change.distance, "std_ratio": change.ratio}
    )
    inner = "x".join(map(str, tensor.shape[1:]))
    experts = [place | {"expert": i, "shape": inner} | _statistics(one) for i, one in enumerate(tensor.experts)]
    return [place | _statistics(tensor.moments) | compared, *experts]


def _statistics(moments: Moments) -> dict[str, object]:
    return {
        "count": moments.count,
        "mean": moments.mean,
        "std": moments.std,
        "rms": moments.rms,
        "l2": moments.norm,
        "absmax": moments.absmax,
        "nan": moments.nan,
        "inf": moments.inf,
        "zeros": moments.zeros,
        "first_nonfinite": moments.first,
    }


def write_table(path: Path, measured: Iterable[Measured], changes: Sequence[Change] = ()) -> None:
    """Write the table as CSV or Parquet, by the suffix of the path; CheckpointError if it can't be written."""
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path}: write the tensors to a .csv or a .parquet file")
    frame = table_of(measured, changes)
    write = frame.to_csv if path.suffix == ".csv" else frame.to_parquet
    try:
        write_whole(path, lambda beside: write(beside, index=False))
    except ImportError:
        raise CheckpointError(
            f"{path}: writing Parquet needs pyarrow (pip install pyarrow); or give a .csv file"
        ) from None
    except OSError as fault:
        raise CheckpointError(f"{path}: can't be written: {fault.strerror}") from None
