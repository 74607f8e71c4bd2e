"""doctor beside other tools that name what failed in a log, each at the level of that tool's own categories.

peers.toml maps the categories of a peer to ids. A peer is right where one of the ids of what it says is the root. It is
asked for no more than it claims: root@1 is over the logs whose root one of its categories covers. doctor is measured on the
same logs at the same level: it is right where its id and the root belong to one category of the peer.
"""

import json
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accuracy import Answer, Case

TABLE = Path(__file__).with_name("peers.toml")
ASK = Path(__file__).with_name("ask_peer.py")
# In front of an id that a category is right about, though the peer does not claim to know it.
GRANTED = "~"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another tool. ``unsure`` are its words for "something failed": they are right or wrong about no root."""

    name: str
    title: str
    categories: Mapping[str, tuple[str, ...]]
    unsure: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    install: tuple[str, ...] = ()
    unpack: tuple[str, ...] = ()

    def covers(self, root: str) -> bool:
        """Whether the peer claims to know a root."""
        claimed = (*self.claims, *(id for ids in self.categories.values() for id in ids if not id.startswith(GRANTED)))
        return _any(root, claimed)

    def right(self, label: str, root: str) -> bool:
        """Whether one of its categories is about a root."""
        return any(_about(root, ids) for name, ids in self.categories.items() if fnmatchcase(label, name))

    def names_cause(self, label: str) -> bool:
        """Whether a label says more than that something failed."""
        return not _any(label, self.unsure)

    def alike(self, id: str, root: str) -> bool:
        """Whether two ids are the same to this peer."""
        return id == root or any(_about(id, ids) and _about(root, ids) for ids in self.categories.values())


def _any(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _about(root: str, ids: Iterable[str]) -> bool:
    return _any(root, (id.removeprefix(GRANTED) for id in ids))


@dataclass(frozen=True, slots=True)
class Score:
    """``first`` and ``named`` count right answers among ``covered`` logs, ``beyond`` the causes named for the others that
    are none; ``alarms`` the healthy logs with any."""

    covered: int
    first: int
    named: int
    others: int
    beyond: int
    alarms: int


def peers() -> tuple[list[Peer], dict[str, str]]:
    """The peers of peers.toml, and why others are not asked."""
    table = tomllib.loads(TABLE.read_text())
    found = [
        Peer(
            name=name, **{key: value if isinstance(value, (str, dict)) else tuple(value) for key, value in row.items()}
        )
        for name, row in table["peer"].items()
    ]
    return found, table["not_asked"]


def score_peer(peer: Peer, cases: list["Case"], said: Mapping[str, list[str]], healthy: Iterable[list[str]]) -> Score:
    """What a peer's labels are worth."""
    covered = [case for case in cases if peer.covers(case.root)]
    others = [case for case in cases if not peer.covers(case.root)]
    return Score(
        len(covered),
        sum(any(peer.right(label, case.root) for label in said[case.name][:1]) for case in covered),
        sum(any(peer.right(label, case.root) for label in said[case.name]) for case in covered),
        len(others),
        sum(_wrong(peer, said[case.name][:1], case.root) for case in others),
        sum(any(map(peer.names_cause, labels)) for labels in healthy),
    )


def _wrong(peer: Peer, labels: list[str], root: str) -> bool:
    return any(peer.names_cause(label) and not peer.right(label, root) for label in labels)


def score_doctor(
    peer: Peer, cases: list["Case"], answers: Mapping[str, "Answer"], healthy: Iterable["Answer"]
) -> Score:
    """The same of doctor's ids, taken as this peer's categories."""
    covered = [case for case in cases if peer.covers(case.root)]
    others = [case for case in cases if not peer.covers(case.root)]
    claims = [answers[case.name].first for case in others if not peer.alike(answers[case.name].first, case.root)]
    return Score(
        len(covered),
        sum(peer.alike(answers[case.name].first, case.root) for case in covered),
        sum(
            any(peer.alike(id, case.root) for id in answers[case.name].named | {answers[case.name].first})
            for case in covered
        ),
        len(others),
        sum(map(peer.covers, claims)),
        sum(bool(one.loud) for one in healthy),
    )


def compare(
    folder: Path,
    cases: list["Case"],
    healthy: list[Path],
    answers: Mapping[str, "Answer"],
    quiet: Mapping[str, "Answer"],
    seconds: float,
) -> Iterator[str]:
    """The table: each peer, and doctor at its level; then who is not asked."""
    found, not_asked = peers()
    logs = {case.name: case.path for case in cases} | {path.name: path for path in healthy}
    yield f"{'root known to the peer':<30}{'root@1':>16}{'named':>9}{'beyond':>9}{'alarms':>8}{'seconds':>8}"
    for peer in found:
        result = ask(peer, folder, logs)
        if isinstance(result, str):
            yield f"{peer.title:<30}{'not run: ' + result:.50}"
            continue
        spent, said = result
        yield line(
            peer.title, score_peer(peer, cases, said, [said[path.name] for path in healthy]), len(healthy), spent
        )
        same = score_doctor(peer, cases, answers, quiet.values())
        yield line("  doctor, at that level", same, len(healthy), seconds)
    yield from ("", *(f"{name + ' is not asked':<30}{why}" for name, why in not_asked.items()))


def line(title: str, score: Score, healthy: int, seconds: float) -> str:
    """One row of the table."""
    first = f"{score.first}/{score.covered} = {score.first / max(score.covered, 1):.2f}"
    named = f"{score.named}/{score.covered}"
    beyond = f"{score.beyond}/{score.others}" if score.others else "-"
    return f"{title:<30}{first:>16}{named:>9}{beyond:>9}{f'{score.alarms}/{healthy}':>8}{seconds:>8.1f}"


def ask(peer: Peer, folder: Path, logs: Mapping[str, Path]) -> tuple[float, dict[str, list[str]]] | str:
    """The seconds that a peer took and what it says of each log; or, in a line, why it can't be asked."""
    python, beside = folder / "venv" / "bin" / "python", folder / "unpacked"
    files = {name: [str(file) for file in _files(path)] for name, path in logs.items()}
    environment = {**os.environ, "HOME": str(folder.resolve()), "PYTHONPATH": str(beside.resolve())}
    try:
        install(peer, python, beside)
        done = subprocess.run(
            [python, ASK, peer.name],
            input=json.dumps(files),
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    except subprocess.CalledProcessError as fault:
        return (str(fault.stderr).strip().splitlines() or ["it failed"])[-1]
    result = json.loads(done.stdout)
    return result["seconds"], result["said"]


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path.absolute()]


def install(peer: Peer, python: Path, beside: Path) -> None:
    """Install a peer, once. What is to be unpacked only has parts that this machine can't load, and others that it can."""
    mark = beside / f"{peer.name}.installed"
    wanted = json.dumps([peer.install, peer.unpack])
    if mark.is_file() and mark.read_text() == wanted:
        return
    if not python.exists():
        print(f"making {python.parents[1]}", file=sys.stderr)
        venv.create(python.parents[1], with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet"]
    elsewhere = ["--no-deps", "--only-binary=:all:", "--platform=manylinux_2_39_x86_64", "--python-version=3.12"]
    beside.mkdir(parents=True, exist_ok=True)
    for arguments in (
        [*peer.install],
        [*elsewhere, "--upgrade", "--target", beside, *peer.unpack] if peer.unpack else [],
    ):
        if arguments:
            subprocess.run([*pip, *arguments], capture_output=True, text=True, check=True)
    mark.write_text(wanted)
