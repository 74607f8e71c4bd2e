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


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


CLEAN = "No signature matches, and no failure is left unexplained."
BLIND = f"{CLEAN} No metric was recognised, so how training went was not judged."
COUNTING = "".join(f"Epoch {n}: zork 0.5\n" for n in range(1, 9))


def test_tables_are_counted_among_what_was_read(tmp_path: Path, bundled: Catalog) -> None:
    table = written(tmp_path, "metrics.csv", "step,loss\n10,2.5\n20,2.25\n")
    report = diagnose_logs([table], bundled)
    assert (report.subject.paths, report.subject.size, report.subject.lines) == ((table,), 25, 0)
    assert report.verdict.summary == "Nothing in these metrics is known to go wrong."
    log = written(tmp_path, "run.log", "words\n")
    report = diagnose_logs([log, table], bundled)
    assert (report.subject.paths, report.subject.size, report.subject.lines) == ((log, table), 31, 1)
    assert report.verdict.summary == CLEAN


@pytest.mark.parametrize(
    ("name", "text", "state", "summary", "why"),
    [
        ("a.csv", "epoch,foo,bar\n0,1.5,x\n", "clean", BLIND, "no metric was recognised: columns foo"),
        ("a.jsonl", '{"zork": 1.5, "text": "loss"}\n' * 9, "undecided", None, "no metric was recognised: columns zork"),
        ("a.log", COUNTING, "clean", BLIND, "no metric was recognised, though its lines count steps or epochs"),
    ],
)
def test_what_holds_no_known_metric_is_told(
    name: str, text: str, state: str, summary: str | None, why: str, tmp_path: Path, bundled: Catalog
) -> None:
    path = written(tmp_path, name, text)
    report = diagnose_logs([path], bundled)
    assert report.skipped == (("trace/*", f"{path}: {why}"),)
    assert report.verdict.state.value == state
    assert report.verdict.summary == (summary or "No metric was recognised, so nothing was judged.")


def test_logs_beside_one_with_metrics_and_plain_ones_are_not_told_of(tmp_path: Path, bundled: Catalog) -> None:
    counting, metrics = written(tmp_path, "a.log", COUNTING), written(tmp_path, "b.log", "step 10, loss: 2.5\n")
    assert all(id != "trace/*" for id, _ in diagnose_logs([counting, metrics], bundled).skipped)
    report = diagnose_logs([written(tmp_path, "c.log", "RuntimeError: words\n" * 9)], bundled)
    assert report.skipped == ()


@pytest.mark.parametrize("heading", ["Validation | 3 ", "epoch,loss\n", "Eval metrics : ", "Phase 2 "])
def test_headings_do_not_show_that_training_goes_on(heading: str, tmp_path: Path, bundled: Catalog) -> None:
    training, error = "step 1, loss: 2.5\n" * 3, "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
    path = written(tmp_path, "run.log", f"{training}{error}{heading}\n{heading}\n{heading}\n")
    assert diagnose_logs([path], bundled).findings[0].severity.value == "error"
