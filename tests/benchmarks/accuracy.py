"""How often doctor names the right root: python tests/benchmarks/accuracy.py [--split NAME] [--peers FOLDER] [-v]

Over all log fixtures: root@1 (the verdict's root, or its state where nothing in the log is the cause), what was said
instead, the precision of echoes (findings of the catalogue's echo ids that are really in the log), and false alarms on
healthy logs. Logs of other splits than dev are never looked at while signatures are written: they count in the totals, and
their ids are shown only where --split names them. A case may have alternatives, ids that a good reader may name as well.

--peers FOLDER asks other tools too. Their virtual environment is made in FOLDER; peers.toml says which, and how compared.
"""

import argparse
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from doctor import catalog
from doctor.diagnose import diagnose_logs
from doctor.finding import Severity
from doctor.report import Report

FIXTURES = Path(__file__).parents[2] / "fixtures"
LOGS = FIXTURES / "logs"
SPLITS = ("dev", "held-out", "fresh")


@dataclass(frozen=True, slots=True)
class Case:
    """A failing log and what a perfect reader says of it."""

    name: str
    path: Path
    split: str
    root: str
    echoes: frozenset[str] = frozenset()
    alternatives: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one log: ``first`` is the root, or the state; ``named`` all ids, ``loud`` those that are no notes."""

    first: str
    named: frozenset[str] = frozenset()
    loud: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one id as a root. ``instead`` counts what was said where it was expected; it was said ``in_vain`` so
    often where another was expected."""

    id: str
    expected: int
    hit: int
    in_vain: int
    instead: tuple[tuple[str, int], ...]


def failing_cases() -> list[Case]:
    """The cases of expected.toml whose log is there, with the split that cases.toml gives them."""
    expected = tomllib.loads((LOGS / "expected.toml").read_text())
    made = tomllib.loads((FIXTURES / "make" / "cases.toml").read_text())["failing"]
    paths = {path.stem: path for path in (LOGS / "failing").iterdir()}
    return [
        Case(
            name,
            paths[name],
            made.get(name, {}).get("split") or row.get("split", "dev"),
            row.get("root") or row["state"],
            frozenset(row.get("echoes", ())),
            frozenset(row.get("alternatives", ())),
        )
        for name, row in expected.items()
        if name in paths
    ]


def answer(report: Report) -> Answer:
    """What a report says: the root that it names, or its state."""
    findings = report.findings
    return Answer(
        report.verdict.root or report.verdict.state.value,
        frozenset(one.id for one in findings),
        tuple(one.id for one in findings if one.severity is not Severity.NOTE),
    )


def confusion(pairs: Iterable[tuple[str, str]]) -> list[Row]:
    """The ids that were missed, or said in vain, of (expected, said)."""
    counts = Counter(pairs)
    ids = sorted({id for pair in counts for id in pair})
    rows = [_row(id, counts) for id in ids]
    return [row for row in rows if row.in_vain or row.instead]


def _row(id: str, counts: Counter[tuple[str, str]]) -> Row:
    instead = tuple((said, n) for (root, said), n in sorted(counts.items()) if root == id != said)
    hit = counts[id, id]
    in_vain = sum(n for (root, said), n in counts.items() if said == id != root)
    return Row(id, hit + sum(n for _, n in instead), hit, in_vain, instead)


def root_lines(cases: list[Case], answers: dict[str, Answer]) -> Iterator[str]:
    """root@1 of each split, and of all."""
    splits = sorted({case.split for case in cases})
    for split in [*splits, *(["all"] if len(splits) > 1 else [])]:
        of = [case for case in cases if split in (case.split, "all")]
        said = [(case, answers[case.name].first) for case in of]
        line = f"root@1 {split:<9} {share(sum(one == case.root for case, one in said), len(of))}"
        if any(case.alternatives for case in of):
            also = sum(one in case.alternatives | {case.root} for case, one in said)
            line += f", with alternatives {share(also, len(of))}"
        yield line


def share(count: int, total: int) -> str:
    """2/3 = 0.667"""
    return f"{count}/{total} = {count / max(total, 1):.3f}"


def confusion_lines(cases: list[Case], answers: dict[str, Answer], shown: set[str]) -> Iterator[str]:
    """The table of misses, with those of the splits that are not shown in its total only."""
    told = [(case.root, answers[case.name].first) for case in cases if case.split in shown]
    yield f"{'root':<36}{'expected':>9}{'hit':>6}{'in vain':>9}"
    for row in confusion(told):
        yield f"{row.id:<36}{row.expected:>9}{row.hit:>6}{row.in_vain:>9}"
        yield from (f"    said instead: {id} {n}" for id, n in row.instead)
    hit = sum(case.root == answers[case.name].first for case in cases)
    hidden = sum(case.root != answers[case.name].first for case in cases if case.split not in shown)
    yield f"{'all':<36}{len(cases):>9}{hit:>6}{len(cases) - hit:>9}"
    yield from [f"    of these in other splits: {hidden}"] if hidden else []


def main() -> None:
    """Ask doctor, print the figures, then ask the peers if there are to be any."""
    cases = failing_cases()
    options = _options({case.split for case in cases})
    cases = [case for case in cases if options.split in (None, case.split)]
    healthy = sorted((LOGS / "healthy").iterdir())
    signatures, started = catalog.load(), time.perf_counter()
    reports = {case.name: diagnose_logs([str(case.path)], signatures) for case in cases}
    quiet = {path.name: answer(diagnose_logs([str(path)], signatures)) for path in healthy}
    seconds = time.perf_counter() - started
    answers = {name: answer(report) for name, report in reports.items()}
    print(*root_lines(cases, answers), sep="\n")
    echoes = [one.id in case.echoes for case in cases for one in reports[case.name].findings if one.explained_by]
    print(f"echo precision   {share(sum(echoes), len(echoes))}")
    print(f"false alarms     {sum(bool(one.loud) for one in quiet.values())}/{len(quiet)} healthy logs\n")
    shown = {options.split or "dev"}
    print(*confusion_lines(cases, answers, shown), sep="\n")
    if options.verbose:
        print(*(f"{name}: {', '.join(one.loud)}" for name, one in quiet.items() if one.loud), sep="\n")
        print(*_misses([case for case in cases if case.split in shown], answers), sep="\n")
    if options.peers:
        from peers import compare

        print("", *compare(options.peers, cases, healthy, answers, quiet, seconds), sep="\n")


def _options(splits: set[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=sorted(splits | set(SPLITS)))
    parser.add_argument(
        "--peers", type=Path, metavar="FOLDER", help="compare with other tools, installed in FOLDER/venv"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="name the misses, of the dev split or that of --split"
    )
    return parser.parse_args()


def _misses(cases: list[Case], answers: dict[str, Answer]) -> Iterator[str]:
    for case in cases:
        said = answers[case.name].first
        if said != case.root:
            yield f"{case.name}: expected {case.root}, said {said}"


if __name__ == "__main__":
    main()
