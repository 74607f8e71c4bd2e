"""What another log tool says of logs; runs in that tool's environment, which need not have doctor.

    python ask_peer.py NAME < {"log": ["its file", "or its files"], ...}

Prints {"seconds": 1.5, "said": {"log": ["its first category", "others", ...]}}. Each tool is asked as its own command asks
itself, but in one process for all logs, so that the seconds are those of the work.
"""

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

Said = dict[str, list[str]]
Logs = dict[str, list[str]]


def text(paths: list[str]) -> str:
    """All files of a log, one behind the other."""
    return "\n".join(Path(path).read_text(encoding="utf-8", errors="replace") for path in paths)


def runmedic(logs: Logs) -> Said:
    """Its findings come by severity; those that only inform are left out, as doctor's notes are."""
    from runmedic import loaders, roles
    from runmedic.checks import run_checks
    from runmedic.model import SEVERITY_ORDER

    said: Said = {}
    for log, paths in logs.items():
        runs = [run for path in paths for run in loaders.load(path)]
        found = [one for run in runs for one in run_checks(run, roles.detect(run)) if one.severity != "info"]
        said[log] = [one.check for one in sorted(found, key=lambda one: SEVERITY_ORDER[one.severity])]
    return said


def gpualert(logs: Logs) -> Said:
    """One label a log. Its launcher shows it the last 50 lines of a job that failed; the whole log serves it better."""
    from gpualert.parse_errors import parse_errors

    return {log: parse_errors("", text(paths), 0).splitlines()[:1] for log, paths in logs.items()}


def denpex(logs: Logs) -> Said:
    """Its engine for machines without a network, which needs Node.js."""
    if shutil.which("node") is None:
        sys.exit("needs Node.js")
    os.environ["DENPEX_LOCAL"] = "1"
    from denpex_local import local_diagnose_batch

    outcomes = local_diagnose_batch([text(paths) for paths in logs.values()])
    return {log: [outcome["failureType"]] for log, outcome in zip(logs, outcomes, strict=True)}


def nvrx(logs: Logs) -> Said:
    """The restart agent of nvidia-resiliency-ext, without the language model that it can ask as well."""
    from nvidia_resiliency_ext.attribution.restart_agent import cli

    said: Said = {}
    for log, paths in logs.items():
        with tempfile.NamedTemporaryFile("w", suffix=".log") as file, contextlib.redirect_stdout(io.StringIO()) as out:
            file.write(text(paths))
            file.flush()
            cli.main([file.name, "--disable-l1"])
        result = json.loads(out.getvalue())
        found = [result["primary_failure"], *result["secondary_failures"]]
        said[log] = [one["failure_class"] for one in found if one]
    return said


PEERS: dict[str, Callable[[Logs], Said]] = {one.__name__: one for one in (runmedic, gpualert, denpex, nvrx)}


def main() -> None:
    """Ask the peer that is named."""
    logs = json.load(sys.stdin)
    started = time.perf_counter()
    said = PEERS[sys.argv[1]](logs)
    json.dump({"seconds": time.perf_counter() - started, "said": said}, sys.stdout)


if __name__ == "__main__":
    main()
