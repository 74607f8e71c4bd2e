"""The arithmetic of the accuracy benchmark: what counts as right, for doctor and for the tools beside it."""

import subprocess
import sys
from fnmatch import filter as matching
from pathlib import Path

import pytest

from doctor.catalog import Catalog

FOLDER = Path(__file__).parent / "benchmarks"
sys.path.append(str(FOLDER))

from accuracy import Answer, Case, Row, confusion, confusion_lines, failing_cases, root_lines  # noqa: E402
from peers import Peer, line, peers, score_doctor, score_peer  # noqa: E402


def case(name: str, root: str, split: str = "dev", *alternatives: str) -> Case:
    return Case(name, Path(name), split, root, alternatives=frozenset(alternatives))


CASES = [
    case("1", "a/one"),
    case("2", "a/one"),
    case("3", "b/two"),
    case("4", "b/two", "blind-1", "b/near"),
    case("5", "undecided", "blind-1"),
]
ANSWERS = {
    "1": Answer("a/one"),
    "2": Answer("b/two", frozenset({"a/one", "b/two"})),
    "3": Answer("clean"),
    "4": Answer("b/near"),
    "5": Answer("undecided"),
}


def test_every_failing_fixture_is_a_case(fixture_logs: Path) -> None:
    assert {one.name for one in failing_cases()} == {path.stem for path in (fixture_logs / "failing").iterdir()}


def test_rows_tell_what_was_said_instead_and_in_vain() -> None:
    assert confusion((one.root, ANSWERS[one.name].first) for one in CASES) == [
        Row("a/one", 2, 1, 0, (("b/two", 1),)),
        Row("b/near", 0, 0, 1, ()),
        Row("b/two", 2, 0, 1, (("b/near", 1), ("clean", 1))),
        Row("clean", 0, 0, 1, ()),
    ]


def test_splits_that_are_not_shown_count_in_the_total_only() -> None:
    lines = [" ".join(line.split()) for line in confusion_lines(CASES, ANSWERS, {"dev"})]
    assert lines[1:] == [
        "a/one 2 1 0",
        "said instead: b/two 1",
        "b/two 1 0 1",
        "said instead: clean 1",
        "clean 0 0 1",
        "all 5 2 3",
        "of these in other splits: 1",
    ]


def test_alternatives_are_counted_beside_the_strict_figure() -> None:
    assert list(root_lines(CASES, ANSWERS)) == [
        "root@1 blind-1   1/2 = 0.500, with alternatives 2/2 = 1.000",
        "root@1 dev       1/3 = 0.333",
        "root@1 all       2/5 = 0.400, with alternatives 3/5 = 0.600",
    ]


PEER = Peer(
    "p", "peer", {"one*": ("a/*", "~b/near"), "gone": ("c/gone",), "failed": ("unknown/exception",)}, ("failed",)
)


def test_a_peer_is_held_to_what_it_claims() -> None:
    said = {"1": ["one of a"], "2": ["failed", "one"], "3": ["gone"], "4": ["failed"], "5": []}
    score = score_peer(PEER, CASES, said, [["one"], ["failed"], []])
    assert (score.covered, score.first, score.named) == (2, 1, 2)
    assert (score.others, score.beyond, score.alarms) == (3, 1, 1)


def test_what_is_granted_is_right_without_being_claimed() -> None:
    near = [case("1", "b/near")]
    score = score_peer(PEER, near, {"1": ["one"]}, [])
    assert (score.covered, score.others, score.beyond) == (0, 1, 0)


def test_doctor_is_measured_at_the_level_of_the_peer() -> None:
    answers = ANSWERS | {"1": Answer("a/other"), "3": Answer("c/gone")}
    score = score_doctor(PEER, CASES, answers, [Answer("clean"), Answer("clean", loud=("a/one",))])
    assert (score.covered, score.first, score.named) == (2, 1, 2)
    assert (score.others, score.beyond, score.alarms) == (3, 1, 1)


def test_the_peers_are_mapped_to_ids_that_exist(bundled: Catalog) -> None:
    ids = [*bundled.files, "undecided", "unknown/exception"]
    for peer in peers()[0]:
        patterns = {one.removeprefix("~") for ids in peer.categories.values() for one in ids}
        assert [one for one in sorted(patterns) if not matching(ids, one)] == [], peer.name
        assert len(line(peer.title, score_peer(peer, [], {}, []), 99, 99.9)) <= 80


def test_the_command_prints_what_fits_a_terminal(root: Path) -> None:
    command = [sys.executable, str(FOLDER / "accuracy.py"), "--split", "fresh"]
    printed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    assert printed[0].startswith("root@1 fresh ")
    assert max(map(len, printed)) <= 80


@pytest.mark.parametrize("split", ["dev", "fresh"])
def test_fixtures_have_these_splits(split: str) -> None:
    assert any(one.split == split for one in failing_cases())
