"""A run's folder: which files hold metrics, and which of several sources counts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from doctor.errors import LogError
from doctor.points import Points, points_of_rows
from doctor.traces.run_folder import best_sources, kind_of, metric_files, read_metric_file, read_metric_files

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("trainer_state.json", '{"best": null, "log_history": []}', "trainer-state"),
        ("training_logs.json", '{"log_history": [{"loss": 1}]}', "trainer-state"),
        ("golden.json", '{"lm loss": {"start_step": 1, "values": {"1": 2}}}', "golden-values"),
        ("metrics.csv", "epoch,step,train_loss\n", "csv"),
        ("history.csv", "epoch,train_ppl,valid_ppl\n", "csv"),
        ("prices.csv", "day,price\n", None),
        ("trainer_log.jsonl", '{"current_steps": 1, "loss": 2.0}\n', "json-lines"),
        ("logging.jsonl", '{"loss": 2.0}\n{"best": 1, "log_history": [{"loss": 2.0}]}\n', "json-lines"),
        ("trainer_state.json", '{"log_history": [{"loss": 2.0}]}\n', "trainer-state"),
        ("data.jsonl", '{"text": "words"}\n', None),
        ("config.json", '{\n  "vocab_size": 3\n}', None),
        ("run.wandb", ":W&B\xe1", "wandb"),
        ("pointer.json", "version https://git-lfs.github.com/spec/v1\n", None),
        ("empty.json", "", None),
    ],
)
def test_files_are_known_by_what_is_in_them(name: str, text: str, kind: str | None, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, "latin-1")
    assert kind_of(path) == kind


def test_only_the_last_checkpoint_counts(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        folder = tmp_path / "out" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": [{"step": step, "loss": 1.0}]}))
    assert [path.parent.name for path in metric_files(tmp_path)] == ["checkpoint-100"]


def test_a_real_folder_prefers_the_history_to_the_console(read: Callable[[str], Points], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(TRACES / "trainer5-healthy-saved", folder)
    files = [read_metric_file(path) for path in metric_files(folder)]
    sources = best_sources(files, [read((folder / "console.log").read_text())])
    assert [Path(one.path).name for one in sources if (one.series == one.names.index("loss")).any()] == [
        "trainer_state.json"
    ]


def rows(values: list[float], path: str) -> Points:
    return points_of_rows(path, [{"loss": value} for value in values], [float(n) for n in range(len(values))])


def test_a_console_that_goes_on_behind_the_checkpoint_keeps_its_own(tmp_path: Path) -> None:
    state = tmp_path / "trainer_state.json"
    state.write_text('{"log_history": []}')
    short, long = rows([3.0, 2.5, 2.0], str(state)), rows([3.001, 2.5, 2.0, 1.5, float("nan")], "run.log")
    assert [one.path for one in best_sources([short], [long])] == ["run.log"]
    assert [one.path for one in best_sources([short], [rows([3.001, 2.5, 2.0], "run.log")])] == [str(state)]


def test_a_broken_file_spoils_no_folder(tmp_path: Path) -> None:
    good, broken = tmp_path / "log.jsonl", tmp_path / "trainer_state.json"
    good.write_text('{"step": 1, "loss": 2.0}\n')
    broken.write_text('{"log_history": [')
    (points,), ((rules, why),) = read_metric_files([broken, good], [str(tmp_path)], alone=True)
    assert (points.path, rules) == (str(good), "trace/*")
    assert why.startswith(f"{broken}: can't be read as JSON")
    assert read_metric_files([broken], [str(tmp_path)], alone=False)[0] == []
    for named, alone in (([str(broken)], False), ([str(tmp_path)], True)):
        with pytest.raises(LogError, match="can't be read as JSON"):
            read_metric_files([broken], named, alone)


def test_another_run_is_no_copy(tmp_path: Path) -> None:
    state = tmp_path / "trainer_state.json"
    state.write_text('{"log_history": []}')
    sources = best_sources([rows([3.0, 2.5, 2.0], str(state))], [rows([9.0, 8.0, 7.0], "run.log")])
    assert [one.path for one in sources] == [str(state), "run.log"]


def test_a_file_without_metrics_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(LogError, match=r"notes\.json: no metrics in it that doctor can read"):
        read_metric_file(tmp_path / "notes.json")
