"""One signature in full: its documentation is itself."""

from collections.abc import Iterator
from textwrap import fill, indent

from doctor.facts import words
from doctor.signature import Cause, Setting, Signature, Text


def render(signature: Signature, width: int = 80) -> str:
    """All that a signature says, as plain text."""
    return "\n".join(_lines(signature, max(40, min(width, 100)))) + "\n"


def _lines(signature: Signature, width: int) -> Iterator[str]:
    yield signature.id
    yield fill(signature.title, width)
    yield f"{signature.severity.value}, {signature.confidence.value} confidence, role: {signature.role.value}"
    for cause in signature.causes:
        yield ""
        yield from _cause(cause, width)
    if isinstance(signature.match, Text):
        yield from ["", "Matches"]
        yield from (f"  {pattern}" for pattern in signature.match.any)
        yield from (f"  not {pattern}" for pattern in signature.match.none)
        yield from (f"  in a frame {pattern}" for pattern in signature.match.frames)
    if isinstance(signature.match, Setting):
        yield from ["", f"Looks at {signature.match.key}", *(f"  {line}" for line in _conditions(signature.match))]
    yield from ["", "For example", indent(signature.hits[0].text, "  ")]
    if signature.explains:
        yield from ["", fill("Makes echoes of " + ", ".join(signature.explains), width)]
    if signature.references:
        yield from ["", "See", *(f"  {address}" for address in signature.references)]


def _conditions(match: Setting) -> Iterator[str]:
    if match.when:
        yield f"if {words(match.when)}"
    yield from (f"and if {words(one)}" if n == 0 else f"or if {words(one)}" for n, one in enumerate(match.any))
    if match.unless:
        yield f"unless {words(match.unless)}"


def _cause(cause: Cause, width: int) -> Iterator[str]:
    if cause.when:
        yield fill(f"If {words(cause.when)}", width)
    yield fill(cause.text, width, initial_indent="Why  ", subsequent_indent="     ")
    yield fill(cause.fix, width, initial_indent="Fix  ", subsequent_indent="     ")
    if cause.config:
        yield indent(cause.config, "       ")
    if cause.fixed_in:
        yield f"     Fixed in {cause.fixed_in}"
