"""Which of a signature's causes the facts leave, and its prose with the captures filled in."""

from collections.abc import Mapping
from dataclasses import dataclass

from doctor.facts import Fact, Facts, admits, holds, words
from doctor.signature import PLACEHOLDER, Cause, Signature, capture_names

NOT_CAPTURED = "..."
# Where no stack frame is known that tells.
NOT_KNOWN = {"package": "the code that calls it"}
POSSIBLE = "Possible causes; the input does not decide:"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a finding says: one cause if the facts decide, otherwise all that are possible, marked as such."""

    title: str
    cause: str
    fix: str
    config: str


def explain(signature: Signature, facts: Facts, captures: Mapping[str, str]) -> Explanation:
    """The prose of a signature for a run with these facts; its captures count as facts of their own."""
    own = {f"capture.{name}": Fact(captures.get(name)) for name in capture_names(signature.match)}
    causes = possible_causes(signature.causes, {**facts, **own})
    return Explanation(
        title=filled(signature.title, captures),
        cause=filled(_listed(_conditional(causes), POSSIBLE), captures),
        fix=filled(_listed([_fix(cause, facts) for cause in causes], "In the same order:"), captures),
        config=filled(_configs(causes), captures),
    )


def possible_causes(causes: tuple[Cause, ...], facts: Facts) -> list[Cause]:
    """The first cause whose conditions hold; if none does, every one that an unknown fact leaves open, and the last."""
    results = [(cause, holds(cause.when, facts)) for cause in causes]
    certain = [cause for cause, result in results if result and cause.when]
    if certain:
        return certain[:1]
    return [cause for cause, result in results if result is None or not cause.when]


def filled(text: str, captures: Mapping[str, str]) -> str:
    """Text with {name} replaced by what was captured."""
    return PLACEHOLDER.sub(lambda found: captures.get(found[1], NOT_KNOWN.get(found[1], NOT_CAPTURED)), text)


def _listed(texts: list[str], heading: str) -> str:
    if len(texts) == 1:
        return texts[0]
    return "\n".join([heading, *(f"({n}) {text}" for n, text in enumerate(texts, 1))])


def _conditional(causes: list[Cause]) -> list[str]:
    """The causes, each with what would make it the one where several are possible."""
    if len(causes) == 1:
        return [causes[0].text]
    return [f"{f'if {words(cause.when)}' if cause.when else 'otherwise'}: {cause.text}" for cause in causes]


def _configs(causes: list[Cause]) -> str:
    configs = [cause.config for cause in causes]
    if len(causes) == 1:
        return configs[0]
    return "\n".join(f"# ({n})\n{config}" for n, config in enumerate(configs, 1) if config)


def _fix(cause: Cause, facts: Facts) -> str:
    return " ".join(part for part in (cause.fix, _release(cause.fixed_in, facts)) if part)


def _release(fixed_in: str, facts: Facts) -> str:
    """What the release with the fix means for the version that the log shows."""
    if not fixed_in:
        return ""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    requirement = Requirement(fixed_in)
    fact = facts.get(f"version.{canonicalize_name(requirement.name)}", Fact(None))
    has_fix = admits(str(requirement.specifier), str(fact.value))
    if has_fix is None:
        return f"Fixed in {fixed_in}."
    if has_fix:
        return f"{fixed_in} has a fix and this run has {fact.value}, so look for what keeps it from working."
    return f"Already fixed in {fixed_in}; this run has {fact.value}."
