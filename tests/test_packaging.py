"""Signatures are found in a wheel, an sdist, an editable install and a bare checkout."""

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

LOG = "fixtures/logs/failing/ddp-marked-ready-twice.log"


@pytest.fixture(scope="session")
def distributions(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and an sdist, built from a copy of what git tracks or would track."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (root / name).is_file() and not name.startswith("fixtures/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((root / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture
def fresh_python(tmp_path: Path) -> Iterator[Path]:
    """A fresh virtual environment that borrows doctor's requirements from this one, but not doctor."""
    venv.create(tmp_path / "venv", with_pip=True)
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    yield tmp_path / "venv" / "bin" / "python"


def install(python: Path, *what: str) -> None:
    """Install doctor alone, although the borrowed requirements may bring one."""
    options = ["-q", "--no-deps", "--ignore-installed", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "pip", "install", *options, *what], check=True, capture_output=True)


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_doctor_runs_from_a_distribution(
    kind: str, distributions: Path, fresh_python: Path, root: Path, tmp_path: Path
) -> None:
    [file] = distributions.glob(kind)
    install(fresh_python, str(file))
    where = subprocess.run(
        [fresh_python, "-c", "import doctor; print(doctor.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path) in where.stdout, "the installed doctor is the one that runs"
    result = subprocess.run(
        [fresh_python.parent / "doctor", "logs", root / LOG], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.stdout.startswith("FOUND  error ddp/marked-ready-twice"), result.stderr


def test_doctor_runs_from_a_bare_checkout(root: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "doctor", "logs", LOG], cwd=root, capture_output=True, text=True, check=False
    )
    assert result.stdout.startswith("FOUND  error ddp/marked-ready-twice")


def test_doctor_runs_from_an_editable_install(fresh_python: Path, root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("setup.py", "setup.cfg", "README.rst", "doctor", "signatures"):
        (copy / name).symlink_to(root / name)
    install(fresh_python, "-e", str(copy))
    result = subprocess.run(
        [fresh_python.parent / "doctor", "logs", root / LOG], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.stdout.startswith("FOUND  error ddp/marked-ready-twice"), result.stderr


def test_the_wheel_holds_code_and_signatures_only(distributions: Path) -> None:
    import zipfile

    [wheel] = distributions.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("doctor/signatures/ddp/") for name in names)
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"doctor"}
