"""The second pass: what line ends broke is found, and nothing else."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.catalog import Catalog, SignatureFile, catalog_of
from doctor.finding import Severity
from doctor.logs.index import Index, compile_index
from doctor.logs.match import LogResult
from doctor.logs.prefixes import Line
from doctor.logs.squeeze import second_pass, squeeze

ERROR = "RuntimeError: Expected to mark a variable ready only once. This error is caused by one of several reasons."
Find = Callable[..., LogResult]


def wrapped(text: str, width: int, prefix: str = "", first: str = "") -> str:
    """Text as a terminal of this width breaks it, in mid-word."""
    text = first + text
    return "\n".join(prefix + text[n : n + width] for n in range(0, len(text), width))


def ids(result: LogResult) -> list[str]:
    return [finding.id for finding in result.findings]


@pytest.mark.parametrize("width", [10, 20, 37, 60, 80])
@pytest.mark.parametrize(
    ("prefix", "first"), [("", ""), ("> ", ""), ("", "[rank3]: "), ("> ", "[default1]:[rank3]: "), ("│ ", "")]
)
def test_hard_wraps_in_mid_word(find: Find, width: int, prefix: str, first: str) -> None:
    result = find(f"step 1\nstep 2\n{wrapped('x' * 30 + ' ' + ERROR, width, prefix, first)}\nend")
    assert ids(result) == ["ddp/ready-twice"]


def test_the_rank_is_that_of_the_line_on_which_the_words_start(find: Find) -> None:
    (finding,) = find(f"[rank1]: fine\n{wrapped(ERROR, 60, first='[default0]:[rank3]: ')}\n[rank2]: fine").findings
    assert finding.ranks == (3,)


def test_the_place_is_where_the_words_are(find: Find) -> None:
    (finding,) = find("a\nb\nRuntimeError: Expected to mark a vari\nable ready only once.\nc").findings
    assert (finding.place.first, finding.place.last) == (3, 4)
    assert finding.evidence == ("RuntimeError: Expected to mark a variable ready only once.",)
    assert finding.captures == {"what": "ready"}


def test_wraps_between_words_capture_too(find: Find) -> None:
    (finding,) = find("RuntimeError: Expected to mark a variable\nready only\nonce.").findings
    assert finding.captures == {"what": "ready"}


def test_each_place_counts_once(find: Find) -> None:
    text = "Expected to mark a vari\nable ready only once.\nnext\n"
    (finding,) = find("torchrun\n" + text * 3).findings
    assert finding.count == 3


def test_letters_of_several_bytes_before_it_do_not_matter(find: Find) -> None:
    noise = "✅ 漢字 🏖️ │ Größe\n" * 2000
    (finding,) = find(noise + "Expected to mark a vari\nable ready only once.").findings
    assert finding.place.first == 2001


def test_a_traceback_that_it_explains_is_no_unknown_exception(find: Find) -> None:
    header = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
    text = header + "RuntimeError: Expected to mark a vari\nable ready only once."
    assert ids(find(text)) == ["ddp/ready-twice"]


@pytest.mark.parametrize(
    "line",
    [
        "\x1b[31mRuntimeError: Expected to \x1b[1mmark a vari\x1b[0mable ready only once\x1b[0m",
        "Expected to mark a \\u001b[01;31m\\u001b[Kvariable ready\\u001b[m\\u001b[K only once",
    ],
)
def test_colours_inside_the_words(find: Find, line: str) -> None:
    assert ids(find(f"[rank2]: {line}")) == ["ddp/ready-twice"]
    assert find(f"[rank2]: {line}").findings[0].ranks == (2,)


@pytest.mark.parametrize(
    "text",
    [
        "this might be caused by: Expected to mark a vari\nable ready only once",
        'raise RuntimeError("Expected to mark a vari\nable ready only once")',
        "{'prompt': 'Expected to mark a vari\nable ready only once'}",
        "Expectedtomarkavariablereadyonlyonce",
        "Expected to mark a\n" + "\n" * 20 + "variable ready only once",
    ],
)
def test_what_is_no_statement_stays_silent(find: Find, text: str) -> None:
    assert ids(find(text)) == []


def test_what_the_first_pass_found_is_not_found_again(find: Find) -> None:
    (finding,) = find(f"{ERROR}\nExpected to mark a vari\nable ready only once.").findings
    assert finding.count == 1


@pytest.fixture(scope="module")
def picky(make_signature: Callable[..., SignatureFile]) -> tuple[Catalog, Index]:
    catalog = catalog_of([make_signature("a/b", "Expected to mark a variable", none=["for the second time today"])])
    return catalog, compile_index(catalog)


def test_none_counts_for_the_lines_around(picky: tuple[Catalog, Index]) -> None:
    found = [
        list(second_pass(text, picky[1], set(), {}))
        for text in (b"Expected to mark\na variable", b"Expected to mark\na variable for the second\ntime today")
    ]
    assert [len(one) for one in found] == [1, 0]


def test_a_pattern_that_runs_away_is_told(make_signature: Callable[..., SignatureFile]) -> None:
    index = compile_index(
        catalog_of(
            [
                make_signature(
                    "a/slow",
                    "Expected to mark a variable",
                    none=[r"(?:abcdefghijklmnop|abcdefghijklmnop)+(?:a|b|c)+(?:a|b|c)+x{9}"],
                )
            ]
        )
    )
    skipped: dict[str, str] = {}
    data = b"Expected to mark\na variable " + b"abcdefghijklmnop" * 400
    assert len(list(second_pass(data, index, set(), skipped))) + len(skipped) == 1


def test_squeezed_text_remembers_its_lines() -> None:
    squeezed = squeeze(b"a b\r\n\n[rank1]: c  d\n50%\rlast")
    assert (squeezed.text, squeezed.starts) == ("abcdlast", (0, 2, 2, 4))
    assert squeezed.lines == (Line("a b"), Line(""), Line("c  d", 1, key=("rank_torch=1",)), Line("last"))
    assert [squeezed.span(n, n + 1) for n in range(8)] == [
        (1, 1),
        (1, 1),
        (3, 3),
        (3, 3),
        (4, 4),
        (4, 4),
        (4, 4),
        (4, 4),
    ]


def test_it_is_silent_on_healthy_logs(fixture_logs: Path, bundled_index: Index) -> None:
    logs = sorted((fixture_logs / "healthy").rglob("*.log"))
    assert len(logs) >= 10
    assert {log.name: [one.id for one in second_pass(log.read_bytes(), bundled_index, set(), {})] for log in logs} == {
        log.name: [] for log in logs
    }


def test_healthy_logs_raise_no_alarm_when_they_are_wrapped(fixture_logs: Path, find_all: Find) -> None:
    """A note more is possible: what speaks against a signature is not looked for beyond the lines that were mended."""
    for log in sorted((fixture_logs / "healthy").rglob("*.log")):
        text = "\n".join(wrapped(line, 80) for line in log.read_text(errors="replace").split("\n"))
        loud = {finding.id for finding in find_all(text).findings if finding.severity is not Severity.NOTE}
        assert loud <= {finding.id for finding in find_all(log.read_bytes()).findings}, log.name


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    squeezed = squeeze(data)
    assert len(squeezed.starts) == len(squeezed.lines)
    assert not any(letter.isspace() for letter in squeezed.text)


def test_text_wrapped_by_a_word_processor(find: Find) -> None:
    assert ids(find("\n".join(textwrap.wrap(ERROR, 24)))) == ["ddp/ready-twice"]
