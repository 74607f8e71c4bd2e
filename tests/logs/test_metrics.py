"""Metric lines of every format that is known, and the damage that real logs do to them."""

import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doctor.logs.metric_columns import ColumnReader
from doctor.logs.metric_points import MetricReader, points_in_text
from doctor.logs.metric_regions import LineEnds
from doctor.logs.metrics import METRIC_PATTERNS, metric_hits
from doctor.logs.scan import compile_patterns
from doctor.points import Points

FORMATS = tomllib.loads(Path(__file__).with_name("metric_formats.toml").read_text())
HF = "{'loss': '%s', 'grad_norm': '0.5', 'learning_rate': '1e-05', 'epoch': '%s'}\n"

Records = list[tuple[float | None, dict[str, float]]]
Read = Callable[[str], Points]


@pytest.fixture(scope="module")
def read() -> Read:
    return points_in_text


def take(reader: MetricReader, text: bytes, first_line: int) -> None:
    """Give a reader one more block."""
    columns = ColumnReader().read(text, metric_hits(text), LineEnds(text))
    assert columns is not None
    reader.take(columns, first_line)


def records(points: Points) -> Records:
    """(step, {series: value}) of each record; NaN becomes a text, so that records can be compared."""
    rows: dict[int, dict[str, float]] = {}
    for n in range(len(points)):
        rows.setdefault(int(points.record[n]), {})[points.names[points.series[n]]] = float(points.value[n])
    return [
        (_comparable(float(points.step[n])), {name: _comparable(value) for name, value in row.items()})
        for n, row in rows.items()
    ]


def _comparable(value: float) -> float | None:
    """Twelve digits, and None for NaN."""
    return None if math.isnan(value) else float(f"{value:.9g}")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read(name: str, read: Read) -> None:
    wanted = [
        (
            _comparable(row.get("step", math.nan)),
            {key: _comparable(value) for key, value in row.items() if key != "step"},
        )
        for row in FORMATS[name]["records"]
    ]
    assert records(read(FORMATS[name]["sample"])) == wanted


def test_lines_are_numbered_across_what_stands_between(read: Read) -> None:
    text = "start\n" * 900 + HF % (2.5, 0.1) + "between\n" * 2000 + HF % (2.4, 0.2)
    assert read(text).line.tolist() == [901, 2902]


def test_lines_behind_tables_keep_their_numbers(read: Read) -> None:
    table = FORMATS["model-card"]["sample"] + FORMATS["notebook-html"]["sample"]
    lines = table.splitlines()
    numbers = read(table).line.tolist()
    assert [lines[n - 1] for n in (numbers[0], numbers[-1])] == [lines[4], "step 3, loss: 1.5"]


def test_the_percent_of_a_bar_is_no_value_of_its_label(read: Read) -> None:
    bar = "val: %d%%|####    | %d/18 [00:01<00:02,  9.1it/s, loss=0.5%d]\n"
    series = {name for _, row in records(read("".join(bar % (6 * n, n, n) for n in range(9)))) for name in row}
    assert series == {"eval_loss"}


def test_a_run_that_counts_epochs_from_zero_behind_one_that_does_not(read: Read) -> None:
    row = "Epoch [%d/30]:  73%%|#####   | %d/110 [07:19<02:43, 5.44s/it, loss=0.49]\n"
    first = "".join(row % (7, n) for n in (80, 90))
    second = "".join(row % (epoch, n) for epoch in (0, 1) for n in (50, 60))
    assert [step for step, _ in records(read(first + second))] == [740, 750, 50, 60, 160, 170]


@pytest.mark.parametrize(
    "table",
    [
        "| Model | Training Loss |\n|---|---|\n| a | 1.5 |\n",
        "| Step | Training Loss |\n|---|---|\n| first | low |\n",
        "| Step | Training Loss |\nwords\n| 10 | 1.5 |\n",
        "| Step | Training Loss |\n| 10 | 1.5 | 2.5 |\n",
        "<table><tr><th>Step</th><th>Training Loss</th></tr><tr><td>10</td><td>1.5</td></tr>\n",
    ],
    ids=["no counter", "no numbers", "ended", "other columns", "cut"],
)
def test_tables_of_other_things_are_none(table: str, read: Read) -> None:
    assert records(read(table)) == []


def test_the_time_since_the_start_is_shared_by_the_steps_between(read: Read) -> None:
    text = "".join(
        f"step:{step}/90 train_loss:3.5 train_time:{time}\n"
        for step, time in (
            (10, "2000ms"),
            (20, "3000ms"),
            (20, "3000ms"),
            (40, "7.0s"),
            (10, "9s"),
            (20, "1s"),
            (30, "2s"),
        )
    )
    averaged = [(step, row["averaged_step_time"]) for step, row in records(read(text)) if "averaged_step_time" in row]
    assert averaged == [(20.0, 0.1), (40.0, 0.2), (30.0, 0.1)]


def test_the_time_since_the_start_goes_on_in_the_next_block() -> None:
    reader = MetricReader("run.log")
    for n, text in enumerate(
        (b"step:10/90 train_loss:3.5 train_time:1.0m\n", b"step:20/90 train_loss:3.4 train_time:2.0m\n")
    ):
        take(reader, text, n + 1)
    assert records(reader.points())[-1] == (20.0, {"loss": 3.4, "averaged_step_time": 6.0})


def test_blocks_are_read_like_one_text() -> None:
    texts = [f"[step={n}/90,epoch=0]\n    train/CrossEntropyLoss={5 - n / 10}\n".encode() for n in range(40)]
    whole, parts = MetricReader("run.log"), MetricReader("run.log")
    take(whole, b"".join(texts), 1)
    for n, text in enumerate(texts):
        take(parts, text, 1 + 2 * n)
    assert records(parts.points()) == records(whole.points())
    assert parts.points().line.tolist() == whole.points().line.tolist()


def test_a_header_speaks_for_lines_in_the_next_block() -> None:
    reader = MetricReader("run.log")
    for n, text in enumerate((b"[batch=7/9]:\n", b"Train loss/train/total: 3.5\n")):
        take(reader, text, n + 1)
    assert records(reader.points()) == [(7.0, {"loss": 3.5})]


def test_ranks_and_times_come_from_prefixes(read: Read) -> None:
    text = "".join(
        f"[rank{rank}]: 2025-03-0{1 + step} 10:00:00,5 step: {step}  loss: 2.{step}\n"
        for step in (1, 2)
        for rank in (0, 11)
    )
    points = read(text)
    assert points.rank.tolist() == [0, 11, 0, 11]
    assert (points.time - points.time[0]).tolist() == [0.0, 0.0, 86400.0, 86400.0]
    assert points.step.tolist() == [1.0, 1.0, 2.0, 2.0]


def test_a_resumption_is_noted_on_the_record_behind_it(read: Read) -> None:
    text = "step 1, loss: 3.0\nResuming training from checkpoint-1\nwords\nstep 2, loss: 2.9\nstep 3, loss: 2.8\n"
    assert read(text).restart.tolist() == [False, True, False]


def test_bars_dicts_and_returns_on_one_line(read: Read) -> None:
    text = (
        "\r 10%|x| 1/10 [00:01<00:09]\r 20%|x| 2/10 [00:02<00:08]"
        + (HF % (1.5, 0.1)).strip()
        + (HF % (1.25, 0.2)).strip()
        + "\r"
    )
    assert [row["loss"] for _, row in records(read(text))] == [1.5, 1.25]


@pytest.mark.parametrize(
    "text",
    [
        "print(f'step {step}, loss: {loss:.4f}')",
        "loss: info",
        "loss_scale_window=1000",
        'config: {"loss": "cross_entropy", "lr": 1e-4}',
        "the run ended in step 3 with words about loss",
        "loss = nn.CrossEntropyLoss()",
        "val losses improved",
        "train_loss_dir: 2025/run",
        "",
    ],
)
def test_words_about_metrics_are_none(text: str, read: Read) -> None:
    assert records(read(text + "\n")) == []


@pytest.mark.parametrize("value", ["nan", "NaN", "NAN", "-nan", "tensor(nan, device='cuda:0')"])
def test_nan_is_read_however_it_is_spelt(value: str, read: Read) -> None:
    assert records(read(f"step 3, loss: {value}\n")) == [(3.0, {"loss": None})]


# Where a terminal has broken the lines, it has broken the numbers, too.
WITH_LOSS = [
    name for name, one in FORMATS.items() if any(row.get("loss") for row in one["records"]) and name != "wrapped"
]


@pytest.mark.parametrize("name", WITH_LOSS)
def test_a_line_is_found_by_a_nan_as_well_as_by_a_number(name: str, read: Read) -> None:
    """Behind the first NaN no other line may be near that the scan could find."""
    losses = {row["loss"] for row in FORMATS[name]["records"] if row.get("loss")}
    number = re.compile(r"(?<![\w.])\d[\d,]*\.\d+(?:E[-+]\d+)?")
    text = number.sub(
        lambda found: "nan" if float(found[0].replace(",", "")) in losses else found[0], FORMATS[name]["sample"]
    )
    assert any(row.get("loss", 0) is None for _, row in records(read(text)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("Infinity", math.inf),
        ("1,234.5", 1234.5),
        ("-1,234", -1234.0),
        ("1,234,567", 1234567.0),
        ("1.2E+01", 12.0),
        ("3.", 3.0),
        ("+0.5", 0.5),
        ("12,", 12.0),
        ("1,23", 1.0),
        ("1234,567", 1234.0),
        ("1e-8", 1e-8),
        ("7.5s", 7.5),
    ],
)
def test_numbers_are_read_as_they_are_printed(text: str, value: float, read: Read) -> None:
    name = "throughput" if text.endswith("s") else "eval_loss"
    assert records(read(f"step 3, {name}: {text} | loss: 1.5\n")) == [(3.0, {name: value, "loss": 1.5})]


def test_half_a_date_is_no_number_and_spoils_no_other(read: Read) -> None:
    assert records(read("step 1, loss: 1.5\nloss: 2025-01-02\nstep 2, loss: 1.2.3\nstep 3, loss: 1.25\n"))[-1] == (
        3.0,
        {"loss": 1.25},
    )


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_float_survives_printing(read: Read, values: list[float]) -> None:
    text = "".join(f"step {n}, loss: {value!r}\n" for n, value in enumerate(values))
    found = read(text).value.tolist()
    assert [_comparable(one) for one in found] == [_comparable(one) for one in values]


@given(
    st.lists(st.binary(max_size=60).map(lambda raw: raw.replace(b"loss", b"").replace(b"rewa", b"")), max_size=12),
    st.integers(0, 5000),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_bytes_between_change_nothing(pieces: list[bytes], gap: int) -> None:
    lines = [(HF % (5 - n, n / 10)).encode() for n in range(4)]
    noise = [b"\n" + piece.replace(b"{", b"") + b"\n" + b"." * gap + b"\n" for piece in pieces] or [b""]
    data = b"".join(noise[n % len(noise)] + line for n, line in enumerate(lines))
    reader = MetricReader("x")
    take(reader, data, 1)
    assert [row["loss"] for _, row in records(reader.points()) if "loss" in row] == [5.0, 4.0, 3.0, 2.0]


@pytest.mark.parametrize("name", FORMATS)
def test_the_scan_finds_what_the_plain_search_finds(name: str) -> None:
    """The one database and the search in short texts must agree on where metrics are."""
    scanner = compile_patterns(METRIC_PATTERNS, METRIC_PATTERNS)
    data = FORMATS[name]["sample"].encode()
    places = {end for _, end in scanner.hits(data)}
    assert {end for _, end in metric_hits(data)} <= places | {end + 1 for end in places}


def test_a_block_among_others_is_not_mended(tmp_path: Path) -> None:
    """Its last lines come again in the next block, and must not be read twice."""
    from doctor.catalog import load
    from doctor.diagnose import diagnose_logs

    broken = "{'loss': '%.4f', 'grad_norm':\n '0.5', 'epoch': '%.4f'}\n"
    filler = "." * 300 + "\n"
    lines = [HF % (5 / (1 + n / 900), n / 900) + (broken % (5.0, 0.0) if n == 0 else filler) for n in range(14_000)]
    path = tmp_path / "run.log"
    path.write_text("".join(lines))
    report = diagnose_logs([str(path)], load())
    (loss,) = (one for one in report.traces if one["name"] == "loss")
    assert loss["points"] == 14_001


STAGED = "loss 2.5 step 1\n{first}\nloss 2.4 step 2\n{second}\nloss 4.5 step 3\n"


@pytest.mark.parametrize(
    ("first", "second", "begun"),
    [
        ("--- stage 1: sums of 1 digits ---", "--- stage 2: sums of 2 digits ---", [3.0]),
        ("2025-01-02 03:04:05,678 - INFO - Starting phase 2/3", "====== PHASE 3/3 ======", [2.0, 3.0]),
        ("[trainer] Task 2 (cifar)", "[trainer] Task 1 (mnist)", [2.0]),
        ("running DeepSpeed with ZeRO stage 2 enabled", "stage 3: loss=2.5 lr=0.1", []),
        ("srun: error: node3: task 3: Exited with exit code 1", "stage 12345", []),
    ],
)
def test_a_line_that_names_a_further_stage_begins_one(read: Read, first: str, second: str, begun: list[float]) -> None:
    points = read(STAGED.format(first=first, second=second))
    assert points.step[points.stage].tolist() == begun


def test_a_stage_may_begin_at_the_end_of_a_block() -> None:
    reader = MetricReader("run.log")
    for n, text in enumerate((b"loss 2.5 step 1\nphase 2\n", b"loss 4.5 step 2\n", b"phase 2\nloss 4.4 step 3\n")):
        take(reader, text, 2 * n + 1)
    assert reader.points().stage.tolist() == [False, True, False]
