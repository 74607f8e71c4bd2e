"""Which cause is shown: one if the facts decide, otherwise all that are possible, and said to be so."""

import pytest

from doctor.causes import Explanation, explain, filled, possible_causes
from doctor.facts import Fact, parse_conditions
from doctor.finding import Confidence, Role, Severity
from doctor.signature import Cause, Signature, Text


def cause(name: str, fixed_in: str = "", config: str = "", **when: object) -> Cause:
    conditions = parse_conditions({f"config.{key}": value for key, value in when.items()}, "when")
    return Cause(f"{name} text", f"{name} fix", config, conditions, fixed_in)


def signature(*causes: Cause, title: str = "title", pattern: str = "literal") -> Signature:
    return Signature(
        "a/b", title, Severity.ERROR, Confidence.HIGH, Role.ROOT, Text((pattern,)), causes, (), (), (), (), (), ()
    )


def facts(**values: object) -> dict[str, Fact]:
    return {f"config.{key}": Fact(value) for key, value in values.items()}  # type: ignore[arg-type]


FIRST, SECOND, LAST = cause("first", x=1, y=1), cause("second", z=1), cause("last")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (facts(x=1, y=1), [FIRST]),
        (facts(x=1, y=1, z=1), [FIRST]),
        (facts(x=2, z=1), [SECOND]),
        (facts(z=1), [SECOND]),
        (facts(x=2, z=2), [LAST]),
        (facts(x=2), [SECOND, LAST]),
        (facts(z=2), [FIRST, LAST]),
        (facts(x=1), [FIRST, SECOND, LAST]),
        ({}, [FIRST, SECOND, LAST]),
    ],
)
def test_possible_causes(known: dict[str, Fact], expected: list[Cause]) -> None:
    assert possible_causes((FIRST, SECOND, LAST), known) == expected


def test_one_cause_is_said_plainly() -> None:
    assert explain(signature(FIRST, SECOND, LAST), facts(z=1), {}) == Explanation(
        "title", "second text", "second fix", ""
    )


def test_several_are_said_to_be_possible_with_what_would_decide() -> None:
    one, other = cause("one", config="a: 1", x=True), cause("other", config="b: 2")
    assert explain(signature(one, cause("bare", y="q"), other), {}, {}) == Explanation(
        "title",
        "Possible causes; the input does not decide:\n"
        "(1) if x = true: one text\n(2) if y = q: bare text\n(3) otherwise: other text",
        "In the same order:\n(1) one fix\n(2) bare fix\n(3) other fix",
        "# (1)\na: 1\n# (3)\nb: 2",
    )


def test_captures_are_filled_in_everywhere() -> None:
    one = Cause("{param} twice", "take {param} out", "skip: {param}", {}, "")
    found = explain(signature(one, title="About {param}", pattern=r"(?P<param>\w+) twice"), {}, {"param": "lora_B"})
    assert found == Explanation("About lora_B", "lora_B twice", "take lora_B out", "skip: lora_B")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a} and {b}", "1 and ..."),
        ("in {package}", "in the code that calls it"),
        ("${a} {{a}} {A} { a }", "${a} {{a}} {A} { a }"),
        ("{a}{a}", "11"),
        ("", ""),
    ],
)
def test_filling(text: str, expected: str) -> None:
    assert filled(text, {"a": "1"}) == expected


def test_what_was_captured_is_not_filled_again() -> None:
    assert filled("{a}", {"a": "{b}", "b": "no"}) == "{b}"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (None, "last fix Fixed in axolotl>=0.9."),
        ("unknown", "last fix Fixed in axolotl>=0.9."),
        ("0.8.1", "last fix Already fixed in axolotl>=0.9; this run has 0.8.1."),
        ("0.9.2", "last fix axolotl>=0.9 has a fix and this run has 0.9.2, so look for what keeps it from working."),
    ],
)
def test_the_release_with_the_fix_is_compared_with_the_version_of_the_run(version: str | None, expected: str) -> None:
    known = {} if version is None else {"version.axolotl": Fact(version)}
    assert explain(signature(cause("last", fixed_in="axolotl>=0.9")), known, {}).fix == expected


def test_the_release_is_found_however_the_package_is_spelt() -> None:
    known = {"version.flash-attn": Fact("2.5")}
    assert explain(signature(cause("last", fixed_in="Flash_Attn>=2.6")), known, {}).fix.endswith("this run has 2.5.")
