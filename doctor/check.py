"""Signatures held to their own samples, and to those of all others."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from doctor.catalog import Catalog, SignatureFile, catalog_of
from doctor.errors import SignatureError
from doctor.logs.index import Index, compile_index
from doctor.logs.match import find_in_text
from doctor.signature import Sample, Signature, Text, parse


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a signature, and where."""

    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"


def check(files: Iterable[SignatureFile], others: Catalog) -> list[Fault]:
    """All faults of these files, run with the others; an empty list if there is none."""
    mine = list(files)
    faults = list(_parse_faults(mine))
    if faults:
        return faults
    catalog = catalog_of({**others.files, **{file.id: file for file in mine}}.values())
    try:
        index = compile_index(catalog)
    except SignatureError as fault:
        return [_fault(fault)]
    return [fault for file in mine for fault in _sample_faults(catalog.signature(file.id), catalog, index)]


def _parse_faults(files: Iterable[SignatureFile]) -> Iterator[Fault]:
    for file in files:
        try:
            parse(file.text, file.id, file.where)
        except SignatureError as fault:
            yield _fault(fault)


def _fault(fault: SignatureError) -> Fault:
    where, _, sentence = str(fault).partition(": ")
    return Fault(where, sentence)


def _sample_faults(signature: Signature, catalog: Catalog, index: Index) -> Iterator[Fault]:
    """Faults of the samples of a text signature; the other kinds are checked where their data is matched."""
    if not isinstance(signature.match, Text):
        return
    where = catalog.files[signature.id].where
    for n, sample in enumerate(signature.hits, 1):
        fired = _fired(sample, catalog, index)
        if signature.id not in fired:
            yield Fault(where, f"hit[{n}]: does not match; compare it with the patterns, character by character")
        for other in sorted(fired - {signature.id}):
            if not _agreed(signature, catalog.signature(other)):
                yield Fault(
                    where, f"hit[{n}]: {other} fires too; narrow one, or name it in explains or in both overlaps"
                )
    for n, sample in enumerate(signature.misses, 1):
        if signature.id in _fired(sample, catalog, index):
            yield Fault(where, f"miss[{n}]: matches, but must not: {sample.why}")


def _fired(sample: Sample, catalog: Catalog, index: Index) -> set[str]:
    return {finding.id for finding in find_in_text(sample.text, catalog, index).findings if finding.id in catalog}


def _agreed(one: Signature, other: Signature) -> bool:
    """Whether two signatures may fire on the same sample: one explains the other, or both say so."""
    explains = any(fnmatchcase(b.id, pattern) for a, b in ((one, other), (other, one)) for pattern in a.explains)
    return explains or (other.id in one.overlaps and one.id in other.overlaps)
