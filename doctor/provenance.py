"""Where messages come from: whether a signature's literal still stands in the library that prints it.

Messages drift between releases. Literals are looked for in the bytes of every file of the installed distribution, so they
are found in Python source and in compiled libraries alike.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from mmap import ACCESS_READ, mmap
from pathlib import Path

from doctor.signature import RaisedBy, Signature

SUFFIXES = (".py", ".so", ".pyd", ".dll", ".dylib", ".jinja", ".json", ".pyx", ".cu", ".cpp", ".h")


class Provenance(StrEnum):
    """What was found out about a literal."""

    THERE = "there"
    DRIFTED = "drifted"
    NOT_INSTALLED = "not installed"


@dataclass(frozen=True, slots=True)
class Origin:
    """A literal of a signature and what the installed release of its package says."""

    id: str
    package: str
    version: str
    literal: str
    state: Provenance


def origins(signatures: Iterable[Signature]) -> list[Origin]:
    """The provenance of every ``raised_by``, in the order of the signatures."""
    claims = [(signature.id, claim) for signature in signatures for claim in signature.raised_by]
    found = {package: _found(package, claims) for package in sorted({claim.package for _, claim in claims})}
    return [_origin(id, claim, found[claim.package]) for id, claim in claims]


def _origin(id: str, claim: RaisedBy, found: frozenset[str] | None) -> Origin:
    if found is None:
        return Origin(id, claim.package, "", claim.literal, Provenance.NOT_INSTALLED)
    state = Provenance.THERE if claim.literal in found else Provenance.DRIFTED
    return Origin(id, claim.package, distribution(claim.package).version, claim.literal, state)


def _found(package: str, claims: Iterable[tuple[str, RaisedBy]]) -> frozenset[str] | None:
    """The literals that stand in a package's files; None if it is not installed."""
    try:
        installed = distribution(package)
    except PackageNotFoundError:
        return None
    wanted = {claim.literal for _, claim in claims if claim.package == package}
    found: set[str] = set()
    for path in _files(installed):
        found |= {literal for literal in wanted - found if _holds(path, literal)}
        if found == wanted:
            break
    return frozenset(found)


def _files(installed: Distribution) -> Iterator[Path]:
    """Source first: most messages stand there, and compiled libraries are large."""
    paths = [
        Path(str(file.locate())) for file in installed.files or () if file.suffix in SUFFIXES or ".so." in file.name
    ]
    yield from sorted((path for path in paths if path.is_file()), key=lambda path: path.suffix != ".py")


def _holds(path: Path, literal: str) -> bool:
    if not path.stat().st_size:
        return False
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return data.find(literal.encode()) >= 0
