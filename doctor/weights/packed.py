"""Quantised weights: which tensors hold numbers that mean nothing by themselves."""

from collections.abc import Collection, Iterable

from doctor.weights.entries import Entry, Unmeasured

PACKED_NAMES = (".qweight", ".weight_packed", "_blocks", ".qzeros")
WHOLE_BYTES = ("U8", "I8", "I32")


def without_packed(entries: Iterable[Entry], names: Collection[str]) -> tuple[list[Entry], list[Unmeasured]]:
    """The entries that hold plain numbers, and those that pack several weights into one, with the reason."""
    plain, packed = [], []
    for entry in entries:
        reason = _why_packed(entry, names)
        if reason:
            packed.append(Unmeasured(entry.name, entry.file, reason))
        else:
            plain.append(entry)
    return plain, packed


def _why_packed(entry: Entry, names: Collection[str]) -> str:
    if entry.dtype not in WHOLE_BYTES:
        return ""
    if entry.name.endswith(PACKED_NAMES):
        return f"quantised weights, packed into {entry.dtype}"
    if f"{entry.name}.absmax" in names:
        return "quantised weights of bitsandbytes, packed into 4 bits"
    if entry.dtype == "I8" and entry.name.endswith("weight"):
        return "quantised weights, 8-bit integers"
    return ""
