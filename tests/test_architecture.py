"""The shape of the code: who may import whom, how long a file may be, what it may be called."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "doctor"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A module may import from its own layer and from those above it in this list; the packages of one line never import each other.
LAYERS = (
    {"errors", "finding", "forked", "whole_file"},
    {"captures", "masks", "metric_keys", "points", "toml_table", "waits"},
    {"facts", "models"},
    {"settings", "signature"},
    {"causes", "catalog"},
    {"logs", "traces", "weights", "config"},
    {"rootcause"},
    {"report"},
    {"redact"},
    {"diagnose", "render", "check", "inputs", "provenance"},
    {"cli"},
    {"__main__"},
)
APART = {"logs", "traces", "weights", "config"}
MAY_IMPORT = {
    "click": {"doctor/cli.py"},
    "rich": {"doctor/cli.py", "doctor/render/"},
    "torch": {"doctor/weights/"},
    "safetensors": {"doctor/weights/"},
    "pandas": {"doctor/traces/points_table.py", "doctor/weights/"},
    "hyperscan": {"doctor/logs/"},
    "numkong": {"doctor/weights/moments.py"},
    "ruamel": {"doctor/config/", "doctor/weights/"},
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "core", "base", "common", "manager", "misc"}
TOP_LEVEL = {"setup.cfg", "setup.py", "README.rst", "doctor", "signatures", "tests", "fixtures"}
BUILD = {"build", "dist"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part(module: str) -> str | None:
    """doctor.logs.scan.Hit -> logs; None outside doctor."""
    names = module.split(".")
    return names[1] if names[0] == "doctor" and len(names) > 1 else None


def layer(name: str) -> int:
    return next(n for n, names in enumerate(LAYERS) if name in names)


def own_part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards(path: Path) -> None:
    own = own_part(path)
    if own == "__init__":
        assert not {one for one in imports(path) if one.startswith("doctor")}
        return
    for module in imports(path):
        other = part(module)
        if other in (None, own, "__version__"):
            continue
        assert layer(other) <= layer(own), f"{own} imports {module} from a layer above it"
        assert not {own, other} <= APART, f"{own} and {other} must not know each other"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_are_imported_where_they_belong(path: Path) -> None:
    where = str(path.relative_to(ROOT))
    for module in imports(path):
        allowed = MAY_IMPORT.get(module.split(".")[0])
        assert allowed is None or any(where.startswith(one) for one in allowed), f"{where} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_named_for_what_is_in_them(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert path.stem not in FORBIDDEN_NAMES
    assert path.name != "__init__.py" or len(path.read_text().splitlines()) <= 5


def test_no_import_cycles() -> None:
    graph = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): imports(path) for path in MODULES}
    edges = {
        name: {other for other in graph if any(m == other or m.startswith(other + ".") for m in found)} - {name}
        for name, found in graph.items()
    }
    while edges:
        leaves = {name for name, others in edges.items() if not others & edges.keys()}
        assert leaves, f"a cycle among {sorted(edges)}"
        edges = {name: others for name, others in edges.items() if name not in leaves}


def test_packages_are_the_designed_ones() -> None:
    known = set().union(*LAYERS)
    assert {own_part(path) for path in MODULES} - {"__init__"} <= known


def test_top_level_is_fixed() -> None:
    ours = {
        path.name for path in ROOT.iterdir() if not path.name.startswith(".") and not path.name.endswith(".egg-info")
    }
    assert ours - BUILD == TOP_LEVEL
