"""What a ticket shows: short, and nothing of the log is markup."""

from collections.abc import Callable
from dataclasses import replace

from doctor.render.markdown import LONGEST, fenced, render
from doctor.report import Report


def test_report(found: Report, golden: Callable[[str, str], None]) -> None:
    golden("report_found.md", render(found))


def test_log_text_is_no_markup(found: Report) -> None:
    evil = "<img src=x onerror=alert(1)> [a](javascript:x) @everyone #1 ``` | **b** \x1b[31m\u202e"
    finding = replace(found.findings[0], title=evil, evidence=(evil,), cause=evil)
    text = render(replace(found, findings=(finding,), verdict=replace(found.verdict, summary=evil)))
    outside = "".join(text.split("````")[::2])
    assert "<img" not in outside
    assert "](javascript" not in outside
    assert "\x1b" not in text and "\u202e" not in text


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    assert fenced("a ```` b").startswith("`````\n")


def test_it_stays_below_what_a_tracker_takes(found: Report) -> None:
    many = tuple(
        replace(found.findings[0], id=f"a/{n}", evidence=("x" * 5000,) * 3, cause="y" * 500) for n in range(400)
    )
    text = render(replace(found, findings=many, verdict=replace(found.verdict, root=None)))
    assert len(text) < LONGEST
    assert "Cut here" in text
