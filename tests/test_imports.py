"""What a call loads: a log is diagnosed without torch and pandas."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "pandas", "numpy", "safetensors"}


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["logs", "fixtures/logs/failing/ddp-marked-ready-twice.log"], []),
        (["logs", "fixtures/logs/failing/trainer-loss-nan.log"], ["numpy"]),
        (["explain", "ddp/marked-ready-twice"], []),
        (["--help"], []),
    ],
)
def test_only_what_is_needed_is_loaded(arguments: list[str], heavy: list[str], root: Path) -> None:
    code = f"""
import sys
sys.argv = ["doctor", *{arguments!r}]
from doctor.cli import main
try:
    main()
except SystemExit:
    pass
print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stderr.splitlines()[-1] == str(heavy)
