"""A signature in full."""

from collections.abc import Callable

from doctor.catalog import Catalog
from doctor.render.explanation import render


def test_explanation(bundled: Catalog, golden: Callable[[str, str], None]) -> None:
    text = render(bundled.signature("ddp/marked-ready-twice"))
    golden("explain_marked_ready_twice.txt", text)


def test_every_signature_can_be_explained(bundled: Catalog) -> None:
    assert all(render(signature).startswith(signature.id) for signature in bundled.signatures())
