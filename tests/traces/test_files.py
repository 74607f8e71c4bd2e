"""CSV, TensorBoard and wandb files: as frameworks wrote them, cut, and hostile."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doctor.errors import LogError
from doctor.points import Points
from doctor.traces.csv_metrics import read_csv
from doctor.traces.event_files import read_event_file
from doctor.traces.protobuf_wire import fields
from doctor.traces.wandb_files import read_wandb_file

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"


def values(points: Points, name: str) -> np.ndarray:
    return points.value[points.series == points.names.index(name)]


def event_file() -> Path:
    return next((TRACES / "tensorboard-healthy").rglob("events.out.tfevents.*"))


def wandb_file(name: str) -> Path:
    return next((TRACES / name).rglob("*.wandb"))


def test_event_file_of_a_real_run() -> None:
    points = read_event_file(event_file())
    assert len(values(points, "loss")) == 60
    assert len(values(points, "eval_loss")) == 6
    which = points.series == points.names.index("loss")
    assert points.step[points.record[which]].tolist() == [float(step) for step in range(4, 241, 4)]
    assert values(points, "loss")[0] > 4 > values(points, "loss")[-1] > 1


def test_wandb_file_of_a_real_run() -> None:
    points = read_wandb_file(wandb_file("wandb-healthy"))
    assert (
        len(values(points, "loss")) == len(values(points, "grad_norm")) == len(values(points, "learning_rate")) == 240
    )
    assert points.step.tolist() == [float(step) for step in range(240)]
    assert np.isnan(values(read_wandb_file(wandb_file("wandb-nan")), "loss")[150:]).all()


def test_metrics_csv_of_a_real_run() -> None:
    points = read_csv(next((TRACES / "lightning-healthy").rglob("metrics.csv")))
    assert len(values(points, "loss")) == 60
    assert len(values(points, "eval_loss")) == 2
    assert points.line[0] == 2


@pytest.mark.parametrize(
    ("read", "find"), [(read_event_file, event_file), (read_wandb_file, lambda: wandb_file("wandb-healthy"))]
)
@given(share=st.floats(0.0, 1.0))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_anywhere_gives_what_stands_before_the_cut(
    read: Callable[[Path], Points], find: Callable[[], Path], share: float, tmp_path: Path
) -> None:
    whole = find().read_bytes()
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(whole[: 7 + int(share * (len(whole) - 7))])
    points = read(path)
    if len(points):
        full = values(read(find()), points.names[0])
        assert np.array_equal(
            values(points, points.names[0]), full[: len(values(points, points.names[0]))], equal_nan=True
        )


@pytest.mark.parametrize("read", [read_event_file, read_wandb_file, read_csv])
@given(data=st.binary(max_size=400), magic=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_bytes_are_an_error_or_nothing(
    read: Callable[[Path], Points], data: bytes, magic: bool, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes((b":W&B\xe1\xbe\x00" if magic else b"") + data)
    try:
        assert len(read(path)) >= 0
    except LogError as fault:
        assert str(fault).startswith(f"{path}: can't be read")


def test_a_length_beyond_the_file_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes((2**62).to_bytes(8, "little") + b"\0" * 40)
    assert len(read_event_file(path)) == 0


def record(step: int, tag: str, value: float) -> bytes:
    """An event with one scalar, as summary writers write it."""
    scalar = b"\x0a" + bytes([len(tag)]) + tag.encode() + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(scalar)]) + scalar
    event = b"\x10" + bytes([step]) + b"\x2a" + bytes([len(summary)]) + summary
    return len(event).to_bytes(8, "little") + b"\0" * 4 + event + b"\0" * 4


def test_tags_that_count_epochs_stand_at_the_step_before_them(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1"
    scalars = [(1, "Loss/train", 4.0), (50, "Loss/train", 3.0), (0, "Loss/val", 3.5), (100, "Loss/train", 2.0)]
    scalars += [(1, "Loss/val", 2.5), (40, "Loss/train", 2.75)]
    path.write_bytes(b"".join(record(*one) for one in scalars))
    points = read_event_file(path)
    assert [points.names[n] for n in points.series] == ["loss", "loss", "eval_loss", "loss", "eval_loss", "loss"]
    assert points.step.tolist() == [1.0, 50.0, 50.0, 100.0, 100.0, 40.0]


@pytest.mark.parametrize("message", [b"\x08", b"\x0a\x05ab", b"\x0b", b"\xff" * 11])
def test_broken_messages_are_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|number|wire"):
        list(fields(message))


def test_fields_of_a_message() -> None:
    assert list(fields(b"\x08\x96\x01\x12\x02hi\x1d\x00\x00\x80\x3f")) == [
        (1, 150),
        (2, b"hi"),
        (3, b"\x00\x00\x80\x3f"),
    ]
