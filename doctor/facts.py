"""Facts about the run, and the conditions that signatures put on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from doctor.errors import SignatureError

Scalar = str | int | float | bool
Value = Scalar | None

PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing known about the run, and where it was read. ``value`` is None where the key is known to be unset."""

    value: Value
    path: str = ""
    line: int = 0


Facts = Mapping[str, Fact]


@dataclass(frozen=True, slots=True)
class Equals:
    """The fact is one of these values."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Present:
    """The fact is set (or, where ``expected`` is false, known to be unset)."""

    expected: bool


@dataclass(frozen=True, slots=True)
class Version:
    """The fact is a version that this specifier admits."""

    specifier: str


Test = Equals | Present | Version
Conditions = Mapping[str, Test]


def parse_conditions(table: Mapping[str, object], where: str) -> Conditions:
    """Conditions from a ``when`` table: scalars, lists of them, {present = bool}, and specifiers for version.* keys."""
    return {key: _parse_test(key, value, f"{where}.{key}") for key, value in table.items()}


def _parse_test(key: str, value: object, where: str) -> Test:
    if key.startswith("version."):
        return _parse_version(value, where)
    if isinstance(value, dict):
        return _parse_present(value, where)
    values = tuple(value) if isinstance(value, list) else (value,)
    if not values or not all(isinstance(one, (str, int, float, bool)) for one in values):
        raise SignatureError(f"{where}: expected a value, a list of values or {{ present = true }}")
    return Equals(values)


def _parse_present(value: Mapping[str, object], where: str) -> Present:
    expected = value.get(PRESENT)
    if set(value) != {PRESENT} or not isinstance(expected, bool):
        raise SignatureError(f"{where}: the only test in braces is {{ present = true }} or {{ present = false }}")
    return Present(expected)


def _parse_version(value: object, where: str) -> Version:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(str(value))
    except InvalidSpecifier:
        raise SignatureError(f'{where}: "{value}" is not a version specifier; write one such as ">=5.0,<5.6"') from None
    return Version(str(value))


def words(conditions: Conditions) -> str:
    """Conditions as a person says them: adapter = qlora and transformers >=5.0."""
    return " and ".join(
        f"{key.removeprefix('config.').removeprefix('version.')} {_test_words(test)}"
        for key, test in conditions.items()
    )


def _test_words(test: Test) -> str:
    if isinstance(test, Present):
        return "is set" if test.expected else "is not set"
    if isinstance(test, Version):
        return test.specifier
    return f"= {' or '.join(str(value).lower() if isinstance(value, bool) else str(value) for value in test.values)}"


def holds(conditions: Conditions, facts: Facts) -> bool | None:
    """Whether all conditions hold: False if one fails, None if none fails but one is about an unknown fact."""
    results = [_test(test, facts.get(key)) for key, test in conditions.items()]
    if False in results:
        return False
    return None if None in results else True


def _test(test: Test, fact: Fact | None) -> bool | None:
    if fact is None:
        return None
    if isinstance(test, Present):
        return (fact.value is not None) is test.expected
    if isinstance(test, Version):
        return admits(test.specifier, str(fact.value))
    return any(_same(fact.value, value) for value in test.values)


def _same(left: Value, right: Value) -> bool:
    """Equality in which true is not 1, unset is false, and text is compared without case."""
    if left is None and right is False:
        return True
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, str) and isinstance(right, str):
        return left.casefold() == right.casefold()
    return left == right


@cache
def admits(specifier: str, version: str) -> bool | None:
    """Whether a version satisfies a specifier; None where the version is not one (a git hash, say)."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return None
