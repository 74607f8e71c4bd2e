"""Columns of numbers: bit for bit what float() makes of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from doctor.logs.number_columns import PADDING, numbers_at

SPELLINGS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e12, 1e12).map("{:.4f}".format),
    st.floats(allow_nan=False, allow_infinity=False).map("{:.6E}".format),
    st.integers(-(10**17), 10**17).map(str),
    st.from_regex(r"[-+]?(?:\d{1,16}\.?|\d{0,9}\.\d{1,9})(?:[eE][-+]?\d{1,2})?", fullmatch=True).filter(str.isascii),
)


@given(st.lists(SPELLINGS, min_size=1, max_size=30))
def test_numbers_are_what_float_makes_of_them(spellings: list[str]) -> None:
    starts = np.cumsum([0, *(len(one) + 1 for one in spellings[:-1])])
    values, stops, good = numbers_at(np.frombuffer(" ".join(spellings).encode() + PADDING, np.uint8), starts)
    assert good.all()
    assert stops.tolist() == [start + len(one) for start, one in zip(starts.tolist(), spellings, strict=True)]
    wanted = np.array([float(one) for one in spellings])
    assert values.tobytes() == wanted.tobytes()
