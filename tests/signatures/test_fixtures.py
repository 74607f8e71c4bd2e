"""Real logs: every failing one gets its root, every healthy one stays silent."""

import tomllib
from pathlib import Path

import pytest

from doctor.catalog import Catalog
from doctor.diagnose import diagnose_logs
from doctor.finding import Severity
from doctor.rootcause import State

FIXTURES = Path(__file__).parents[2] / "fixtures"
LOGS = FIXTURES / "logs"
EXPECTED = tomllib.loads((LOGS / "expected.toml").read_text())


CASES = tomllib.loads((FIXTURES / "make" / "cases.toml").read_text())["failing"]


def paths(kind: str) -> list[Path]:
    return sorted((LOGS / kind).iterdir())


def failing(*keys: str) -> list[Path]:
    """The failing logs of the dev split that have these keys in expected.toml; the others are for the benchmark alone."""
    return [
        path
        for path in paths("failing")
        if CASES.get(path.stem, {}).get("split", "dev") == "dev" and set(keys) <= EXPECTED[path.stem].keys()
    ]


@pytest.mark.parametrize("path", failing(), ids=lambda path: path.stem)
def test_the_verdict(path: Path, bundled: Catalog) -> None:
    expected = EXPECTED[path.stem]
    verdict = diagnose_logs([str(path)], bundled).verdict
    assert (verdict.root or verdict.state.value) == (expected.get("root") or expected["state"])


@pytest.mark.parametrize("path", failing("root", "rank"), ids=lambda path: path.stem)
def test_the_rank_that_failed_first(path: Path, bundled: Catalog) -> None:
    report = diagnose_logs([str(path)], bundled)
    root = next(finding for finding in report.findings if finding.id == report.verdict.root)
    assert EXPECTED[path.stem]["rank"] in (*root.ranks, report.facts.get("failed.rank"))


@pytest.mark.parametrize("path", paths("healthy"), ids=lambda path: path.stem)
def test_healthy(path: Path, bundled: Catalog) -> None:
    report = diagnose_logs([str(path)], bundled)
    loud = [finding.id for finding in report.findings if finding.severity is not Severity.NOTE]
    assert (report.verdict.state, loud) == (State.CLEAN, [])


def test_there_are_enough_of_them() -> None:
    assert len(paths("failing")) >= 85
    assert len(paths("healthy")) >= 30
