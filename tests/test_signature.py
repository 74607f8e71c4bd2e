"""Signature files: what a whole one becomes, and the exact complaint on each way to be wrong.

The faulty files lie in golden/signature_errors, each beside the complaint on it. UPDATE_GOLDEN=1 writes the complaints.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.errors import SignatureError
from doctor.facts import Equals, Version
from doctor.finding import Confidence, Role, Severity
from doctor.signature import PLACEHOLDER, Cause, RaisedBy, Sample, Scale, Setting, Text, Trace, capture_names, parse

WHOLE = r'''
title      = "DDP saw one parameter become ready twice"
severity   = "error"
confidence = "medium"
role       = "root"
explains   = ["torchrun/*"]
overlaps   = ["ddp/unused-parameters"]
raised_by  = [{ package = "torch", literal = "ready only once" }]
references = ["https://example.org/1"]

[text]
any    = [\'\'\'(?P<param>\S+) has been marked as ready twice\'\'\']
none   = ["static graph"]
frames = ["in backward"]

[[cause]]
when     = { "config.activation_offloading" = true, "version.torch" = ">=2.4" }
text     = "{param} is wrapped twice."
fix      = "Switch it off."
fixed_in = "axolotl>=0.9"

[[cause]]
text   = "Something else."
fix    = "Look for it."
config = """
key:
  inner: true
"""

[[hit]]
text = "Parameter a has been marked as ready twice"

[[miss]]
text = "Parameter a is ready"
why  = "it is ready once"
'''.replace("\\'", "'")

LEAST = """
title    = "t"
severity = "note"
[{match}]
{body}
[[cause]]
text = "c"
fix  = "f"
[[hit]]
text = "h"
[[miss]]
text = "m"
why  = "w"
"""


def least(match: str, body: str) -> str:
    return LEAST.format(match=match, body=body)


def test_a_whole_file() -> None:
    found = parse(WHOLE, "ddp/x", "ddp/x.toml")
    assert (found.id, found.title) == ("ddp/x", "DDP saw one parameter become ready twice")
    assert (found.severity, found.confidence, found.role) == (Severity.ERROR, Confidence.MEDIUM, Role.ROOT)
    assert found.match == Text((r"(?P<param>\S+) has been marked as ready twice",), ("static graph",), ("in backward",))
    assert found.causes == (
        Cause(
            "{param} is wrapped twice.",
            "Switch it off.",
            "",
            {"config.activation_offloading": Equals((True,)), "version.torch": Version(">=2.4")},
            "axolotl>=0.9",
        ),
        Cause("Something else.", "Look for it.", "key:\n  inner: true", {}, ""),
    )
    assert found.hits == (Sample("Parameter a has been marked as ready twice"),)
    assert found.misses == (Sample("Parameter a is ready", "it is ready once"),)
    assert (found.explains, found.overlaps) == (("torchrun/*",), ("ddp/unused-parameters",))
    assert found.raised_by == (RaisedBy("torch", "ready only once"),)
    assert found.references == ("https://example.org/1",)


def test_what_may_be_left_out_has_a_default() -> None:
    found = parse(least("text", 'any = ["a literal"]'), "a/b", "a/b.toml")
    assert (found.confidence, found.role) == (Confidence.HIGH, Role.EITHER)
    assert found.match == Text(("a literal",))
    assert (found.explains, found.overlaps, found.raised_by, found.references) == ((), (), (), ())


@pytest.mark.parametrize(
    ("match", "body", "expected"),
    [
        (
            "trace",
            'shape = "spike"\nseries = ["loss"]\nlimits = { factor = 3 }',
            Trace("spike", ("loss",), {"factor": 3}),
        ),
        (
            "scale",
            'shape = "drift"\nstatistic = "std"\nlimits = { threshold = 2 }',
            Scale("drift", "", "std", {"threshold": 2, "least": 3}),
        ),
        ("scale", 'shape = "dead"\npattern = "lora_B"', Scale("dead", "lora_B")),
        ("setting", 'key = "a.b"\nwhen = { "config.a" = [1, 2] }', Setting("a.b", {"config.a": Equals((1, 2))})),
        (
            "setting",
            'key = "a"\nany = [{ b = 1 }, { c = 2 }]\nunless = { d = 3 }\nshow = { e = "f" }',
            Setting("a", {}, ({"b": Equals((1,))}, {"c": Equals((2,))}), {"d": Equals((3,))}, {"e": "f"}),
        ),
    ],
)
def test_the_other_matches(match: str, body: str, expected: object) -> None:
    assert parse(least(match, body), "a/b", "a/b.toml").match == expected


FAULTY = sorted((Path(__file__).parent / "golden" / "signature_errors").glob("*.toml"))


@pytest.mark.parametrize("path", FAULTY, ids=[path.stem for path in FAULTY])
def test_each_fault_has_its_complaint(path: Path, golden: Callable[[str, str], None]) -> None:
    with pytest.raises(SignatureError) as refused:
        parse(path.read_text(), "ddp/ready-twice", "ddp/ready-twice.toml")
    complaint = str(refused.value)
    golden(f"signature_errors/{path.stem}.txt", complaint + "\n")
    assert complaint.startswith("ddp/ready-twice.toml: ")
    assert "\n" not in complaint


def test_there_is_a_complaint_for_every_fault() -> None:
    folder = FAULTY[0].parent
    assert {path.stem for path in folder.glob("*.txt")} == {path.stem for path in FAULTY}
    assert len(FAULTY) > 50


@pytest.mark.parametrize("pattern", ["(" * 3000 + ")" * 3000, "a{99999999999999999999}"])
def test_a_pattern_beyond_all_limits_does_not_compile(pattern: str) -> None:
    with pytest.raises(SignatureError, match=r"^a/b\.toml: text\.any\[1\]: the pattern does not compile: "):
        parse(least("text", f'any = ["{pattern}"]'), "a/b", "a/b.toml")


def test_toml_beyond_all_limits_is_no_toml() -> None:
    with pytest.raises(SignatureError, match=r"^a/b\.toml: not valid TOML: "):
        parse("a = " + "[" * 5000 + "]" * 5000, "a/b", "a/b.toml")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{a} and {b_c}", ["a", "b_c"]),
        ("${HOME} {{literal}} {A} {a.b} { a }", []),
        ('{"a": 1}', []),
        ("{% raw %}{a}", ["a"]),
    ],
)
def test_placeholders(text: str, names: list[str]) -> None:
    assert PLACEHOLDER.findall(text) == names


def test_a_text_captures_by_name() -> None:
    assert {"a", "b"} <= capture_names(Text((r"(?P<a>x)(y)", r"(?P<b>z)")))
    assert "c" not in capture_names(Text((r"(?P<a>x)",), none=(r"(?P<c>x)",)))


LINES = st.sampled_from(WHOLE.split("\n"))


@given(st.lists(LINES | st.text(max_size=20), max_size=25))
def test_no_text_makes_it_raise_anything_else(lines: list[str]) -> None:
    try:
        parse("\n".join(lines), "a/b", "a/b.toml")
    except SignatureError as fault:
        assert str(fault).startswith("a/b.toml: ")


@given(st.integers(0, WHOLE.count("\n") - 1))
def test_no_line_can_be_lost_without_one_clear_complaint(gone: int) -> None:
    lines = WHOLE.split("\n")
    try:
        parse("\n".join(lines[:gone] + lines[gone + 1 :]), "a/b", "a/b.toml")
    except SignatureError as fault:
        assert str(fault).startswith("a/b.toml: ")
