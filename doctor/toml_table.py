"""A TOML table read key by key: each fault is one sentence that names the file, the key and the remedy."""

import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NoReturn

from doctor.errors import SignatureError


class TomlTable:
    """A table of a signature file. Every ``take`` removes its key; ``done`` refuses what is left."""

    def __init__(self, table: dict[str, object], where: str, key: str = "") -> None:
        self._left = dict(table)
        self._known: list[str] = []
        self._where = where
        self._key = key

    def place(self, key: str) -> str:
        """The file and the dotted key, as messages name them."""
        path = ".".join(part for part in (self._key, key) if part)
        return f"{self._where}: {path}" if path else self._where

    def fail(self, key: str, sentence: str) -> NoReturn:
        """Raise SignatureError for a key of this table (or for the table itself, if the key is empty)."""
        raise SignatureError(f"{self.place(key)}: {sentence}")

    def text(self, key: str, *, default: str | None = None) -> str:
        """A text that isn't blank."""
        value = self._take(key, default)
        if not isinstance(value, str) or (not value.strip() and value != default):
            self.fail(key, "expected a text that is not empty")
        return value.strip()

    def choice(self, key: str, choices: Iterable[str], *, default: str | None = None) -> str:
        """One word out of a closed list."""
        names = list(choices)
        value = self.text(key, default=default)
        if value not in names:
            self.fail(key, f'"{value}" is not one of {", ".join(names)}{_nearest(value, names)}')
        return value

    def texts(self, key: str, *, required: bool = False) -> tuple[str, ...]:
        """A list of texts."""
        value = self._take(key, None if required else [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.fail(key, "expected a list of texts, even for one: ['''...''']")
        if not all(value):
            self.fail(key, "a text in the list is empty; fill it in or take it out")
        if required and not value:
            self.fail(key, "the list is empty; give at least one text")
        return tuple(value)

    def seconds(self, key: str) -> float:
        """A number of seconds, 0 where the key is absent."""
        value = self._take(key, 0)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
            self.fail(key, "expected a number of seconds")
        return float(value)

    def flag(self, key: str) -> bool:
        """Whether the key is true; it may be absent."""
        value = self._take(key, default=False)
        if not isinstance(value, bool):
            self.fail(key, "expected true or false")
        return value

    def table(self, key: str) -> "TomlTable | None":
        """A table below this one, if it is there."""
        value = self.mapping(key)
        return None if value is None else TomlTable(value, self._where, ".".join(filter(None, (self._key, key))))

    def mapping(self, key: str) -> dict[str, object] | None:
        """A table below this one as it stands, if it is there."""
        value = self._take(key, {})
        if not isinstance(value, dict):
            self.fail(key, f"expected a table; write [{key}]")
        return value or None

    def mappings(self, key: str) -> list[dict[str, object]]:
        """A list of tables below this one as they stand."""
        value = self._take(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) and one for one in value):
            self.fail(key, "expected a list of tables: [{ KEY = VALUE }, { KEY = VALUE }]")
        return value

    def tables(self, key: str, *, least: int = 0) -> list["TomlTable"]:
        """An array of tables below this one, with at least so many members."""
        value = self._take(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self.fail(key, f"expected an array of tables; write [[{key}]]")
        if len(value) < least:
            misspelt = _nearest(key, self._left, "is it misspelt as")
            self.fail(key, f"missing{misspelt}; add at least one [[{key}]] table")
        return [TomlTable(one, self._where, f"{key}[{i}]") for i, one in enumerate(value, 1)]

    def done(self) -> None:
        """Refuse keys that nothing asked for."""
        for key in self._left:
            self.fail(key, f"unknown key{_nearest(key, self._known)}; the known keys are {', '.join(self._known)}")

    def _take(self, key: str, default: object) -> object:
        self._known.append(key)
        value = self._left.pop(key, default)
        if value is None:
            self.fail(key, f"missing{_nearest(key, self._left, 'is it misspelt as') or '; this key is required'}")
        return value


def parse_toml(text: str, where: str) -> TomlTable:
    """The top table of a TOML file."""
    try:
        return TomlTable(tomllib.loads(text), where)
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        raise SignatureError(f"{where}: not valid TOML: {fault}") from None


def _nearest(word: str, known: Iterable[str], question: str = "did you mean") -> str:
    close = get_close_matches(word, list(known), n=1)
    return f'; {question} "{close[0]}"?' if close else ""
