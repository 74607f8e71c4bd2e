"""The whole flow on real logs: the example to get right, and facts that choose among causes."""

from pathlib import Path

import pytest

from doctor.catalog import Catalog
from doctor.diagnose import diagnose_logs

ERROR = (
    "RuntimeError: Expected to mark a variable ready only once. This error is caused by one of the following reasons\n"
)
OFFLOADING = "activation_offloading: true\n"
REENTRANT = "use_reentrant: true\n"


def cause(text: str, tmp_path: Path, catalog: Catalog) -> str:
    log = tmp_path / "run.log"
    log.write_text(text)
    return diagnose_logs([str(log)], catalog).findings[0].cause


@pytest.mark.parametrize(
    ("facts", "words", "not_words"),
    [
        (OFFLOADING, "find_unused_parameters", "Possible causes"),
        (REENTRANT, "eentrant", "Possible causes"),
    ],
)
def test_known_facts_choose_one_cause(facts: str, words: str, not_words: str, tmp_path: Path, bundled: Catalog) -> None:
    said = cause(facts + ERROR, tmp_path, bundled)
    assert words in said and not_words not in said


def test_unknown_facts_leave_both_causes_possible(tmp_path: Path, bundled: Catalog) -> None:
    said = cause(ERROR, tmp_path, bundled)
    assert said.startswith("Possible causes; the input does not decide:")
    assert "if activation_offloading = true" in said
    assert "use_reentrant = true" in said


def test_a_report_counts_bytes_lines_and_signatures(fixture_logs: Path, bundled: Catalog) -> None:
    log = fixture_logs / "failing" / "autograd-no-grad-fn.log"
    report = diagnose_logs([str(log)], bundled)
    assert (report.subject.size, report.subject.lines) == (log.stat().st_size, len(log.read_bytes().splitlines()))
    assert report.signatures == len(bundled)
