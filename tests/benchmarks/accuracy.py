"""How often doctor names the right root: python tests/benchmarks/accuracy.py [--split dev|held-out] [-v]

Over all log fixtures: root@1 (the verdict's root, or its state where nothing in the log is the cause), the precision of
echoes (findings of the catalogue's echo ids that are really in the log), and false alarms on healthy logs. Logs of the
held-out split are never looked at while signatures are written.
"""

import argparse
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from doctor import catalog
from doctor.diagnose import diagnose_logs
from doctor.finding import Severity
from doctor.report import Report

FIXTURES = Path(__file__).parents[2] / "fixtures"
LOGS = FIXTURES / "logs"


@dataclass(frozen=True, slots=True)
class Case:
    """A failing log and what a perfect reader says of it."""

    name: str
    path: Path
    split: str
    root: str
    echoes: frozenset[str]


def failing_cases() -> list[Case]:
    """The cases of expected.toml whose log is there, with the split that cases.toml gives them."""
    expected = tomllib.loads((LOGS / "expected.toml").read_text())
    rows = tomllib.loads((FIXTURES / "make" / "cases.toml").read_text())["failing"]
    return [
        Case(
            name,
            path,
            rows.get(name, {}).get("split", "dev"),
            row.get("root") or row["state"],
            frozenset(row.get("echoes", ())),
        )
        for name, row in expected.items()
        for path in [next(iter(sorted((LOGS / "failing").glob(f"{name}*"))), None)]
        if path is not None and path.stem == name
    ]


def said(report: Report) -> str:
    """The root that a report names, or its state."""
    return report.verdict.root or report.verdict.state.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=["dev", "held-out", "fresh"])
    parser.add_argument("-v", "--verbose", action="store_true", help="name the misses; never for the held-out split")
    options = parser.parse_args()
    signatures = catalog.load()
    cases = [case for case in failing_cases() if options.split in (None, case.split)]
    reports = {case.name: diagnose_logs([str(case.path)], signatures) for case in cases}
    right = Counter(case.split for case in cases if said(reports[case.name]) == case.root)
    total = Counter(case.split for case in cases)
    for split in sorted(total):
        print(f"root@1 {split:<9} {right[split]}/{total[split]} = {right[split] / total[split]:.3f}")
    shown = [
        (finding.id in case.echoes) for case in cases for finding in reports[case.name].findings if finding.explained_by
    ]
    print(f"echo precision   {sum(shown)}/{len(shown)} = {sum(shown) / max(len(shown), 1):.3f}")
    alarms = []
    healthy = sorted((LOGS / "healthy").iterdir())
    for path in healthy:
        loud = [one.id for one in diagnose_logs([str(path)], signatures).findings if one.severity is not Severity.NOTE]
        alarms += [f"{path.name}: {', '.join(loud)}"] if loud else []
    print(f"false alarms     {len(alarms)}/{len(healthy)} healthy logs")
    if options.verbose:
        print(*alarms, sep="\n")
        for case in cases:
            if said(reports[case.name]) != case.root and (case.split == "dev" or options.split):
                print(f"{case.name}: expected {case.root}, said {said(reports[case.name])}")


main()
