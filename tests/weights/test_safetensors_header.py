import json
import resource
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from doctor.weights.entries import Fault, FaultKind, Unmeasured
from doctor.weights.safetensors_header import LARGEST_HEADER, HeaderError, read_header, shown


def raw(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def row(begin: int, end: int, shape: list[int] | None = None, dtype: str = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def test_reads_what_safetensors_writes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"b": torch.zeros(3, 5, dtype=torch.bfloat16), "a": torch.zeros(())}, path, metadata={"format": "pt"})
    header = read_header(path)
    assert {one.name: (one.dtype, one.shape) for one in header.entries} == {"a": ("F32", ()), "b": ("BF16", (3, 5))}
    assert header.metadata == {"format": "pt"}
    assert (header.end, header.faults, header.unmeasured) == (path.stat().st_size, (), ())


@pytest.mark.parametrize(
    ("header", "data", "said"),
    [
        ({"a": row(0, 4), "b": row(2, 6)}, b"123456", 'places "b" at 2, which overlaps the tensor before it'),
        ({"a": row(0, 4), "b": row(6, 8)}, b"12345678", 'places "b" at 6, which leaves a hole before it'),
        ({"a": row(0, 4)}, b"12345678", "has 4 bytes after the data"),
        ({"a": {"dtype": "U8", "shape": [4], "data_offsets": [-4, 0]}}, b"", "has a dtype, shape or data_offsets of"),
        ({"a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 0]}}, b"1234", "before it begins"),
        (
            {"a": {"dtype": "U8", "shape": [-4], "data_offsets": [0, 4]}},
            b"1234",
            "has a dtype, shape or data_offsets of",
        ),
        (
            {"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}},
            b"1",
            "has a dtype, shape or data_offsets of",
        ),
        ({"a": row(0, 4, [5])}, b"1234", 'gives "a" 4 bytes, but U8 [5] takes 5'),
        ({"a": row(0, 4, [2**40, 2**40])}, b"1234", "a shape too large to exist"),
        ({"a": {"dtype": "U8", "shape": [4]}}, b"1234", "without exactly dtype, shape and data_offsets"),
        ({"a": 3}, b"", "without exactly dtype"),
        (b'{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}, "a": 1}', b"1", 'names "a" twice'),
        (b"[1, 2]", b"", "not a JSON object"),
        (b"not json", b"", "not JSON"),
        (b'{"a": "\xff"}', b"", "not JSON"),
        (b"[" * 20_000, b"", "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", b"", "a number too long"),
        ({"__metadata__": {"a": 1}}, b"", "metadata that is not a table of texts"),
    ],
)
def test_what_no_writer_writes_is_refused(tmp_path: Path, header: object, data: bytes, said: str) -> None:
    with pytest.raises(HeaderError) as caught:
        read_header(raw(tmp_path / "x.safetensors", header, data))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"12345", "has 5 bytes, too few"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a git-lfs pointer"),
        (
            (1 << 62).to_bytes(8, "little") + b"{}",
            "claims a header of 4,611,686,018,427,387,904 bytes but has 10 bytes",
        ),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(HeaderError) as caught:
        read_header(path)
    assert said in str(caught.value)


def test_a_huge_header_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with open(path, "wb") as file:
        file.write((1 << 40).to_bytes(8, "little"))
        file.truncate((1 << 40) + 100)  # sparse: a file of a terabyte that takes no room
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(HeaderError) as caught:
        read_header(path)
    assert f"more than any real one ({LARGEST_HEADER:,})" in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_a_file_that_is_cut_short_keeps_its_whole_tensors(tmp_path: Path) -> None:
    path = raw(tmp_path / "x.safetensors", {"a": row(0, 4), "b": row(4, 8), "c": row(8, 10)}, b"12345")
    header = read_header(path)
    assert [one.name for one in header.entries] == ["a"]
    size = path.stat().st_size
    detail = f'is cut short: {size} of {size + 5} bytes; 2 of 3 tensors are incomplete, from "b" on'
    assert header.faults == (Fault(FaultKind.TRUNCATED, path, detail, "b"),)


def test_packed_and_unknown_dtypes_are_named(tmp_path: Path) -> None:
    header = {"a": row(0, 4, [8], "F4"), "b": row(4, 6, [1], "Q3_K")}
    path = raw(tmp_path / "x.safetensors", header, b"123456")
    assert read_header(path).unmeasured == (
        Unmeasured("a", path, "dtype F4 is packed"),
        Unmeasured("b", path, 'dtype "Q3_K" is not known'),
    )


def test_names_are_made_safe_to_print() -> None:
    assert shown("a\x1b[31m\n") == '"a\\u001b[31m\\n"'
    assert shown("x" * 200) == '"' + "x" * 120 + '..."'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ROWS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "F4", "U8", "Q8"]) | JSON,
        "shape": st.lists(st.integers(-1, 9) | st.just(1 << 61), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | JSON,
    }
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.text(max_size=6), ROWS | JSON, max_size=4) | JSON, st.binary(max_size=48), st.integers(-4, 4))
def test_fuzz_any_json_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, header: object, data: bytes, off: int
) -> None:
    text = json.dumps(header).encode()
    path = raw(tmp_path_factory.getbasetemp() / "fuzz.safetensors", text, data, max(len(text) + off, 0))
    _read_or_refused(path)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=80))
def test_fuzz_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(content)
    _read_or_refused(path)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 200), st.integers(0, 255))
def test_fuzz_a_flipped_byte_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    save_file({"a": torch.ones(3), "b": torch.ones(2, 2, dtype=torch.bfloat16)}, path)
    content = bytearray(path.read_bytes())
    content[at % len(content)] = byte
    path.write_bytes(content)
    _read_or_refused(path)


def _read_or_refused(path: Path) -> None:
    """Either a header all of whose tensors lie inside of the file, or a HeaderError of one line."""
    try:
        header = read_header(path)
    except HeaderError as fault:
        assert "\n" not in str(fault)
        return
    size = path.stat().st_size
    for entry in header.entries:
        assert entry.pieces[0].offset >= 0
        assert entry.pieces[0].offset + entry.nbytes <= size
