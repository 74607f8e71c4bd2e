"""The catalogue: where signatures are looked for, which one counts, and what is said of files that can't be used."""

import os
from pathlib import Path

import pytest

from doctor import catalog as catalog_module
from doctor.catalog import Catalog, SignatureFile, catalog_of, load, read_folder
from doctor.errors import SignatureError

TEXT = """
title    = "{title}"
severity = "error"
[text]
any = ["a literal"]
[[cause]]
text = "c"
fix  = "f"
[[hit]]
text = "a literal"
[[miss]]
text = "m"
why  = "w"
"""


def write(folder: Path, id: str, title: str = "t") -> None:
    (folder / id).parent.mkdir(parents=True, exist_ok=True)
    (folder / f"{id}.toml").write_text(TEXT.format(title=title))


def file(id: str, title: str = "t") -> SignatureFile:
    return SignatureFile(id, f"{id}.toml", TEXT.format(title=title))


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user folder that is not there yet, and bundled signatures of which there is one."""
    write(tmp_path / "bundled", "a/bundled")
    monkeypatch.setattr(catalog_module, "bundled", lambda: tmp_path / "bundled")
    monkeypatch.setattr(catalog_module, "user_folder", lambda: tmp_path / "own")
    return tmp_path


def test_files_of_families_are_read_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, "ddp/one")
    write(tmp_path, "fsdp/two")
    for name in ("README.rst", "top.toml", "ddp/notes.txt", "ddp/.hidden.toml", "ddp/deeper/three.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = sorted(read_folder(tmp_path), key=lambda one: one.id)
    assert found == [
        SignatureFile("ddp/one", "ddp/one.toml", TEXT.format(title="t")),
        SignatureFile("fsdp/two", "fsdp/two.toml", TEXT.format(title="t")),
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "{folder}: no such folder; give the folder that holds FAMILY/NAME.toml"),
        (
            lambda folder: folder.write_text("x"),
            "{folder}: no such folder; give the folder that holds FAMILY/NAME.toml",
        ),
        (lambda folder: folder.mkdir(), "{folder}: no signatures in it; they lie in FAMILY/NAME.toml"),
        (
            lambda folder: (folder / "a/b.toml").mkdir(parents=True),
            "a/b.toml: can't be read: Is a directory; check its permissions or take it out",
        ),
        (
            lambda folder: ((folder / "a").mkdir(parents=True), (folder / "a/b.toml").write_bytes(b'title = "\xff"')),
            "a/b.toml: not UTF-8, which TOML has to be; save it as UTF-8",
        ),
        (
            lambda folder: ((folder / "a").mkdir(parents=True), (folder / "a/b.toml").symlink_to("b.toml")),
            "a/b.toml: can't be read: Too many levels of symbolic links; check its permissions or take it out",
        ),
    ],
)
def test_a_folder_that_can_not_be_used_is_refused(tmp_path: Path, make: object, message: str) -> None:
    folder = tmp_path / "signatures"
    make(folder)  # type: ignore[operator]
    with pytest.raises(SignatureError) as refused:
        read_folder(folder)
    assert str(refused.value) == message.format(folder=folder)


def test_a_later_folder_replaces_an_earlier_ones_signature(homeless: Path) -> None:
    write(homeless / "own", "a/own")
    write(homeless / "own", "a/bundled", "of the user")
    write(homeless / "given", "a/own", "given")
    assert load().named("a/bundled").title == "of the user"
    found = load((homeless / "given",))
    assert list(found.files) == ["a/bundled", "a/own"]
    assert found.named("a/own").title == "given"


def test_a_user_without_signatures_has_the_bundled_ones(homeless: Path) -> None:
    assert list(load().files) == ["a/bundled"]
    (homeless / "own").mkdir()
    assert list(load().files) == ["a/bundled"]


def test_a_given_folder_without_signatures_is_refused(homeless: Path) -> None:
    (homeless / "given").mkdir()
    with pytest.raises(SignatureError, match="no signatures in it"):
        load((homeless / "given",))


def test_the_digest_is_of_the_contents_not_of_their_order_or_place(tmp_path: Path) -> None:
    one, other = file("a/b"), file("c/d")
    assert (
        catalog_of([one, other]).digest
        == catalog_of([other, one]).digest
        == catalog_of([other, SignatureFile("a/b", "elsewhere", one.text)]).digest
    )
    digests = {catalog_of(files).digest for files in ([one], [other], [one, other], [file("a/b", "u")], [])}
    assert len(digests) == 5


def test_signatures_are_parsed_when_they_are_asked_for_and_once() -> None:
    catalog = catalog_of([file("a/good"), SignatureFile("a/bad", "a/bad.toml", "title = ")])
    assert catalog.signature("a/good") is catalog.signature("a/good")
    assert (len(catalog), "a/bad" in catalog, "a/none" in catalog) == (2, True, False)
    with pytest.raises(SignatureError, match=r"^a/bad\.toml: not valid TOML: "):
        catalog.signature("a/bad")
    with pytest.raises(SignatureError, match=r"^a/bad\.toml: "):
        catalog.signatures()


@pytest.mark.parametrize(
    ("id", "hint"),
    [
        ("ddp/marked-ready-twise", 'did you mean "ddp/marked-ready-twice"?'),
        ("marked-ready-twice", 'did you mean "ddp/marked-ready-twice"?'),
        ("zzz", "doctor signatures list shows all"),
        ("", "doctor signatures list shows all"),
    ],
)
def test_an_id_that_nobody_has_is_refused_with_the_nearest(id: str, hint: str) -> None:
    catalog = catalog_of([file("ddp/marked-ready-twice"), file("hub/gated-repo")])
    with pytest.raises(SignatureError) as refused:
        catalog.named(id)
    assert str(refused.value) == f"{id}: no such signature; {hint}"


def test_the_bundled_ones_are_all_whole_and_in_order(bundled: Catalog) -> None:
    ids = [one.id for one in bundled.signatures()]
    assert ids == sorted(ids)
    assert len(ids) > 150
    assert {
        "ddp/marked-ready-twice",
        "vlm/mm-token-type-ids-required",
        "fsdp/wrap-class-not-found",
        "peft/unsupported-target-module",
    } <= set(ids)


def test_the_users_folder_is_below_the_configuration(own_home: None) -> None:
    assert catalog_module.user_folder() == Path(os.environ["XDG_CONFIG_HOME"]) / "doctor" / "signatures"
