"""Facts about the run, and the conditions that signatures put on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from doctor.errors import SignatureError

Scalar = str | int | float | bool
Value = Scalar | None

PRESENT = "present"
BRACES = (
    "one of { present = true }, { present = false }, { set_to = VALUE }, { not = VALUE }, { contains = TEXT }, "
    "{ lacks = TEXT }, { above = NUMBER } and { below = NUMBER }"
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing known about the run, and where it was read. ``value`` is None where the key is known to be unset."""

    value: Value
    path: str = ""
    line: int = 0


Facts = Mapping[str, Fact]


def whole_number(facts: Facts, key: str) -> int | None:
    """A fact that is a whole number, if it is known."""
    fact = facts.get(key)
    return fact.value if fact is not None and isinstance(fact.value, int) else None


@dataclass(frozen=True, slots=True)
class Equals:
    """The fact is one of these values. An unset fact counts as false, unless ``is_set``: then it has to be set."""

    values: tuple[Scalar, ...]
    is_set: bool = False


@dataclass(frozen=True, slots=True)
class Present:
    """The fact is set (or, where ``expected`` is false, known to be unset)."""

    expected: bool


@dataclass(frozen=True, slots=True)
class Version:
    """The fact is a version that this specifier admits."""

    specifier: str


@dataclass(frozen=True, slots=True)
class Not:
    """The fact is known and none of these values; an unset one is none of them."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """The fact is a text (a list counts as its JSON) with this piece in it, or, where ``expected`` is false, without it."""

    piece: str
    expected: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """The fact is a number beyond this limit."""

    limit: float
    above: bool


Test = Equals | Present | Version | Not | Contains | Bound
Conditions = Mapping[str, Test]


def parse_conditions(table: Mapping[str, object], where: str) -> Conditions:
    """Conditions from a ``when`` table: scalars, lists of them, tests in braces, and specifiers for version.* keys."""
    return {key: _parse_test(key, value, f"{where}.{key}") for key, value in table.items()}


def _parse_test(key: str, value: object, where: str) -> Test:
    if key.startswith("version."):
        return _parse_version(value, where)
    if isinstance(value, dict):
        return _parse_braces(value, where)
    return Equals(_parse_values(value, where))


def _parse_values(value: object, where: str) -> tuple[Scalar, ...]:
    values = tuple(value) if isinstance(value, list) else (value,)
    if not values or not all(isinstance(one, (str, int, float, bool)) for one in values):
        raise SignatureError(f"{where}: expected a value, a list of values or a test in braces, {{ present = true }}")
    return values


def _parse_braces(table: Mapping[str, object], where: str) -> Test:
    name, value = next(iter(table.items()), ("", None))
    if len(table) == 1 and name == PRESENT and isinstance(value, bool):
        return Present(value)
    if len(table) == 1 and name == "not":
        return Not(_parse_values(value, where))
    if len(table) == 1 and name == "set_to":
        return Equals(_parse_values(value, where), is_set=True)
    if len(table) == 1 and name in ("contains", "lacks") and isinstance(value, str) and value:
        return Contains(value, name == "contains")
    if (
        len(table) == 1
        and name in ("above", "below")
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
    ):
        return Bound(value, name == "above")
    raise SignatureError(f"{where}: a test in braces is {BRACES}")


def _parse_version(value: object, where: str) -> Version:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        if not SpecifierSet(str(value)):
            raise InvalidSpecifier
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
    if isinstance(test, Contains):
        return f"{'has' if test.expected else 'lacks'} {test.piece}"
    if isinstance(test, Bound):
        return f"{'>' if test.above else '<'} {test.limit}"
    return f"{'is not' if isinstance(test, Not) else '='} {_any_of(test.values)}"


def _any_of(values: tuple[Scalar, ...]) -> str:
    return " or ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)


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
    if isinstance(test, Contains):
        return (test.piece.casefold() in str(fact.value or "").casefold()) is test.expected
    if isinstance(test, Bound):
        return _beyond(fact.value, test)
    if fact.value is None and (isinstance(test, Not) or test.is_set):
        return isinstance(test, Not)
    return any(_same(fact.value, value) for value in test.values) is not isinstance(test, Not)


def _beyond(value: Value, bound: Bound) -> bool:
    """Whether a number, or a text that is one (YAML reads 1e-5 so), is beyond a limit."""
    if value is None or isinstance(value, bool):
        return False
    try:
        number = float(value)
    except ValueError:
        return False
    return number > bound.limit if bound.above else number < bound.limit


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
