"""Phrases: files are named only where there are several, and many rules by their number."""

from dataclasses import replace

import pytest

from doctor.finding import Finding, Severity, Steps
from doctor.render.words import evidence, not_looked_at, split, told_briefly
from doctor.report import Report, Subject

SKIPPED = (
    ("trace/a, trace/b, trace/c", "run.log: loss: 8 points; 20 are needed"),
    ("trace/d, trace/e", "run.log: lr: 8"),
)


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (("run.log",), ["3 rules: loss: 8 points; 20 are needed", "trace/d, trace/e: lr: 8"]),
        (
            ("run.log", "b.log"),
            ["3 rules: run.log: loss: 8 points; 20 are needed", "trace/d, trace/e: run.log: lr: 8"],
        ),
    ],
)
def test_what_was_not_looked_at(found: Report, paths: tuple[str, ...], said: list[str]) -> None:
    assert not_looked_at(replace(found, subject=Subject("logs", paths), skipped=SKIPPED)) == said


def test_runs_that_were_too_short_alike_are_told_once(found: Report) -> None:
    runs = tuple(("trace/d", f"run.log: lr: {points} points; 20 are needed") for points in (5, 12, 7))
    skipped = (*runs, ("trace/e", "run.log: lr: 5 points; 20 are needed"))
    said = not_looked_at(replace(found, subject=Subject("logs", ("run.log",)), skipped=skipped))
    assert said == [
        "trace/d: lr: 5 points; 20 are needed (and 2 more like it)",
        "trace/e: lr: 5 points; 20 are needed",
    ]


def test_the_lines_of_points(found: Report) -> None:
    finding = replace(
        found.findings[1], place=Steps("run.log", "loss", 7, 7, 0), evidence=("step 7: loss 9.1  (run.log:40)",)
    )
    assert evidence(finding, found) == ["step 7: loss 9.1  (line 40)"]
    several = replace(found, subject=Subject("logs", ("run.log", "b.log")))
    assert evidence(finding, several) == ["step 7: loss 9.1  (run.log:40)"]


def test_what_several_runs_have_is_told_once(found: Report) -> None:
    def of(id: str, run: int) -> Finding:
        place = Steps("run.log", "loss", run * 10, run * 10, run)
        return replace(found.findings[1], id=id, place=place, severity=Severity.NOTE, explained_by=None)

    findings = (found.findings[0], *(of("trace/a", run) for run in (1, 2, 3)), of("trace/b", 2))
    report = replace(found, subject=Subject("logs", ("run.log",)), findings=findings)
    _, brief, _ = split(report)
    said = [told_briefly(finding, more, report) for finding, more in brief]
    assert [finding.id for finding, _ in brief] == ["trace/a", "trace/b"]
    assert said == ["loss, step 10, and in 2 more runs", "loss, step 20"]
