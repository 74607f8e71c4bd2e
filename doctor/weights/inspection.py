"""The flow of `doctor weights`: open, measure, judge, plan. Nothing is written here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from doctor.catalog import Catalog
from doctor.errors import CheckpointError
from doctor.facts import Facts
from doctor.finding import Finding
from doctor.signature import Scale, Signature
from doctor.weights.checkpoint import open_checkpoint
from doctor.weights.compare import Change, compare, same_bytes
from doctor.weights.entries import Checkpoint, Entry, Fault, Unmeasured
from doctor.weights.match import facts_of, match
from doctor.weights.measure import Measured, measure
from doctor.weights.observation import Group, Observation
from doctor.weights.packed import without_packed
from doctor.weights.repair import Plan, plan
from doctor.weights.rules import LEAST, wants

RULE_PROSE = "weights/scale-drift"

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Inspection:
    """A checkpoint, measured and judged, and what a repair would do. ``skipped`` are (what, why)."""

    checkpoint: Checkpoint
    measured: tuple[Measured, ...]
    findings: tuple[Finding, ...]
    groups: tuple[Group, ...]
    plan: Plan
    changes: tuple[Change, ...]
    facts: Facts
    unmeasured: tuple[Unmeasured, ...]
    skipped: tuple[tuple[str, str], ...]
    nbytes: int


def inspect(
    path: Path,
    catalog: Catalog,
    rules: Sequence[Scale] = (),
    base: Path | None = None,
    progress: Progress = lambda _: None,
    checkpoint: Checkpoint | None = None,
) -> Inspection:
    """Measure a checkpoint and judge it: by these rules alone if there are any, otherwise by all scale signatures.

    CheckpointError if nothing in it (or in ``base``) can be measured. Damage to a part of it is a finding.
    """
    opened = checkpoint or open_checkpoint(path)
    names = {entry.name for entry in opened.entries}
    entries, packed = without_packed(opened.entries, names)
    if rules:
        entries = _wanted(entries, rules, path)
    signatures = signatures_for(catalog, rules)
    measured, unread = measure(entries, progress, precise=_rescales(signatures))
    observed = _observation(opened, measured, unread, packed)
    changes: list[Change] = []
    if base is not None:
        observed, changes = _with_base(observed, entries, base, progress)
    findings, groups = match(signatures, observed)
    planned = plan(replace(opened, faults=observed.faults), groups)
    return Inspection(
        checkpoint=opened,
        measured=tuple(measured),
        findings=tuple(findings),
        groups=tuple(groups),
        plan=planned,
        changes=tuple(changes),
        facts=facts_of(observed),
        unmeasured=observed.unmeasured,
        skipped=(
            *_summed(observed.unmeasured),
            *((one.name, one.reason) for one in planned.skipped),
            *_too_few(rules, measured),
        ),
        nbytes=sum(entry.nbytes for entry in entries),
    )


def _wanted(entries: Iterable[Entry], rules: Sequence[Scale], path: Path) -> list[Entry]:
    """The entries that the rules look at; CheckpointError if one looks at none, since it would pass for clean."""
    wanted = [entry for entry in entries if wants(rules, entry.name)]
    for rule in rules:
        if not any(wants([rule], entry.name) for entry in wanted):
            raise CheckpointError(
                f'{path}: no tensor name has "{rule.pattern}" in it; doctor weights --tensors lists them'
            )
    return wanted


def _too_few(rules: Iterable[Scale], measured: Sequence[Measured]) -> list[tuple[str, str]]:
    """Rules whose group is too small to have a centre."""
    counts = {rule.pattern: sum(wants([rule], one.name) for one in measured) for rule in rules}
    return [
        (pattern, f"{count} tensors are no group; fewer than {LEAST} are left alone")
        for pattern, count in counts.items()
        if count < LEAST
    ]


def _rescales(signatures: Iterable[Signature]) -> Callable[[str], bool]:
    """Whether a drift rule looks at a name: its factor should not depend on how fast the deviation was measured."""
    scales = [one.match for one in signatures if isinstance(one.match, Scale) and one.match.shape == "drift"]
    return lambda name: wants(scales, name)


def _observation(
    checkpoint: Checkpoint, measured: Sequence[Measured], unread: Iterable[Fault], packed: Iterable[Unmeasured]
) -> Observation:
    entries = {entry.name: entry for entry in checkpoint.entries}
    return Observation(
        tensors=tuple(measured),
        faults=(*checkpoint.faults, *unread),
        unmeasured=(*checkpoint.unmeasured, *packed),
        config=checkpoint.config,
        is_adapter=checkpoint.is_adapter,
        aliases=checkpoint.aliases,
        same_bytes=lambda one, other: same_bytes(entries[one], entries[other]),
    )


def _with_base(
    observed: Observation, entries: Sequence[Entry], base: Path, progress: Progress
) -> tuple[Observation, list[Change]]:
    opened = open_checkpoint(base)
    mine = {entry.name: entry for entry in entries}
    theirs = {entry.name: entry for entry in opened.entries}
    measured, _ = measure(list(theirs.values()), progress)
    by_name = {tensor.name: tensor for tensor in measured}
    if not by_name.keys() & mine.keys():
        raise CheckpointError(
            f"{base}: has no tensor name in common with the checkpoint; give the base that it was trained from"
        )
    return replace(observed, base=by_name), compare(observed.tensors, by_name, mine, theirs)


def signatures_for(catalog: Catalog, rules: Sequence[Scale]) -> list[Signature]:
    """The scale signatures of a catalogue; with rules, those rules and the signatures of damaged files."""
    scales = catalog.of_kind(Scale)
    if not rules:
        return scales
    damage = [one for one in scales if isinstance(one.match, Scale) and one.match.shape == "fault"]
    return [*(_ruled(rule, scales) for rule in rules), *damage]


def _ruled(rule: Scale, scales: Sequence[Signature]) -> Signature:
    """A rule with the prose of the signature for the same tensors, or else that for drift in general."""
    same = [one for one in scales if isinstance(one.match, Scale) and one.match.pattern == rule.pattern]
    general = [one for one in scales if one.id == RULE_PROSE]
    if not same and not general:
        raise CheckpointError(
            f"the signature {RULE_PROSE} is missing, so that rules have no explanation; reinstall doctor"
        )
    return replace((same or general)[0], match=rule)


def _summed(unmeasured: Iterable[Unmeasured]) -> list[tuple[str, str]]:
    """One row a reason: the first name, and how many more."""
    by_reason: dict[str, list[str]] = {}
    for one in unmeasured:
        by_reason.setdefault(one.reason, []).append(one.name)
    return [
        (names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more", reason)
        for reason, names in by_reason.items()
    ]


def group_rows(groups: Iterable[Group]) -> list[Mapping[str, object]]:
    """Groups as the JSON report has them, with the values that a chart needs."""
    return [
        {
            "pattern": group.pattern,
            "statistic": group.statistic,
            "members": len(group.values),
            "centre": group.centre,
            "threshold": group.threshold,
            "outliers": [
                {"tensor": one.tensor, group.statistic: one.value, "ratio": one.ratio, "factor": one.factor}
                for one in group.outliers
            ],
            "values": [[name, layer, value] for name, layer, value in group.values],
        }
        for group in groups
    ]


def plan_rows(planned: Plan) -> list[Mapping[str, object]]:
    """The plan as the JSON report has it."""
    return [
        {"tensor": one.name, "file": one.file.name, "factor": one.factor, "std": one.value, "ratio": one.ratio}
        for one in planned.rescales
    ]
