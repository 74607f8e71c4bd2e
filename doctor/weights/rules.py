"""Rules that the user gives: --rule PATTERN=THRESHOLD, and axolotl's normalize_weight_scales block."""

from collections.abc import Iterable
from pathlib import Path

import regex

from doctor.errors import CheckpointError
from doctor.signature import Scale

KEY = "normalize_weight_scales"
LARGEST_RULES = 4 << 20
DEFAULT_THRESHOLD = 1.3
STATISTIC = "std"
LEAST = 3


def parse_rule(text: str) -> Scale:
    """A rule from PATTERN=THRESHOLD (the last equals sign divides); CheckpointError says what is wrong with it."""
    pattern, equals, threshold = text.rpartition("=")
    if not equals:
        pattern, threshold = text, str(DEFAULT_THRESHOLD)
    try:
        return _rule(pattern, float(threshold), f'--rule "{text}"')
    except ValueError:
        raise CheckpointError(
            f"""--rule "{text}": "{threshold}" is not a number; write --rule 'conv1d\\.weight=1.3'"""
        ) from None


def read_rules(path: Path) -> list[Scale]:
    """The rules of a YAML file: axolotl's configuration with its block, or the block's list alone."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if path.stat().st_size > LARGEST_RULES:
            raise CheckpointError(f"{path}: too large for a file of rules; give the YAML with {KEY}")
        table = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except OSError as fault:
        raise CheckpointError(f"{path}: can't be read: {fault.strerror}") from None
    except (YAMLError, ValueError, RecursionError) as fault:
        raise CheckpointError(f"{path}: not valid YAML: {str(fault).strip().splitlines()[0]}") from None
    block = table.get(KEY) if isinstance(table, dict) else table
    if not isinstance(block, list) or not block:
        raise CheckpointError(f"{path}: no rules in it; expected {KEY}: with a list of name_pattern and threshold")
    return [_from_block(rule, f"{path}: {KEY}[{n}]") for n, rule in enumerate(block, 1)]


def _from_block(rule: object, where: str) -> Scale:
    if not isinstance(rule, dict) or not isinstance(rule.get("name_pattern"), str):
        raise CheckpointError(f"{where}: expected name_pattern: with a text, and threshold: with a number")
    unknown = set(rule) - {"name_pattern", "threshold", "dry_run"}
    if unknown:
        raise CheckpointError(
            f"{where}: unknown key {sorted(map(str, unknown))[0]}; the keys are name_pattern, threshold and dry_run"
        )
    threshold = rule.get("threshold", DEFAULT_THRESHOLD)
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise CheckpointError(f"{where}: threshold is not a number")
    return _rule(rule["name_pattern"], float(threshold), where)


def _rule(pattern: str, threshold: float, where: str) -> Scale:
    if not 1 < threshold < float("inf"):
        raise CheckpointError(f"{where}: the threshold is a ratio above 1, such as 1.3")
    try:
        compiled = regex.compile(pattern)
    except regex.error as fault:
        raise CheckpointError(f"{where}: the pattern does not compile: {fault}") from None
    if not pattern or compiled.search(""):
        raise CheckpointError(f"{where}: the pattern matches every name; give it a literal, such as conv1d\\.weight")
    return Scale("drift", pattern, STATISTIC, {"threshold": threshold, "least": LEAST})


def wants(scales: Iterable[Scale], name: str) -> bool:
    """Whether any of the rules looks at a tensor of that name."""
    return any(regex.search(scale.pattern, name) for scale in scales)
