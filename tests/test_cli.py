"""The command as a person calls it: output, exit codes, streams."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from doctor.cli import doctor

FAILING = "fixtures/logs/failing/ddp-marked-ready-twice.log"
HEALTHY = "fixtures/logs/healthy/ok-trainer.log"
COMMAND = [sys.executable, "-m", "doctor"]


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


@pytest.fixture(autouse=True)
def in_checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("PYTHONPATH", str(root))


def test_a_failing_log_exits_with_1_and_names_the_root() -> None:
    result = run("logs", FAILING)
    assert result.returncode == 1
    assert result.stdout.startswith("FOUND  error ddp/marked-ready-twice")
    assert result.stderr == ""


def test_a_healthy_log_exits_with_0() -> None:
    result = run("logs", HEALTHY)
    assert (result.returncode, result.stdout.splitlines()[0], result.stderr) == (0, "CLEAN", "")


def test_fail_on_error_passes_warnings(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("UserWarning: Using a target size (torch.Size([8])): incorrect results due to broadcasting.\n")
    assert run("logs", str(log)).returncode == 1
    assert run("logs", str(log), "--fail-on", "error").returncode == 0


def test_bad_usage_exits_with_2() -> None:
    result = run("logs", "--fromat", "json", FAILING)
    assert result.returncode == 2
    assert "Did you mean" in result.stderr or "No such option" in result.stderr


@pytest.mark.parametrize(
    ("path", "words"),
    [("no-such.log", "no such file or folder"), ("fixtures/make/cases", "no logs in this folder")],
)
def test_what_can_not_be_read_exits_with_3_and_one_line(path: str, words: str) -> None:
    result = run("logs", path)
    assert (result.returncode, result.stdout) == (3, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("doctor: ")


def test_standard_input(root: Path) -> None:
    result = run("logs", "-", input=(root / FAILING).read_text())
    assert result.returncode == 1
    assert "ddp/marked-ready-twice" in result.stdout


def test_several_files_are_one_case() -> None:
    table = json.loads(run("logs", FAILING, HEALTHY, "--format", "json").stdout)
    assert table["subject"]["paths"] == [FAILING, HEALTHY]


def test_output_goes_to_a_file(tmp_path: Path) -> None:
    target = tmp_path / "report.md"
    result = run("logs", FAILING, "--format", "markdown", "--output", str(target))
    assert (result.returncode, result.stdout) == (1, "")
    assert target.read_text().startswith("### doctor: found: `ddp/marked-ready-twice`")


def test_output_that_can_not_be_written_exits_with_3(tmp_path: Path) -> None:
    result = run("logs", FAILING, "--output", str(tmp_path / "no" / "report.txt"))
    assert result.returncode == 3
    assert "can't be written" in result.stderr


def test_no_redact_says_so(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB on node at /home/maria/x/y.py\n")
    assert "/home/maria" not in run("logs", str(log)).stdout
    shown = run("logs", str(log), "--no-redact").stdout
    assert "/home/maria" in shown and "NOT REDACTED" in shown


def test_piped_output_is_plain() -> None:
    assert "\x1b" not in run("logs", FAILING, env=os.environ | {"TERM": "xterm-256color", "FORCE_COLOR": "1"}).stdout


def on_terminal(*arguments: str, **environment: str) -> str:
    """What doctor prints when its output is a terminal."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen([*COMMAND, *arguments], stdout=secondary, stderr=secondary, env=os.environ | environment)
    os.close(secondary)
    read = b""
    while True:
        try:
            piece = os.read(primary, 65536)
        except OSError:
            break
        if not piece:
            break
        read += piece
    process.wait()
    os.close(primary)
    return read.decode()


def test_a_terminal_gets_colour() -> None:
    assert "\x1b[" in on_terminal("logs", FAILING, TERM="xterm-256color", NO_COLOR="")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb", "NO_COLOR": ""}])
def test_no_colour_where_it_is_not_wanted(environment: dict[str, str]) -> None:
    assert "\x1b[3" not in on_terminal("logs", FAILING, **environment)


def test_a_broken_pipe_is_silent() -> None:
    command = f"{' '.join(COMMAND)} signatures list | head -n 1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 1


def test_interrupted_exits_with_130(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen([*COMMAND, "logs", str(pipe)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with open(pipe, "w") as writer:  # opens once doctor reads
        writer.write("a line\n")
        writer.flush()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.strip()) == (130, "", "")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(doctor, list(arguments))


def test_list_shows_every_signature(bundled: object) -> None:
    lines = call("signatures", "list").output.splitlines()
    assert len(lines) == len(bundled)  # type: ignore[arg-type]
    assert any(line.startswith("ddp/marked-ready-twice ") for line in lines)


def test_explain_prints_one_in_full() -> None:
    output = call("explain", "fsdp/wrap-class-not-found").output
    assert "Why  " in output and "Fix  " in output and "Matches" in output


def test_explain_names_the_nearest_id() -> None:
    result = run("explain", "ddp/marked-redy-twice")
    assert result.returncode == 3
    assert result.stderr == 'doctor: ddp/marked-redy-twice: no such signature; did you mean "ddp/marked-ready-twice"?\n'


SIGNATURE = (Path(__file__).parent / "own_signature.toml").read_text()


def test_signatures_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "index-gone.toml").write_text(SIGNATURE)
    log = tmp_path / "run.log"
    log.write_text("RuntimeError: loader index is gone\n")
    assert run("logs", str(log), "--signatures", str(tmp_path)).stdout.startswith("FOUND  error ours/index-gone")
    assert run("signatures", "check", str(tmp_path)).stdout == "1 signatures, 0 faults\n"


def test_check_names_file_key_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "index-gone.toml").write_text(SIGNATURE.replace("is there", "is gone again"))
    result = run("signatures", "check", str(tmp_path))
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "ours/index-gone.toml: miss[1]: matches, but must not: healthy",
        "1 signatures, 1 faults",
    ]


def test_check_says_what_could_be_better_and_what_logs_each_is_found_in(tmp_path: Path) -> None:
    for name, pattern in {"index-gone": "loader index is gone", "any-gone": "loader (?!shard)index is gone"}.items():
        text = SIGNATURE.replace("loader index is gone", pattern, 1).replace(
            "[text]", 'overlaps = ["ours/*"]\n[text]', 1
        )
        text = text.replace("ours/*", "ours/any-gone" if name == "index-gone" else "ours/index-gone")
        (tmp_path / "mine" / "ours").mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / "ours" / f"{name}.toml").write_text(text)
    (tmp_path / "mine" / "ours" / "never.toml").write_text(SIGNATURE.replace("index", "shard"))
    for name, text in {"a.log": "RuntimeError: loader index is gone\n" * 3, "b.log": "step 1\n"}.items():
        (tmp_path / "logs").mkdir(exist_ok=True)
        (tmp_path / "logs" / name).write_text(text)
    result = run("signatures", "check", str(tmp_path / "mine"), "--logs", str(tmp_path / "logs"))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "note: ours/any-gone.toml: shadowed: ours/index-gone fires on all of its samples too, and is not explained by it",
        "note: ours/any-gone.toml: text.any[1]: Hyperscan takes it only through a prefilter, which costs speed",
        "note: ours/index-gone.toml: shadowed: ours/any-gone fires on all of its samples too, and is not explained by it",
        "   1  ours/any-gone",
        "   1  ours/index-gone",
        "   0  ours/never",
        "found in 2 logs: 2 of 3 signatures",
        "3 signatures, 0 faults",
    ]


def test_a_faulty_signature_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "index-gone.toml").write_text(SIGNATURE.replace("severity", "severty"))
    result = run("logs", HEALTHY, "--signatures", str(tmp_path))
    assert result.returncode == 3
    assert result.stderr == 'doctor: ours/index-gone.toml: severity: missing; is it misspelt as "severty"?\n'
