"""The scan: every place where ``regex`` would find a pattern is among the hits, whatever surrounds it."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from doctor.catalog import Catalog
from doctor.errors import SignatureError
from doctor.logs.scan import (
    Scanner,
    compile_patterns,
    load,
    needs_prefilter,
    squeezed_pattern,
    widened,
)
from doctor.signature import Text


def scanner(*patterns: str) -> Scanner:
    return compile_patterns(patterns, [f"pattern {n}" for n in range(len(patterns))])


def test_hits_are_pattern_numbers_and_ends_in_order() -> None:
    assert scanner("error", "err", "x{3}").hits(b"an error\nxxx err") == [(1, 6), (0, 8), (2, 12), (1, 16)]


def test_a_dumped_scanner_scans_the_same() -> None:
    one = scanner("an error", r"rank (?P<rank>\d+)")
    data = b"rank 12: an error" * 3
    assert load(one.dump()).hits(data) == one.hits(data) != []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^RuntimeError: boom$", "[rank0]: RuntimeError: boom and more"),
        (r"name '(?P<name>\w+)' is not defined", "name 'x' is not defined"),
        (r"size (?P<a>\d+)", "size 12"),
        (r"Found dtype (?P<dtype>\S+)", "Found dtype Long"),
        (r"(?i)out of memory", "OUT OF Memory"),
        (r"needs \d+ GiB", "needs 12 GiB"),
        (r"not (?!found)here", "not here"),
        (r"(?<=the )cause of it", "the cause of it"),
        (r"(\w+) and \1 again", "one and one again"),
        (r"literal \$ and \^ signs", "literal $ and ^ signs"),
        (r"class [^$]x", "class ax"),
        (r"ends in \.", "ends in ."),
        (r"Größe", "die Größe"),
    ],
)
def test_what_regex_finds_is_hit(pattern: str, text: str) -> None:
    assert regex.search(pattern, text) or pattern.startswith("^")
    assert scanner(pattern).hits(text.encode())


def test_patterns_that_hyperscan_takes_approximately_are_known() -> None:
    assert [needs_prefilter(pattern) for pattern in ("plain", r"(\w+) and \1", "a(?!b)c")] == [False, True, True]


@pytest.mark.parametrize("pattern", ["x(?R)?y", r"(?|(a)|(b))c"])
def test_a_pattern_that_can_not_be_scanned_for_is_named(pattern: str) -> None:
    with pytest.raises(SignatureError) as refused:
        compile_patterns(["fine", pattern], ["a/fine.toml", "a/odd.toml"])
    assert (
        str(refused.value)
        == "a/odd.toml: the pattern can't be scanned for; use literals, classes, groups and repeats only"
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^boom$", "boom"),
        (r"(?P<a>\d+) of", r"(?:\d+) of"),
        (r"module '(?P<name>\S+)", r"module '(?:\S+)"),
        (r"Found dtype .*", "Found dtype "),
        (r"a \d+", "a "),
        (r"price \$5", r"price \$5"),
        (r".*", ".*"),
    ],
)
def test_widening(pattern: str, expected: str) -> None:
    assert widened(pattern) == expected or widened(pattern) == expected.replace(r"(?:\S+)", "")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("Expected to mark a variable ready only once", "Expectedtomarkavariablereadyonlyonce"),
        (r"Expected to mark\s+a variable ready", "Expectedtomarkavariableready"),
        ("^Expected to mark a variable$", "Expectedtomarkavariable"),
        ("short one", None),
        ("Expected .* to mark a variable", None),
        (r"Expected \S+ to mark a variable", None),
        ("Expected [^ ]* to mark a variable", None),
        (r"\bExpected to mark a variable", None),
        ("Expected to mark a variable(?! twice)", None),
    ],
)
def test_squeezed_patterns(pattern: str, expected: str | None) -> None:
    assert squeezed_pattern(pattern) == expected


def test_every_bundled_hit_is_hit(bundled: Catalog) -> None:
    texts = {one.id: one for one in bundled.signatures() if isinstance(one.match, Text)}
    patterns = [(id, pattern) for id, one in texts.items() for pattern in one.match.any]
    one = compile_patterns([pattern for _, pattern in patterns], [id for id, _ in patterns])
    for id, signature in texts.items():
        for sample in signature.hits:
            assert id in {patterns[number][0] for number, _ in one.hits(sample.text.encode())}, id


@given(st.text(max_size=60), st.text(max_size=60))
def test_surroundings_never_hide_a_literal(before: str, after: str) -> None:
    data = f"{before}mark a variable ready{after}".encode()
    assert (0, len(before.encode()) + 21) in LITERAL.hits(data)


LITERAL = scanner("mark a variable ready")


def test_no_patterns_hit_nothing() -> None:
    assert scanner().hits(b"anything at all") == []
