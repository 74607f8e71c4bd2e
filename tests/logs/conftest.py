"""Small catalogues, and what they find in a text."""

import json
from collections.abc import Callable

import pytest

from doctor.catalog import Catalog, SignatureFile, catalog_of
from doctor.logs.block_cuts import Block
from doctor.logs.index import Index, compile_index
from doctor.logs.match import LogResult, find_in_blocks
from doctor.signature import parse

TEMPLATE = """
title    = {title}
severity = {severity}
role     = {role}
explains = {explains}
[text]
any = {any}
none = {none}
frames = {frames}
[[cause]]
text = "why"
fix  = "how"
[[hit]]
text = "hit"
[[miss]]
text = "miss"
why  = "because"
"""


def signature_file(id: str, *any: str, **keys: object) -> SignatureFile:
    """The file of a text signature that these patterns find."""
    values = {
        "title": id,
        "severity": "error",
        "role": "root",
        "explains": [],
        "none": [],
        "frames": [],
        **keys,
        "any": list(any),
    }
    text = TEMPLATE.format(**{key: json.dumps(value) for key, value in values.items()})
    parse(text, id, f"{id}.toml")
    return SignatureFile(id, f"{id}.toml", text)


@pytest.fixture(scope="session")
def make_signature() -> Callable[..., SignatureFile]:
    return signature_file


@pytest.fixture(scope="session")
def small() -> Catalog:
    """Two roots and an echo."""
    return catalog_of(
        [
            signature_file("ddp/ready-twice", r"mark a variable (?P<what>\w+) only once"),
            signature_file("data/missing-text", r"KeyError: 'text'"),
            signature_file("gloo/peer-closed", "Connection closed by peer", role="echo"),
        ]
    )


@pytest.fixture(scope="session")
def small_index(small: Catalog) -> Index:
    return compile_index(small)


@pytest.fixture(scope="session")
def bundled_index(bundled: Catalog) -> Index:
    return compile_index(bundled)


def result(logs: dict[str, str | bytes], catalog: Catalog, index: Index) -> LogResult:
    """What logs, given by path, hold; each is one block."""
    data = {path: log.encode() if isinstance(log, str) else log for path, log in logs.items()}
    return find_in_blocks([(path, [Block(log, len(log))] if log else []) for path, log in data.items()], catalog, index)


@pytest.fixture(scope="session")
def find(small: Catalog, small_index: Index) -> Callable[..., LogResult]:
    """The result of the small catalogue on the text of one log, or on several by path."""
    return lambda logs: result(logs if isinstance(logs, dict) else {"run.log": logs}, small, small_index)


@pytest.fixture(scope="session")
def find_all(bundled: Catalog, bundled_index: Index) -> Callable[..., LogResult]:
    """The same with all bundled signatures."""
    return lambda logs: result(logs if isinstance(logs, dict) else {"run.log": logs}, bundled, bundled_index)
