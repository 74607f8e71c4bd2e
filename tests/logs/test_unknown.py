"""Exceptions that no signature knows: which one, where in the user's code, and the same fingerprint for the same failure."""

from collections.abc import Callable

import pytest

from doctor.finding import Confidence, Finding, Role, Severity
from doctor.logs.match import LogResult
from doctor.logs.records import Frame, Raised, Record
from doctor.logs.unknown import first_unknown, user_frame

Find = Callable[..., LogResult]

FRAMES = """Traceback (most recent call last):
  File "{root}/train.py", line {line}, in main
    rows = load(path)
  File "{root}/data.py", line 19, in load
    return parse(row)
  File "{site}/site-packages/pyarrow/json.py", line 71, in parse
    raise ArrowError(message)
"""


def traceback(message: str, root: str = "/srv/run", site: str = "/opt/venv/lib/python3.11", line: int = 38) -> str:
    return FRAMES.format(root=root, site=site, line=line) + message


DURING = "\n\nDuring handling of the above exception, another exception occurred:\n\n"


def unknown(find: Find, logs: object) -> Finding:
    (finding,) = [one for one in find(logs).findings if one.id == "unknown/exception"]
    return finding


def test_it_names_the_exception_and_the_users_own_frame(find: Find) -> None:
    finding = unknown(find, traceback("pyarrow.lib.ArrowError: bad row 7"))
    assert finding.title == "ArrowError: an exception that no signature knows"
    assert finding.evidence == (
        "pyarrow.lib.ArrowError: bad row 7",
        "at /srv/run/data.py:19 in load: return parse(row)",
    )
    assert (finding.severity, finding.confidence, finding.role) == (Severity.ERROR, Confidence.LOW, Role.EITHER)
    assert (finding.place.first, finding.place.last) == (8, 8)
    assert finding.captures == {"type": "pyarrow.lib.ArrowError"}


def test_it_is_the_first_that_was_raised_of_a_chain(find: Find) -> None:
    text = traceback("OSError: disk") + DURING + traceback("ValueError: x")
    assert unknown(find, text).evidence[0] == "OSError: disk"


SAME = [
    traceback("OSError: [Errno 5] row 7 of /data/a/part-1.json at 0x7f00aa from 10.0.0.1:29500"),
    traceback("OSError: [Errno 5] row 12345 of /mnt/elsewhere/part-99.json at 0x1234 from gpu-7:1234"),
    traceback("OSError: [Errno 5] row 7 of data/a/part-1.json at 0x7f00aa from 10.0.0.1:29500"),
    traceback("OSError: [Errno 5] row 7 of /data/a/part-1.json at 0x7f00aa from 10.0.0.1:29500", root="/home/alice/x"),
    traceback("OSError: [Errno 5] row 7 of /data/a/part-1.json at 0x7f00aa from 10.0.0.1:29500", line=99),
]
OTHER = [
    traceback("OSError: [Errno 5] no row 7 of /data/a/part-1.json at 0x7f00aa from 10.0.0.1:29500"),
    traceback("ValueError: [Errno 5] row 7 of /data/a/part-1.json at 0x7f00aa from 10.0.0.1:29500"),
    SAME[0].replace("in load", "in save"),
]


def prefixed(text: str, rank: int) -> str:
    return "\n".join(f"[rank{rank}]: {line}" for line in text.split("\n"))


def test_fingerprints_are_equal_for_equal_failures_only(find: Find) -> None:
    same = {unknown(find, text).fingerprint for text in [*SAME, *(prefixed(text, 5) for text in SAME)]}
    others = {unknown(find, text).fingerprint for text in OTHER}
    assert (len(same), len(others), len(same | others)) == (1, 3, 4)


def test_ranks_that_fail_alike_are_one_finding(find: Find) -> None:
    text = "\n".join(prefixed(traceback(f"OSError: row {rank}"), rank) for rank in (3, 1, 2))
    finding = unknown(find, text)
    assert (finding.count, finding.ranks, finding.place.rank) == (3, (1, 2, 3), 3)


def test_the_first_by_time_is_shown(find: Find) -> None:
    late, early = (
        "\n".join(f"2025-01-02T03:04:{second}Z {line}" for line in traceback(message).split("\n"))
        for second, message in (("09", "OSError: late"), ("05", "KeyError: early"))
    )
    assert unknown(find, {"rank0.log": late, "rank1.log": early}).evidence[0] == "KeyError: early"


@pytest.mark.parametrize(
    "wrapper",
    [
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:",
        "subprocess.CalledProcessError: returned 1",
        "KeyboardInterrupt",
    ],
)
def test_a_wrapper_is_shown_only_if_there_is_nothing_else(find: Find, wrapper: str) -> None:
    alone = unknown(find, traceback(wrapper))
    assert (alone.captures["type"], alone.role) == (wrapper.split(":")[0], Role.ECHO)
    assert unknown(find, f"{traceback(wrapper)}\n\n{traceback('OSError: disk')}").evidence[0] == "OSError: disk"


def test_a_command_that_trains_nothing_is_no_wrapper(find: Find) -> None:
    def role(command: str) -> Role:
        message = f"subprocess.CalledProcessError: Command '{command}' returned non-zero exit status 1."
        return unknown(find, traceback(message)).role

    assert role("['git', 'rev-parse', 'HEAD']") is Role.EITHER
    assert {role(command) for command in ("['/opt/bin/python3', 'a']", "bash run", "['sh', '-c', 'x']", "./go.sh")} == {
        Role.ECHO
    }


@pytest.mark.parametrize("before", ["", "step 1 loss 2.5\n", "\r 10%|#  | 1/10 [00:01<00:09, 1.0it/s]\r"])
def test_an_exception_on_the_last_line_needs_no_traceback(find: Find, before: str) -> None:
    found = unknown(find, f"{before}[rank13]: ValueError: the disk is round\n\n")
    assert (found.evidence, found.ranks, found.role) == (("ValueError: the disk is round",), (13,), Role.EITHER)


@pytest.mark.parametrize(
    "text",
    ["ValueError: round\nstep 1 loss 2.5\n", "no ValueError: here\n", "ValueError:\n", "{error}\nKeyError: 'x'\n"],
)
def test_only_a_whole_last_line_that_nothing_explains_is_an_exception(find: Find, text: str) -> None:
    found = find(text.format(error="RuntimeError: Expected to mark a variable ready only once."))
    assert "unknown/exception" not in [one.id for one in found.findings]


def test_a_known_exception_is_not_unknown(find: Find) -> None:
    assert [one.id for one in find(traceback("KeyError: 'text'")).findings] == ["data/missing-text"]


def test_an_echo_does_not_explain_what_was_raised_before_it(find: Find) -> None:
    text = traceback("OSError: disk") + DURING + traceback("RuntimeError: Connection closed by peer")
    assert {one.id for one in find(text).findings} == {"gloo/peer-closed", "unknown/exception"}


def test_a_log_that_ends_in_a_traceback_asks_for_the_rest(find: Find) -> None:
    (finding,) = find(FRAMES.format(root="/srv/run", site="/opt/venv/lib/python3.11", line=38)).findings
    assert (finding.id, finding.role, finding.severity) == ("unknown/traceback-cut", Role.ECHO, Severity.ERROR)
    assert finding.evidence == ("at /srv/run/data.py:19 in load: return parse(row)",)
    assert (finding.place.first, finding.place.last, finding.count) == (1, 7, 1)


def test_a_cut_traceback_stands_beside_an_exception_that_was_printed(find: Find) -> None:
    cut = prefixed(FRAMES.format(root="/srv/run", site="/opt/venv/lib/python3.11", line=38).strip(), 1)
    result = find(f"{prefixed(traceback('OSError: disk'), 0)}\n{cut}")
    assert {one.id: one.ranks for one in result.findings} == {"unknown/exception": (0,), "unknown/traceback-cut": (1,)}


def test_a_cut_traceback_behind_which_its_rank_trains_on_is_nothing(find: Find) -> None:
    cut = FRAMES.format(root="/srv/run", site="/opt/venv/lib/python3.11", line=38)
    assert find(cut + "".join(f"loss: {n}.5\n" for n in range(4))).findings == ()


def frame(path: str) -> Frame:
    return Frame(path, 1, "f")


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/srv/a.py", "/opt/lib/python3.11/site-packages/torch/x.py"], "/srv/a.py"),
        (["/srv/a.py", "/srv/b.py", "/usr/lib/python3/dist-packages/x.py", "<frozen runpy>"], "/srv/b.py"),
        (["/opt/site-packages/a.py", "/opt/site-packages/b.py"], "/opt/site-packages/b.py"),
        (["/srv/a.py", "<string>"], "/srv/a.py"),
        ([], None),
    ],
)
def test_the_users_frame(paths: list[str], expected: str | None) -> None:
    found = user_frame(Raised("E", "E", 1, tuple(map(frame, paths))))
    assert (found.path if found else None) == expected


def test_nothing_unknown_is_none() -> None:
    assert first_unknown([]) is None


def test_records_without_time_go_by_their_place() -> None:
    records = [
        Record("b.log", 1, 2, "", None, None, None, (Raised("E", "E", 1, ()),)),
        Record("a.log", 5, 6, "", None, None, None, (Raised("E", "E", 5, ()),)),
    ]
    assert first_unknown(records) is records[1]


@pytest.mark.parametrize(
    "line",
    [
        "bash: line 4: cd: /data/run: No such file or directory",
        "sh: 1: my-trainer: not found",
        "job.slurm: line 12: NODES: unbound variable",
        "/bin/bash: prepare.sh: No such file or directory",
        "mytool: error: no rows left",
        "Error: the config names no model",
        "fatal: unable to access 'https://localhost/x.git/'",
        "make: *** No rule to make target 'train'.  Stop.",
        "tar: Error is not recoverable: exiting now",
        "2025-01-02 03:04:05,678 - train - ERROR - shard 3 is not there",
        "[2025-01-02 03:04:05] [ERROR] shard 3 is not there",
        "ERROR shard 3 is not there",
    ],
)
def test_a_message_of_failure_on_the_last_line_is_told(line: str, find: Find) -> None:
    (found,) = find(f"loading\n{line}\n\n").findings
    assert (found.id, found.confidence, found.place.first) == ("unknown/last-line", Confidence.LOW, 2)
    behind = find(f"{line}\ngoing on without it\n").findings
    assert [one for one in behind if one.severity is not Severity.NOTE] == []


@pytest.mark.parametrize(
    "text",
    [
        "3500 rows prepared, 0 failed",
        "eval error: 0.12",
        "ready: cannot complain",
        "{'error': 0.1}",
        "training completed\nERROR the report could not be sent",
        "The error bars are in errors.csv",
    ],
)
def test_an_ending_that_only_speaks_of_errors_is_none(text: str, find: Find) -> None:
    assert find(f"{text}\n").findings == ()


def test_what_a_signature_or_a_traceback_tells_goes_before_the_last_line(find: Find) -> None:
    traceback = "Traceback (most recent call last):\n  File \"/srv/run/train.py\", line 3, in <module>\nKeyError: 'x'\n"
    assert [
        one.id for one in find(f"{traceback}bash: line 4: cd: /data/run: No such file or directory\n").findings
    ] == ["unknown/exception"]


@pytest.mark.parametrize(
    ("path", "role"),
    [("/usr/lib/python3.11/multiprocessing/connection.py", Role.ECHO), ("/srv/run/shards.py", Role.EITHER)],
)
def test_only_out_of_a_connection_is_a_bare_end_of_file_an_echo(path: str, role: Role, find: Find) -> None:
    text = f'Traceback (most recent call last):\n  File "{path}", line 399, in _recv\n    raise EOFError\nEOFError\n'
    assert [(one.id, one.role) for one in find(text).findings] == [("unknown/exception", role)]
    told = find(text.replace("EOFError\n", "EOFError: Compressed file ended early\n"))
    assert [one.role for one in told.findings] == [Role.EITHER]


@pytest.mark.parametrize(
    "line",
    [
        "  4%|▎         | 70/2000 [00:17<08:15,  3.90it/s]",
        "  1%|          | 20/2000 [00:05<08:15,  3.90it/s]\r  4%|▎         | 70/2000 [00:17<08:15,  3.90it/s]",
        "Epoch 4/99 ━━━━━━━━━━━━━━━━           5/8 0:00:01 • 0:00:01 3.30it/s loss: 5.033",
        "2025-01-02 03:04:05,678 INFO step 40/1000 loss 2.5",
        "iter 40 of 1000, loss 2.5",
    ],
)
def test_a_log_that_stops_in_the_middle_is_not_clean(line: str, find: Find) -> None:
    (found,) = find(f"loading\n{line}\n\n").findings
    assert (found.id, found.severity, found.place.first) == ("unknown/stopped", Severity.NOTE, 2)
    assert find(f"{line}\nsaved\n").findings == ()


@pytest.mark.parametrize(
    "line",
    [
        "100%|██████████| 2000/2000 [08:17<00:00,  3.90it/s]",
        "step 1000/1000 loss 2.5",
        "batch 8/8 of epoch 3/3 loss 2.5",
        "kept 40/1000 rows",
        "training finished at step 40/1000",
    ],
)
def test_progress_that_came_to_its_end_is_none(line: str, find: Find) -> None:
    assert find(f"loading\n{line}\n").findings == ()


def test_a_failure_explains_that_the_log_stops(find: Find) -> None:
    text = "RuntimeError: mark a variable ready only once\nstep 40/1000 loss 2.5\n"
    assert [one.id for one in find(text).findings] == ["ddp/ready-twice"]


def test_the_last_line_of_a_large_log_counts_too(find: Find) -> None:
    (found,) = find("a line like any other\n" * 300_000 + "step 40/1000 loss 2.5\n\n\n").findings
    assert (found.id, found.place.first) == ("unknown/stopped", 300_001)
    assert "ends at 40 of 1000" in found.cause


OWN = """Traceback (most recent call last):
  File "/srv/run/train.py", line 38, in main
    {source}
"""


@pytest.mark.parametrize(
    ("source", "message", "id"),
    [
        (
            "opt.step()",
            "UnboundLocalError: local variable 'opt' referenced before assignment",
            "python/variable-without-value",
        ),
        ("open(cfg.path)", "TypeError: expected str, bytes or os.PathLike object, not NoneType", "python/path-is-none"),
        ("rate = table['rate']", "KeyError: 'rate'", "python/key-missing"),
        ("rate = os.environ['RATE']", "KeyError: 'RATE'", "python/environment-variable-missing"),
        ("rank = os.environ['RANK']", "KeyError: 'RANK'", "torch/env-not-set"),
        ("note = input('?')", "OSError: [Errno 9] Bad file descriptor", "env/input-without-terminal"),
        ("os.close(handle)", "OSError: [Errno 9] Bad file descriptor", "unknown/exception"),
    ],
)
def test_an_exception_of_python_is_told_by_a_fallback_where_nothing_else_knows_it(
    find_all: Find, source: str, message: str, id: str
) -> None:
    assert [one.id for one in find_all(OWN.format(source=source) + message).findings] == [id]


def test_a_fallback_keeps_what_is_known_of_an_unknown_exception(find_all: Find) -> None:
    (found,) = find_all(OWN.format(source="opt.step()") + "NameError: name 'opt' is not defined").findings
    assert found.title == "The name opt is not defined"
    assert found.evidence == ("NameError: name 'opt' is not defined", "at /srv/run/train.py:38 in main: opt.step()")
    assert (found.severity, found.role, found.place.first) == (Severity.ERROR, Role.EITHER, 4)


def test_a_fallback_does_not_look_at_lines(find_all: Find) -> None:
    text = "skipped a.json: NameError: name 'x' is not defined\nNameError: name 'x' is not defined\nstep 1\nstep 2"
    assert not find_all(text).findings


@pytest.mark.parametrize(
    ("text", "others"),
    [(traceback("OSError: x"), False), (traceback("OSError: a") + DURING + traceback("OSError: b"), True)],
)
def test_other_exceptions_are_spoken_of_where_there_are_any(find: Find, text: str, others: bool) -> None:
    assert ("the others follow" in unknown(find, text).fix) is others


def test_a_last_line_that_a_signature_knows_is_no_exception_of_its_own(find_all: Find) -> None:
    text = "AttributeError: 'DeepSpeedCPUAdam' object has no attribute 'ds_opt_adam'"
    assert {one.id for one in find_all(text).findings} == {"deepspeed/ds-opt-adam-attr"}


LOGGED = """2025-05-28 14:32:42,510 - __main__ - {level} - export failed: no data_ptr
2025-05-28 14:32:42,513 - __main__ - INFO - completed
"""


def test_an_error_that_is_logged_near_the_end_is_a_note(find: Find) -> None:
    (found,) = find("started\n" + LOGGED.format(level="ERROR")).findings
    assert (found.id, found.severity, found.place.first) == ("unknown/logged-error", Severity.NOTE, 2)
    assert found.evidence == ("export failed: no data_ptr",)


@pytest.mark.parametrize(
    "text",
    [
        LOGGED.format(level="WARNING"),
        LOGGED.format(level="ERROR") + "step\n" * 20,
        traceback("OSError: x\n") + LOGGED.format(level="ERROR"),
    ],
)
def test_other_levels_and_places_are_no_note(find: Find, text: str) -> None:
    assert "unknown/logged-error" not in [one.id for one in find(text).findings]


API = "torch/distributed/elastic/multiprocessing/api.py:1002"
FAILED = f"E1125 02:45:25.116000 9 {API}] failed (exitcode: 1) local_rank: 1 (pid: 7) of binary: /usr/bin/python\n"
SUMMARY = """Root Cause (first observed failure):
[0]:
  time      : 2026-11-25_02:45:25
  host      : one
  rank      : 1 (local_rank: 1)
  exitcode  : 1 (pid: 7)
=====
"""


def last_words(found: LogResult) -> tuple[str, ...]:
    return next((one.evidence for one in found.findings if one.id == "unknown/last-words"), ())


def test_what_stands_above_a_launchers_report_is_shown(find_all: Find) -> None:
    above = "rank 0 reads\nshard 3 has no rows, giving up\n"
    assert last_words(find_all(above + FAILED)) == ("rank 0 reads", "shard 3 has no rows, giving up")
    assert (
        last_words(find_all(f"{above}step 7 loss 2.5\n2026-11-25 02:45:24,001 - INFO - data - closed\n{FAILED}")) == ()
    )
    assert last_words(find_all(f"{above}{traceback('KeyError: 1')}\n{FAILED}")) == ()
    assert last_words(find_all(above)) == ()


def test_a_bar_of_data_that_is_prepared_is_shown_though_the_report_is_glued_to_it(find_all: Find) -> None:
    bar = "Map:  {done}%|####  | 33/64 [00:19<00:18,  1.66 examples/s]"
    waited = '[rank1]: Traceback (most recent call last):\n[rank1]:   File "a.py", line 1, in f\n[rank1]: RuntimeError: {why}\n'
    report = (
        waited.format(why="[unbound_buffer.cc:78] Timed out waiting 20000ms for recv operation to complete") + FAILED
    )
    assert last_words(find_all(bar.format(done=52) + report)) == (bar.format(done=52),)
    assert last_words(find_all(bar.format(done=100) + "\n" + report)) == ()


def test_the_own_log_of_the_rank_that_failed_first_tells_more(find_all: Find) -> None:
    logs = {
        "run.log": f"starting\n{FAILED}{SUMMARY}",
        "0/stderr.log": "waiting\n",
        "1/stderr.log": "no rows, giving up\n",
    }
    assert last_words(find_all({f"attempt_0/{path}": text for path, text in logs.items()})) == ("no rows, giving up",)
    assert last_words(find_all({"run.log": logs["run.log"]})) == ("starting",)
