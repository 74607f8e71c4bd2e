"""Observations and Scale signatures to findings: the only place where the two meet."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from doctor.causes import explain
from doctor.facts import Fact, Facts
from doctor.finding import Finding, Tensor
from doctor.signature import Scale, Signature
from doctor.weights.observation import Found, Group, Observation
from doctor.weights.samples import parse_sample
from doctor.weights.shapes import SHAPES

MOST_EVIDENCE = 12


def match(signatures: Iterable[Signature], observation: Observation) -> tuple[list[Finding], list[Group]]:
    """What these signatures find in an observation, and the groups that were compared by the way."""
    facts = facts_of(observation)
    findings: list[Finding] = []
    groups: list[Group] = []
    for signature in signatures:
        if isinstance(signature.match, Scale):
            for found in SHAPES[signature.match.shape](observation, signature.match):
                findings += [_finding(signature, found, facts)] if found.members else []
                groups += [found.group] if found.group else []
    return findings, groups


def match_sample(signature: Signature, sample: str) -> list[Finding]:
    """What a signature finds in one of its samples (see samples.py); SignatureError if the sample can't be read."""
    return match([signature], parse_sample(sample))[0]


def facts_of(observation: Observation) -> Facts:
    """The facts that a checkpoint's own config.json gives."""
    facts = {
        f"config.{key}": Fact(value)
        for key, value in observation.config.items()
        if isinstance(value, (str, int, float, bool))
    }
    if isinstance(observation.config.get("model_type"), str):
        facts["model.type"] = Fact(str(observation.config["model_type"]))
    version = observation.config.get("transformers_version")
    return {**facts, "version.transformers": Fact(version)} if isinstance(version, str) else facts


def _finding(signature: Signature, found: Found, facts: Facts) -> Finding:
    captures = _captures(found)
    prose = explain(signature, facts, captures)
    first = found.members[0]
    return Finding(
        id=signature.id,
        title=prose.title,
        severity=signature.severity,
        confidence=signature.confidence,
        role=signature.role,
        place=Tensor(str(first.file), first.tensor),
        evidence=_evidence(found),
        cause=prose.cause,
        fix=prose.fix,
        config=prose.config,
        count=len(found.members),
        captures=captures,
        references=signature.references,
        explains=signature.explains,
        fingerprint=_fingerprint(signature.id, [member.tensor or Path(member.file).name for member in found.members]),
    )


def _captures(found: Found) -> dict[str, str]:
    first = found.members[0]
    layers = sorted({member.layer for member in found.members if member.layer is not None})
    return {
        "tensor": first.tensor,
        "file": Path(first.file).name,
        "count": f"{len(found.members):,}",
        "of": f"{found.of:,}",
        "layers": ranges(layers),
        "worst": found.worst,
        "centre": f"{found.group.centre:.6f}" if found.group else "",
    }


def ranges(numbers: Sequence[int]) -> str:
    """Sorted whole numbers as text, runs of three and more as ranges: 1, 2, 36-38."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _evidence(found: Found) -> tuple[str, ...]:
    lines = [member.line for member in found.members[:MOST_EVIDENCE]]
    left = len(found.members) - len(lines)
    return (*lines, f"... and {left:,} more") if left else tuple(lines)


def _fingerprint(id: str, names: list[str]) -> str:
    """Equal for the same tensors; names are not masked, since the layer number is what tells two failures apart."""
    return hashlib.sha256("\0".join([id, *sorted(names)]).encode("utf-8", "replace")).hexdigest()[:12]
