"""Series drawn in characters."""

import math

from hypothesis import given
from hypothesis import strategies as st

from doctor.render.plot import HEIGHT, WIDTH, plot


def test_a_fall_with_a_nan_and_two_marks() -> None:
    steps = [float(n) for n in range(0, 100, 2)]
    values = [10.0 - n / 10 for n in range(45)] + [math.nan] * 5
    assert plot("loss", steps, values, [20, 90], plain=True) == DRAWN.strip("\n")


DRAWN = """
loss, 50 points
  10 |** ** **                                                           x xx xx
     |         ** ** **
     |                  ** ** *
     |                         * ** ** *
7.49 |                                  * ** **
     |                                          ** ** **
     |                                                   ** ** *
 5.6 |                                                          * ** ** *
     +--------------------------------------------------------------------------
      step 0                                                                  98
                     ^ step 20
                                                                 step 90 ^
"""


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.floats()), max_size=200), st.lists(st.integers(0, 10**9), max_size=3)
)
def test_no_series_is_drawn_wider_than_the_terminal(points: list[tuple[int, float]], marks: list[int]) -> None:
    steps, values = [float(step) for step, _ in sorted(points)], [value for _, value in points]
    drawn = plot("loss", steps, values, [float(mark) for mark in marks])
    lines = drawn.splitlines()
    assert max(map(len, lines), default=0) <= WIDTH
    assert not lines or len(lines) == HEIGHT + 3 + len(set(marks))


def test_one_point_is_not_drawn() -> None:
    assert plot("loss", [1.0], [2.0]) == ""
