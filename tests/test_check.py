"""``doctor signatures check``: signatures held to their own samples and to each other's."""

import pytest

from doctor.catalog import Catalog, SignatureFile, catalog_of
from doctor.check import Remark, check, coverage
from doctor.logs.index import compile_index
from doctor.logs.match import find_in_text

TEMPLATE = """
title    = "t"
severity = "error"
explains = {explains}
overlaps = {overlaps}
[text]
any  = ['''{pattern}''']
none = {none}
[[cause]]
text = "c"
fix  = "f"
[[hit]]
text = '''{hit}'''
[[miss]]
text = '''{miss}'''
why  = "another fault"
"""


def file(
    id: str,
    pattern: str,
    hit: str,
    miss: str = "something else",
    none: str = "[]",
    explains: str = "[]",
    overlaps: str = "[]",
) -> SignatureFile:
    text = TEMPLATE.format(pattern=pattern, hit=hit, miss=miss, none=none, explains=explains, overlaps=overlaps)
    return SignatureFile(id, f"{id}.toml", text)


NOTHING = catalog_of([])
NO_MATCH = "a/b.toml: hit[1]: does not match; compare it with what the signature asks for"
GOOD_HIT = "RuntimeError: marked as ready twice"
GOOD = file("ddp/twice", "ready twice", GOOD_HIT)


def faults(*files: SignatureFile, others: Catalog = NOTHING) -> list[str]:
    return [str(fault) for fault in check(files, others).faults]


def test_a_good_one_has_no_faults() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("faulty", "expected"),
    [
        (file("a/b", "ready twice", "ready once"), NO_MATCH),
        (file("a/b", "ready twice", "this might be caused by: ready twice"), NO_MATCH),
        (file("a/b", "ready twice", "ready twice today", none="['today']"), NO_MATCH),
        (
            file("a/b", "ready twice", "ready twice", miss="not ready twice"),
            "a/b.toml: miss[1]: matches, but must not: another fault",
        ),
        (
            file("a/b", "ready (twice", "ready twice"),
            "a/b.toml: text.any[1]: the pattern does not compile: missing ) at position 12; "
            "escape ( ) [ ] { } . * + ? if they are meant literally",
        ),
        (
            file("a/b", "ready(?R)?twice", "readytwice"),
            "a/b.toml: the pattern can't be scanned for; use literals, classes, groups and repeats only",
        ),
        (
            SignatureFile("a/b", "a/b.toml", "title = 1"),
            "a/b.toml: expected exactly one of [text], [trace], [scale] and [setting], found 0",
        ),
    ],
)
def test_faults_name_the_file_the_sample_and_the_remedy(faulty: SignatureFile, expected: str) -> None:
    assert faults(faulty) == [expected]


def test_all_files_that_do_not_load_are_named() -> None:
    broken = [SignatureFile(f"a/{n}", f"a/{n}.toml", "title = ") for n in range(3)]
    assert [fault.split(":")[0] for fault in faults(*broken, GOOD)] == ["a/0.toml", "a/1.toml", "a/2.toml"]


def test_a_faulty_file_among_the_others_is_named() -> None:
    others = catalog_of([SignatureFile("a/bad", "a/bad.toml", "title = ")])
    assert [fault.split(":")[0] for fault in faults(GOOD, others=others)] == ["a/bad.toml"]


TWO_FIRE = "hit[1]: {} fires too; narrow one, or name it in explains or in both overlaps"
GENERAL = file("ddp/any", "marked as ready", "RuntimeError: marked as ready")


def test_another_that_fires_on_its_hit_is_a_fault() -> None:
    assert faults(GOOD, GENERAL) == ["ddp/twice.toml: " + TWO_FIRE.format("ddp/any")]
    assert faults(GOOD, others=catalog_of([GENERAL])) == ["ddp/twice.toml: " + TWO_FIRE.format("ddp/any")]
    assert faults(GENERAL, others=catalog_of([GOOD])) == []


@pytest.mark.parametrize(
    ("keys", "general_keys", "agreed"),
    [
        ({"explains": '["ddp/any"]'}, {}, True),
        ({"explains": '["ddp/*"]'}, {}, True),
        ({}, {"explains": '["ddp/twice"]'}, True),
        ({"overlaps": '["ddp/any"]'}, {"overlaps": '["ddp/twice"]'}, True),
        ({"overlaps": '["ddp/any"]'}, {}, False),
        ({"explains": '["fsdp/*"]'}, {}, False),
    ],
)
def test_two_may_agree_to_fire(keys: dict[str, str], general_keys: dict[str, str], agreed: bool) -> None:
    one = file("ddp/twice", "ready twice", "RuntimeError: marked as ready twice", **keys)
    general = file("ddp/any", "marked as ready", "RuntimeError: marked as ready", **general_keys)
    assert (faults(one, general) == []) is agreed


def test_a_file_replaces_the_other_of_its_id() -> None:
    old = file("ddp/twice", "marked as ready", "marked as ready")
    assert faults(GOOD, others=catalog_of([old])) == []


def test_a_signature_that_is_never_alone_is_noted() -> None:
    explained = file("ddp/any", "marked as ready", "marked as ready", explains='["ddp/twice"]')
    notes = check([GOOD, explained], NOTHING).notes
    assert notes == (
        Remark("ddp/twice.toml", "shadowed: ddp/any fires on all of its samples too, and is not explained by it"),
    )


def test_a_pattern_that_costs_speed_is_noted() -> None:
    slow = file("a/b", r"ready (?!once)twice", "ready twice")
    assert check([slow], NOTHING).notes == (
        Remark("a/b.toml", "text.any[1]: Hyperscan takes it only through a prefilter, which costs speed"),
    )


def test_a_signature_that_is_alone_on_one_of_its_samples_is_not_shadowed() -> None:
    explained = file("ddp/any", "marked as ready", "marked as ready", explains='["ddp/twice"]')
    twice = SignatureFile(GOOD.id, GOOD.where, GOOD.text + "[[hit]]\ntext = 'ready twice'\n")
    assert check([twice, explained], NOTHING).notes == ()


def test_one_that_explains_what_fires_with_it_is_not_shadowed() -> None:
    assert check([file("ddp/twice", "ready twice", GOOD_HIT, explains='["ddp/any"]'), GENERAL], NOTHING).notes == ()


def test_a_pattern_of_literals_costs_nothing() -> None:
    assert check([GOOD], NOTHING).notes == ()


def test_coverage_counts_each_log_once_for_each_signature() -> None:
    index = compile_index(catalog_of([GOOD, GENERAL]))
    logs = [f"{GOOD_HIT}\nend\n{GOOD_HIT}\n", "marked as ready\n", "healthy\n"]
    reports = [find_in_text(log, catalog_of([GOOD, GENERAL]), index).findings for log in logs]
    assert coverage(["a/b", "ddp/any", "ddp/twice"], reports) == {"a/b": 0, "ddp/any": 2, "ddp/twice": 1}
