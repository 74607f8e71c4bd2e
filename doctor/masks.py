"""What differs between two runs of the same failure, masked; and fingerprints of what is left."""

import hashlib
import re

_MASKS = (
    (re.compile(r"0x[0-9a-fA-F]+"), "0x#"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b"), "#"),
    (re.compile(r"(?:(?<![\w.@+=,~:-])(?:[A-Za-z]:|[\w.@+=,~-]+))?(?:[\\/][\w.@+=,-]+){2,}[\\/]?"), "/#"),
    (re.compile(r"\[?(?<![\w.-])[A-Za-z0-9][\w.-]*\]?:\d{2,5}\b"), "#:#"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "#"),
    (re.compile(r"\s+"), " "),
)


def masked(text: str) -> str:
    """Text with addresses, hashes, paths, host:port pairs and numbers replaced by #, and white space folded."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text.strip()


def fingerprint(*parts: str) -> str:
    """Twelve hex digits that are equal for equal failures."""
    return hashlib.sha256("\0".join(map(masked, parts)).encode("utf-8", "replace")).hexdigest()[:12]
