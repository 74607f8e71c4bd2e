"""Real traces: every sick one is found for what it is, and no healthy one raises an alarm."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from doctor.signature import Signature
from doctor.traces.match import find

ROOT = Path(__file__).parents[2]
CASES = tomllib.loads((ROOT / "fixtures" / "make" / "traces" / "cases.toml").read_text())
# What a perfect reader sees in a trace and doctor does not.
KNOWN_MISSES = {"others-both-ways": "its evaluation loss, 0.5, is not below what any data allow"}


@pytest.mark.parametrize("name", [name for name, row in CASES.items() if row["expected"]])
def test_a_sick_trace_is_found(
    name: str, trace: Callable[[str], Any], signatures: list[Signature], request: pytest.FixtureRequest
) -> None:
    if name in KNOWN_MISSES:
        request.applymarker(pytest.mark.xfail(reason=KNOWN_MISSES[name], strict=True))
    one = trace(name)
    found = find(one.sources, signatures, one.facts).findings
    assert set(CASES[name]["expected"]) <= {finding.id for finding in found if finding.explained_by is None}


@pytest.mark.parametrize("name", [name for name, row in CASES.items() if not row["expected"]])
def test_a_healthy_trace_is_silent(name: str, trace: Callable[[str], Any], signatures: list[Signature]) -> None:
    one = trace(name)
    assert find(one.sources, signatures, one.facts).findings == ()
