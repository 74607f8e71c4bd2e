"""Every claim of the README that a machine can check."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from doctor.report import ExitCode

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.rst").read_text()
BLOCK = re.compile(r"^\.\. begin: (?P<command>doctor [^\n]+)\n\n(?P<body>.*?)^\.\. end$", re.M | re.S)


def printed(command: str) -> str:
    """What a command of the README prints, as a block of it."""
    arguments = command.split()[1:]
    result = subprocess.run(
        [sys.executable, "-m", "doctor", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = "".join(
        f"    {line}".rstrip() + "\n" for line in result.stdout.replace("python -m doctor", "doctor").splitlines()
    )
    return f"::\n\n{lines}\n"


@pytest.mark.parametrize("block", list(BLOCK.finditer(README)), ids=lambda block: block["command"])
def test_output_is_what_the_command_prints(block: re.Match[str]) -> None:
    """`PYTHONPATH=. python tests/test_readme.py` writes the blocks anew."""
    assert block["body"] == printed(block["command"])


def test_exit_codes_are_those_of_the_program() -> None:
    table = README.split("Exit codes\n")[1].split("What leaves")[0]
    assert [int(code) for code in re.findall(r"^(\d+) ", table, re.M)] == [code.value for code in ExitCode]


def test_commands_name_the_tested_torch() -> None:
    commands = re.findall(r"^    (python3 -m venv .+)$", README, re.M)
    assert len(commands) == 2
    assert all("pip install torch==2.13.0 " in command for command in commands)


def test_files_that_the_readme_names_exist() -> None:
    for path in re.findall(r"(?:fixtures|tests|signatures|doctor)/[\w./-]+\.\w+", README):
        assert (ROOT / path).exists(), path


if __name__ == "__main__":
    text = BLOCK.sub(lambda block: f".. begin: {block['command']}\n\n{printed(block['command'])}.. end", README)
    (ROOT / "README.rst").write_text(text)
