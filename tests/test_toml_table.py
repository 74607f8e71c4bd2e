"""A table read key by key: each fault names the file, the key and the remedy."""

import pytest

from doctor.errors import SignatureError
from doctor.toml_table import TomlTable, parse_toml


def table(text: str) -> TomlTable:
    return parse_toml(text, "a/b.toml")


def complaint(call: object) -> str:
    with pytest.raises(SignatureError) as refused:
        call()  # type: ignore[operator]
    return str(refused.value)


def test_values_of_each_kind() -> None:
    found = table(
        'a = " x "\nb = ["y", "z"]\nc = { d = 1 }\nword = "one"\n[[e]]\nf = "1"\n[[e]]\nf = "2"\n[g]\nh = "i"'
    )
    assert found.text("a") == "x"
    assert found.texts("b") == ("y", "z")
    assert found.mapping("c") == {"d": 1}
    assert found.choice("word", ["one", "two"]) == "one"
    assert [one.text("f") for one in found.tables("e", least=2)] == ["1", "2"]
    inner = found.table("g")
    assert inner is not None
    assert inner.text("h") == "i"
    found.done()


def test_what_is_not_there() -> None:
    found = table("")
    assert (found.text("a", default=""), found.text("b", default="x"), found.texts("c")) == ("", "x", ())
    assert (found.table("d"), found.mapping("e"), found.mappings("f"), found.tables("g")) == (None, None, [], [])
    assert found.choice("h", ["one"], default="one") == "one"


@pytest.mark.parametrize(
    ("text", "read", "expected"),
    [
        ("", lambda one: one.text("key"), "key: missing; this key is required"),
        ("kee = 1", lambda one: one.text("key"), 'key: missing; is it misspelt as "kee"?'),
        ("key = 1", lambda one: one.text("key"), "key: expected a text that is not empty"),
        ('key = " "', lambda one: one.text("key", default=""), "key: expected a text that is not empty"),
        (
            'key = "on"',
            lambda one: one.choice("key", ["one", "two"]),
            'key: "on" is not one of one, two; did you mean "one"?',
        ),
        ('key = "xyz"', lambda one: one.choice("key", ["one", "two"]), 'key: "xyz" is not one of one, two'),
        ('key = "x"', lambda one: one.texts("key"), "key: expected a list of texts, even for one: ['''...''']"),
        ("key = [1]", lambda one: one.texts("key"), "key: expected a list of texts, even for one: ['''...''']"),
        ('key = [""]', lambda one: one.texts("key"), "key: a text in the list is empty; fill it in or take it out"),
        ("key = []", lambda one: one.texts("key", required=True), "key: the list is empty; give at least one text"),
        ("", lambda one: one.texts("key", required=True), "key: missing; this key is required"),
        ("key = -1", lambda one: one.seconds("key"), "key: expected a number of seconds"),
        ("key = true", lambda one: one.seconds("key"), "key: expected a number of seconds"),
        ("key = 1", lambda one: one.flag("key"), "key: expected true or false"),
        ("key = 1", lambda one: one.table("key"), "key: expected a table; write [key]"),
        (
            "key = 1",
            lambda one: one.mappings("key"),
            "key: expected a list of tables: [{ KEY = VALUE }, { KEY = VALUE }]",
        ),
        ("key = [1]", lambda one: one.tables("key"), "key: expected an array of tables; write [[key]]"),
        ("[key]\na = 1", lambda one: one.tables("key"), "key: expected an array of tables; write [[key]]"),
        ("", lambda one: one.tables("key", least=1), "key: missing; add at least one [[key]] table"),
        (
            "[[keys]]",
            lambda one: one.tables("key", least=1),
            'key: missing; is it misspelt as "keys"?; add at least one [[key]] table',
        ),
        ("[a]\nb = 1", lambda one: one.table("a").text("b"), "a.b: expected a text that is not empty"),
        ("[[a]]\n[[a]]\nb = 1", lambda one: one.tables("a")[1].text("b"), "a[2].b: expected a text that is not empty"),
        ("a = 1", lambda one: one.fail("", "no"), "no"),
    ],
)
def test_faults(text: str, read: object, expected: str) -> None:
    found = table(text)
    assert complaint(lambda: read(found)) == f"a/b.toml: {expected}"  # type: ignore[operator]


def test_keys_that_nothing_asked_for_are_refused() -> None:
    found = table('title = "x"\ntitel = "y"')
    found.text("title")
    found.text("role", default="")
    assert (
        complaint(found.done) == 'a/b.toml: titel: unknown key; did you mean "title"?; the known keys are title, role'
    )


@pytest.mark.parametrize("text", ["a", "a = ", "a = 1\na = 2", "[a]\n[a]", 'a = "\n"', "\x00"])
def test_what_is_no_toml(text: str) -> None:
    assert complaint(lambda: table(text)).startswith("a/b.toml: not valid TOML: ")
