"""What a person sees."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from doctor.render.terminal import render
from doctor.report import Report

ESCAPE = "\x1b"


@pytest.mark.parametrize("kind", ["found", "undecided", "clean"])
def test_report_at_80_columns(kind: str, request: pytest.FixtureRequest, golden: Callable[[str, str], None]) -> None:
    text = render(request.getfixturevalue(kind))
    golden(f"report_{kind}.txt", text)
    assert max(map(len, text.splitlines())) <= 80
    assert ESCAPE not in text


def test_colour_only_when_asked_for(found: Report) -> None:
    assert ESCAPE in render(found, colour=True)


@pytest.mark.parametrize("width", [1, 40, 79, 100, 500])
def test_any_width_is_borne(found: Report, width: int) -> None:
    lines = [line for line in render(found, width).splitlines() if not line.startswith("See ")]
    assert max(map(len, lines)) <= min(max(width, 40), 100)


def test_what_is_there_to_be_pasted_is_never_wrapped(found: Report) -> None:
    snippet = "lora_target_modules: '" + "x" * 120 + "'"
    root = replace(found.findings[0], config=snippet)
    assert f"         {snippet}\n" in render(replace(found, findings=(root,)), 60)


def test_a_report_that_is_not_redacted_says_so(clean: Report) -> None:
    assert "NOT REDACTED" in render(clean)
