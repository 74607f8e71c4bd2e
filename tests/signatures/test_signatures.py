"""Every signature is held to its hits, its misses, and silence on everything else."""

import importlib.metadata
from pathlib import Path

import pytest

from doctor import catalog as catalog_module
from doctor.catalog import Catalog
from doctor.check import check
from doctor.signature import Text


def test_samples(bundled: Catalog) -> None:
    assert [str(fault) for fault in check(bundled.files.values(), bundled).faults] == []


def test_explains_and_overlaps_name_signatures_that_exist(bundled: Catalog) -> None:
    from fnmatch import fnmatchcase

    for signature in bundled.signatures():
        for pattern in (*signature.explains, *signature.overlaps):
            assert any(fnmatchcase(id, pattern) for id in bundled.files), f"{signature.id} names {pattern}"


def test_files_are_plain_and_unique(bundled: Catalog) -> None:
    for file in bundled.files.values():
        assert file.text.isascii(), f"{file.where} is not plain ASCII"


def test_titles_have_no_full_stop(bundled: Catalog) -> None:
    assert [signature.id for signature in bundled.signatures() if signature.title.endswith(".")] == []


def test_the_users_own_three_are_there(bundled: Catalog) -> None:
    wanted = {
        "ddp/marked-ready-twice",
        "vlm/mm-token-type-ids-required",
        "fsdp/wrap-class-not-found",
        "peft/unsupported-target-module",
    }
    assert wanted <= set(bundled.files)


def test_a_signature_folder_is_read_in_the_order_of_ids(bundled: Catalog) -> None:
    assert list(bundled.files) == sorted(bundled.files)
    assert Path(str(catalog_module.bundled())).name == "signatures"


INSTALLED = ("torch", "safetensors", "click", "pandas")


@pytest.mark.parametrize("package", INSTALLED)
def test_raised_by_stands_in_the_installed_library(package: str, bundled: Catalog) -> None:
    """For what a test environment has anyway; signatures check --provenance does it for all that is installed."""
    from doctor.provenance import Provenance, origins

    assert importlib.metadata.version(package)
    found = [one for one in origins(bundled.signatures()) if one.package == package]
    assert [one for one in found if one.state is not Provenance.THERE] == []


def test_patterns_are_literals_first(bundled: Catalog) -> None:
    """A pattern that starts with a wildcard makes the scan slow and its hits vague."""
    for signature in bundled.signatures():
        patterns = signature.match.any if isinstance(signature.match, Text) else ()
        assert not [one for one in patterns if one.startswith((".*", ".+"))], signature.id
