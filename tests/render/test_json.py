"""The promise of doctor.report/1."""

import json
from collections.abc import Callable

import pytest

from doctor.finding import Key, Steps, Tensor
from doctor.render.json import _place, render
from doctor.report import Report

KEYS = ["schema", "doctor", "subject", "verdict", "findings", "traces", "facts", "groups", "plan", "written", "skipped"]
FINDING_KEYS = [
    "id", "title", "severity", "confidence", "role", "explained_by", "count", "ranks", "place", "evidence", "cause", "fix", "config",
    "captures", "references", "fingerprint",
]  # fmt: skip
PLACE_KEYS = ["path", "first_line", "last_line", "rank", "host", "time", "step", "tensor"]


def test_report(found: Report, golden: Callable[[str, str], None]) -> None:
    golden("report_found.json", render(found))


@pytest.mark.parametrize("kind", ["found", "undecided", "clean"])
def test_every_key_is_always_there(kind: str, request: pytest.FixtureRequest) -> None:
    table = json.loads(render(request.getfixturevalue(kind)))
    assert list(table) == KEYS
    assert all(list(finding) == FINDING_KEYS and list(finding["place"]) == PLACE_KEYS for finding in table["findings"])


@pytest.mark.parametrize("place", [Steps("a", "loss", 3, 4), Tensor("a", "w"), Key("a", "lr", 7), Key("a", "lr")])
def test_places_of_all_kinds_have_the_same_keys(place: Steps | Tensor | Key) -> None:
    assert list(_place(place)) == PLACE_KEYS
