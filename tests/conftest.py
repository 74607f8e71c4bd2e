"""What many tests need: where the fixtures are, the catalogue, and a home of their own."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from doctor import catalog as catalog_module
from doctor.catalog import Catalog

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor write the user's cache and signatures."""
    home = tmp_path_factory.mktemp("home")
    os.environ.update(XDG_CACHE_HOME=str(home / "cache"), XDG_CONFIG_HOME=str(home / "config"))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def fixture_logs() -> Path:
    return ROOT / "fixtures" / "logs"


@pytest.fixture(scope="session")
def bundled(own_home: None) -> Catalog:
    """All bundled signatures."""
    return catalog_module.load()


@pytest.fixture(scope="session")
def golden() -> Callable[[str, str], None]:
    """Compares a text with tests/golden/NAME; with UPDATE_GOLDEN=1 in the environment it writes the file instead."""

    def compare(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.read_text() == text

    return compare
