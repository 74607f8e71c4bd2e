"""``doctor config`` as a person calls it, and the configuration that a log prints."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from doctor.cli import doctor
from doctor.errors import ConfigError

SICK = "fixtures/config/gemma4-26b-lora-linear.yaml"
HEALTHY = "fixtures/config/gemma4-26b-ddp.yaml"


@pytest.fixture(autouse=True)
def in_checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(doctor, list(arguments))


def test_a_sick_configuration_is_named_with_file_line_and_fix() -> None:
    result = call("config", SICK)
    assert result.exit_code == 1
    assert "vlm/lora-linear-hits-encoders" in result.output
    line = next(n for n, text in enumerate(Path(SICK).read_text().splitlines(), 1) if "lora_target_linear" in text)
    assert f"line {line}, lora_target_linear" in result.output


def test_a_healthy_one_is_clean() -> None:
    result = call("config", HEALTHY)
    assert (result.exit_code, result.output.splitlines()[:2]) == (
        0,
        ["CLEAN", "Nothing in this configuration is known to go wrong."],
    )


def test_json_names_the_kind_and_the_key() -> None:
    table = json.loads(call("config", SICK, "--format", "json").output)
    assert table["subject"]["kind"] == "config"
    assert table["verdict"]["root"] == table["findings"][0]["id"]


def test_a_patched_file_is_clean(tmp_path: Path) -> None:
    patched = call("config", SICK, "--patch")
    assert patched.exit_code == 1
    target = tmp_path / "run.yaml"
    target.write_text(patched.stdout)
    assert "vlm/lora-linear-hits-encoders" not in call("config", str(target)).output


def test_the_same_rules_hold_for_a_log() -> None:
    output = call("logs", "fixtures/config/resolved.log").output
    assert "vlm/gemma4-freeze-mm-modules" in output


@pytest.mark.parametrize("text", ["a: [1\n", "a: 1\na: 2\n", "just words\n", "\x00\x01\x02"])
def test_what_is_no_configuration_is_one_clear_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    result = call("config", str(path))
    assert isinstance(result.exception, ConfigError)
    assert str(path) in str(result.exception) and "\n" not in str(result.exception)
