"""Conditions on facts: what they ask, when they hold, and when nobody knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.errors import SignatureError
from doctor.facts import Fact, Value, admits, holds, parse_conditions, words


def asked(key: str, test: object, facts: dict[str, Value]) -> bool | None:
    return holds(parse_conditions({key: test}, "when"), {name: Fact(value) for name, value in facts.items()})


@pytest.mark.parametrize(
    ("test", "value", "expected"),
    [
        ("qlora", "qlora", True),
        ("qlora", "QLoRA", True),
        ("qlora", "lora", False),
        (["lora", "qlora"], "lora", True),
        (["lora", "qlora"], "full", False),
        (True, True, True),
        (True, False, False),
        (True, 1, False),
        (1, True, False),
        (1, 1, True),
        (1, 1.0, True),
        (0, False, False),
        (False, None, True),
        (True, None, False),
        ("x", None, False),
        ({"present": True}, "x", True),
        ({"present": True}, None, False),
        ({"present": False}, None, True),
        ({"present": False}, False, False),
        ({"not": "qlora"}, "lora", True),
        ({"not": "qlora"}, "qlora", False),
        ({"not": ["a", "b"]}, "b", False),
        ({"not": True}, None, True),
        ({"contains": "zero3"}, "ds/ZeRO3.json", True),
        ({"contains": "zero3"}, None, False),
        ({"lacks": "zero3"}, "ds/zero2.json", True),
        ({"above": 4096}, 8192, True),
        ({"above": 4096}, 4096, False),
        ({"below": 1e-4}, "1e-5", True),
        ({"above": 1}, "x", False),
        ({"above": 1}, None, False),
        ({"above": 0}, True, False),
    ],
)
def test_a_known_fact_decides(test: object, value: Value, expected: bool) -> None:
    assert asked("config.key", test, {"config.key": value}) is expected


@pytest.mark.parametrize(
    "test", ["x", True, ["a"], {"present": True}, {"present": False}, {"not": "x"}, {"contains": "x"}, {"above": 1}]
)
def test_an_unknown_fact_decides_nothing(test: object) -> None:
    assert asked("config.key", test, {}) is None


def test_all_conditions_must_hold_and_one_that_fails_is_enough() -> None:
    conditions = parse_conditions({"a": 1, "b": 2, "c": 3}, "when")
    assert holds(conditions, {"a": Fact(1), "b": Fact(2), "c": Fact(3)}) is True
    assert holds(conditions, {"a": Fact(1), "b": Fact(2)}) is None
    assert holds(conditions, {"b": Fact(9)}) is False
    assert holds({}, {}) is True


@pytest.mark.parametrize(
    ("specifier", "version", "expected"),
    [
        (">=5.0,<5.6", "5.5.1", True),
        (">=5.0,<5.6", "5.6.0", False),
        ("<4.48", "4.47.1", True),
        (">=2.4", "2.4.0+cu121", True),
        ("==2.4.0", "2.4.0+cu121", True),
        (">=2.4", "2.4.0a0+git1234", False),
        (">=2.4", "2.5.0.dev20241101", True),
        (">=5.0.0rc1", "5.0.0rc2", True),
        (">=2.4", "unknown", None),
        (">=2.4", "None", None),
    ],
)
def test_versions(specifier: str, version: str, expected: bool | None) -> None:
    assert admits(specifier, version) is expected
    assert asked("version.torch", specifier, {"version.torch": version}) is expected


@pytest.mark.parametrize(
    ("key", "test"),
    [
        ("config.a", []),
        ("config.a", [[1]]),
        ("config.a", {}),
        ("config.a", {"present": 1}),
        ("config.a", {"present": True, "not": 1}),
        ("config.a", {"is": 1}),
        ("config.a", {"not": []}),
        ("config.a", {"contains": ""}),
        ("config.a", {"contains": 1}),
        ("config.a", {"above": "x"}),
        ("config.a", {"above": True}),
        ("version.a", ""),
        ("version.a", "new"),
        ("version.a", 5),
        ("version.a", {"present": True}),
    ],
)
def test_what_can_not_be_asked(key: str, test: object) -> None:
    with pytest.raises(SignatureError, match=rf"^a\.toml: when\.{key}: "):
        parse_conditions({key: test}, "a.toml: when")


def test_conditions_as_a_person_says_them() -> None:
    conditions = parse_conditions(
        {
            "config.adapter": ["lora", "qlora"],
            "version.transformers": ">=5.0",
            "config.fsdp": {"present": True},
            "config.ddp": {"present": False},
            "config.packing": True,
            "strategy": {"not": "ddp"},
            "config.deepspeed": {"contains": "zero3"},
            "world_size": {"above": 8},
        },
        "when",
    )
    assert words(conditions) == (
        "adapter = lora or qlora and transformers >=5.0 and fsdp is set and ddp is not set and packing = true and "
        "strategy is not ddp and deepspeed has zero3 and world_size > 8"
    )


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_version_text_raises(specifier: str, version: str) -> None:
    try:
        conditions = parse_conditions({"version.torch": specifier}, "when")
    except SignatureError:
        return
    assert holds(conditions, {"version.torch": Fact(version)}) in (True, False, None)
