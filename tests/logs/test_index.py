"""The cached index: whatever happens to its file, the index is right and doctor runs."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from doctor.catalog import Catalog, SignatureFile, catalog_of
from doctor.errors import SignatureError
from doctor.logs import index as index_module
from doctor.logs.index import KEPT, Index, cache_file, compile_index, load_index

DATA = (
    b"RuntimeError: Expected to mark a variable ready only once\nKeyError: 'text'\n"
    b"Traceback (most recent call last):\n'loss': 1.0\n"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def same(one: Index, other: Index) -> bool:
    fields = ("texts", "owners", "keys", "squeezed")
    hits = [(index.scanner.hits(DATA), index.squeezed_scanner.hits(DATA.replace(b" ", b""))) for index in (one, other)]
    return (
        all(getattr(one, field) == getattr(other, field) for field in fields)
        and hits[0] == hits[1]
        and bool(hits[0][0])
    )


@pytest.fixture
def cached(small: Catalog) -> Path:
    load_index(small)
    return cache_file(small)


def refuse_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "compile_index", lambda catalog: pytest.fail("compiled, though it is cached"))


def test_the_second_time_it_is_read_and_equal_to_a_fresh_one(
    small: Catalog, small_index: Index, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_compile(monkeypatch)
    assert same(load_index(small), small_index)


def test_the_bundled_index_is_read_as_it_was_written(
    bundled: Catalog, bundled_index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "compile_index", lambda catalog: bundled_index)
    load_index(bundled)
    refuse_to_compile(monkeypatch)
    assert same(load_index(bundled), bundled_index)


def signed(body: bytes) -> bytes:
    return hashlib.sha256(body).digest() + body


def packed(*parts: bytes) -> bytes:
    return signed(index_module._packed(list(parts)))


def with_flipped_bit(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def with_other_scanner(data: bytes) -> bytes:
    head, scanner, squeezed = index_module._unpacked(data[32:])
    return packed(head, with_flipped_bit(scanner), squeezed)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut in the digest": lambda data: data[:20],
    "cut": lambda data: data[: len(data) // 2],
    "cut by one byte": lambda data: data[:-1],
    "one bit": with_flipped_bit,
    "a letter of a pattern": lambda data: data.replace(b"only once", b"only ance", 1),
    "something behind it": lambda data: data + b"x",
    "garbage": lambda data: os.urandom(len(data)),
    "garbage with a right digest": lambda data: signed(os.urandom(5000)),
    "nothing with a right digest": lambda data: signed(b""),
    "a length beyond the end": lambda data: signed(b"\xff" * 8 + b"x"),
    "two parts": lambda data: packed(b"{}", b""),
    "no JSON": lambda data: packed(b"{", b"", b""),
    "a list": lambda data: packed(b"[]", b"", b""),
    "a number": lambda data: packed(b"1", b"", b""),
    "keys missing": lambda data: packed(b"{}", b"", b""),
    "texts of another kind": lambda data: packed(
        json.dumps({"texts": {"a/b": [1]}, "squeezed": [], "owners": [], "keys": []}).encode(), b"", b""
    ),
    "texts of too many fields": lambda data: packed(
        json.dumps({"texts": {"a/b": [[]] * 9}, "squeezed": [], "owners": [], "keys": []}).encode(), b"", b""
    ),
    "scanners missing": lambda data: packed(index_module._unpacked(data[32:])[0], b"", b""),
    "a damaged scanner": with_other_scanner,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_cache_is_compiled_again_and_mended(
    kind: str, small: Catalog, small_index: Index, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached.write_bytes(DAMAGE[kind](cached.read_bytes()))
    assert same(load_index(small), small_index)
    refuse_to_compile(monkeypatch)
    assert same(load_index(small), small_index)


def test_a_folder_in_its_place_is_no_failure(small: Catalog, small_index: Index) -> None:
    cache_file(small).mkdir(parents=True)
    assert same(load_index(small), small_index)
    assert os.listdir(cache_file(small).parent) == [cache_file(small).name]


def test_a_home_that_can_not_be_written_is_no_failure(small: Catalog, small_index: Index, home: Path) -> None:
    (home / "cache").write_text("a file where the folder should be")
    assert same(load_index(small), small_index)


def test_a_full_disk_is_no_failure_and_leaves_nothing(
    small: Catalog, small_index: Index, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert same(load_index(small), small_index)
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_nobody_without_a_home_gets_a_folder_called_tilde(
    small: Catalog, small_index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "cache_file", lambda catalog: Path("~/.cache/doctor/index.bin"))
    monkeypatch.chdir(tmp_path)
    assert same(load_index(small), small_index)
    assert not (tmp_path / "~").exists()


def test_another_catalogue_has_another_cache(
    small: Catalog, cached: Path, make_signature: Callable[..., SignatureFile]
) -> None:
    other = catalog_of([*small.files.values(), make_signature("a/b", "another literal")])
    assert cache_file(other) != cached
    assert "a/b" in load_index(other).texts
    assert "a/b" not in load_index(small).texts


WRITER = """
import sys
import time
from pathlib import Path
from doctor.catalog import catalog_of, read_folder
from doctor.logs.index import cache_file, compile_index, load_index, _written
catalog = catalog_of(read_folder(Path(sys.argv[1])))
index = compile_index(catalog)
for _ in range(30):
    _written(cache_file(catalog), index)
    assert load_index(catalog).texts == index.texts
"""


def test_processes_may_write_at_once(
    small: Catalog, small_index: Index, root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in small.files.values():
        (home / "signatures" / file.where).parent.mkdir(parents=True, exist_ok=True)
        (home / "signatures" / file.where).write_text(file.text)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", WRITER, str(home / "signatures")]
    writers = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 2
    refuse_to_compile(monkeypatch)
    assert same(load_index(small), small_index)
    assert (
        len(list((home / "cache").rglob("*.bin")))
        == len([path for path in (home / "cache").rglob("*") if path.is_file()])
        == 1
    )


def test_a_faulty_file_is_named(make_signature: Callable[..., SignatureFile]) -> None:
    faulty = SignatureFile("a/b", "a/b.toml", 'title = 1\n[text]\nany = ["literal"]')
    with pytest.raises(SignatureError, match=r"^a/b\.toml: title: expected a text that is not empty$"):
        compile_index(catalog_of([faulty]))


def test_settings_that_signatures_ask_for_are_its_keys(bundled_index: Index) -> None:
    assert "gradient_checkpointing_kwargs.use_reentrant" in bundled_index.keys
    assert list(bundled_index.keys) == sorted(set(bundled_index.keys))


def old_caches(folder: Path, days: dict[str, float]) -> None:
    """Caches of other catalogues, last used so many days ago."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, ago in days.items():
        (folder / name).write_bytes(b"old")
        os.utime(folder / name, (time.time() - ago * 86400,) * 2)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_caches_that_were_long_not_used_are_dropped_when_one_is_written(small: Catalog) -> None:
    path = cache_file(small)
    old_caches(path.parent, {f"index-{n}.bin": 20 + n for n in range(9)})
    load_index(small)
    assert names(path.parent) == {path.name, *(f"index-{n}.bin" for n in range(KEPT))}


def test_caches_in_use_are_kept_however_many(small: Catalog) -> None:
    path, days = cache_file(small), {f"index-{n}.bin": n / 10 for n in range(KEPT + 9)}
    old_caches(path.parent, days)
    load_index(small)
    assert names(path.parent) == {path.name, *days}


def test_reading_a_cache_is_using_it(
    small: Catalog, cached: Path, make_signature: Callable[..., SignatureFile]
) -> None:
    old_caches(cached.parent, {f"index-{n}.bin": 20 + n for n in range(9)})
    os.utime(cached, (time.time() - 99 * 86400,) * 2)
    load_index(small)
    load_index(catalog_of([*small.files.values(), make_signature("a/b", "another literal")]))
    assert cached.is_file()


def test_a_cache_that_is_only_read_drops_nothing(small: Catalog, cached: Path) -> None:
    days = {f"index-{n}.bin": 20.0 + n for n in range(9)}
    old_caches(cached.parent, days)
    load_index(small)
    assert names(cached.parent) == {cached.name, *days}


def test_only_caches_of_this_kind_and_what_their_writers_left_are_dropped(small: Catalog) -> None:
    path = cache_file(small)
    kept = {"other.bin": 99.0, "index-note.txt": 99.0, ".index-now.bin.7": 0.0}
    old_caches(path.parent, {**kept, ".index-gone.bin.7": 99.0})
    load_index(small)
    assert names(path.parent) == {path.name, *kept}


def test_a_cache_that_another_process_drops_first_is_no_failure(
    small: Catalog, small_index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, unlink = cache_file(small), Path.unlink
    old_caches(path.parent, {f"index-{n}.bin": 20 + n for n in range(9)})

    def gone(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        if path.name.startswith("index-"):
            raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "unlink", gone)
    assert same(load_index(small), small_index)
    assert names(path.parent) == {path.name, *(f"index-{n}.bin" for n in range(KEPT))}


def test_a_cache_that_is_dropped_while_it_is_read_is_compiled_again(
    small: Catalog, small_index: Index, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (path.unlink(), read(path))[1])
    assert same(load_index(small), small_index)
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read(path), path.unlink())[0])
    assert same(load_index(small), small_index)
