from pathlib import Path

from doctor.weights.entries import Entry, Piece
from doctor.weights.packed import without_packed

FILE = Path("model.safetensors")


def entry(name: str, dtype: str) -> Entry:
    return Entry(name, dtype, (8,), (Piece(FILE, 0, 8),))


def test_codes_of_quantised_weights_are_not_measured() -> None:
    entries = [
        entry("a.weight", "U8"),
        entry("a.weight.absmax", "F32"),
        entry("b.qweight", "I32"),
        entry("c.weight_packed", "I32"),
        entry("d.gate_up_proj_blocks", "U8"),
        entry("e.weight", "I8"),
        entry("f.weight", "BF16"),
        entry("g.position_ids", "I64"),
        entry("h.mask", "U8"),
    ]
    plain, packed = without_packed(entries, {one.name for one in entries})
    assert [one.name for one in plain] == ["a.weight.absmax", "f.weight", "g.position_ids", "h.mask"]
    assert {one.name: one.reason for one in packed} == {
        "a.weight": "quantised weights of bitsandbytes, packed into 4 bits",
        "b.qweight": "quantised weights, packed into I32",
        "c.weight_packed": "quantised weights, packed into I32",
        "d.gate_up_proj_blocks": "quantised weights, packed into U8",
        "e.weight": "quantised weights, 8-bit integers",
    }
