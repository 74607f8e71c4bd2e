"""The command line: options in, one call, one renderer, one exit code out."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from doctor import __version__, catalog, diagnose
from doctor.errors import DoctorError
from doctor.finding import Severity
from doctor.redact import redacted
from doctor.report import ExitCode, Report, exit_code

FORMATS = ("terminal", "markdown", "json")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="doctor")
def doctor() -> None:
    """Says why a training run went wrong, and what to change."""


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that prints a report."""
    options = (
        click.option(
            "--format", "format_", type=click.Choice(FORMATS), default="terminal", help="How to print the report."
        ),
        click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to a file."),
        click.option("--no-redact", is_flag=True, help="Show secrets, user names and hosts as they stand."),
        click.option(
            "--fail-on",
            type=click.Choice([severity.value for severity in Severity]),
            default=Severity.WARNING.value,
            show_default=True,
            help="Exit with 1 from this severity on.",
        ),
        signature_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


signature_option = click.option(
    "--signatures",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of signatures to use besides the bundled ones. Repeatable.",
)


@doctor.command()
@click.argument("paths", nargs=-1, required=True)
@report_options
def logs(paths: tuple[str, ...], folders: tuple[Path, ...], **output: Any) -> NoReturn:
    """Name what failed in the logs of one run, the root among the echoes, and the fix.

    PATHS are files (also .gz, .xz, .bz2 and .zst), folders, globs, or - for standard input. Several are read as one
    case: the logs of all ranks and nodes of one run.
    """
    with progress_bar(paths) as on_read:
        report = diagnose.diagnose_logs(list(paths), catalog.load(folders), on_read)
    _finish(report, **output)


@doctor.group()
def signatures() -> None:
    """List signatures, and check files of your own."""


@signatures.command("check")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
def check_(folder: Path | None) -> NoReturn:
    """Load the signatures of FOLDER (default: the bundled ones) and run each on its own samples and on all others'."""
    from doctor.check import check

    mine = catalog.read_folder(folder or catalog.bundled())
    faults = check(mine, catalog.load())
    for fault in faults:
        click.echo(str(fault))
    click.echo(f"{len(mine)} signatures, {len(faults)} faults")
    sys.exit(ExitCode.FOUND if faults else ExitCode.NOTHING_FOUND)


@signatures.command("list")
@click.option("--paths", is_flag=True, help="Show the folders that signatures are read from instead.")
@signature_option
def list_(folders: tuple[Path, ...], paths: bool) -> None:
    """List all signatures, one a line: id, severity, title."""
    if paths:
        for folder in (catalog.bundled(), catalog.user_folder(), *folders):
            click.echo(str(folder))
        return
    for signature in catalog.load(folders).signatures():
        click.echo(f"{signature.id:<44} {signature.severity.value:<8} {signature.title}")


@doctor.command()
@click.argument("id", shell_complete=None)
@signature_option
def explain(id: str, folders: tuple[Path, ...]) -> None:
    """Print one signature in full: what it matches, every cause and fix, references."""
    from doctor.render import explanation

    click.echo(explanation.render(catalog.load(folders).named(id), _width() if sys.stdout.isatty() else 80), nl=False)


def _finish(report: Report, format_: str, output: Path | None, no_redact: bool, fail_on: str) -> NoReturn:
    """Print the report, or write it, and exit."""
    code = exit_code(report, Severity(fail_on))
    if no_redact:
        text = _rendered(report, format_, output)
    else:
        clean, redactor = redacted(report)
        text = redactor.text(_rendered(clean, format_, output))
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
    sys.exit(code)


def _rendered(report: Report, format_: str, output: Path | None) -> str:
    if format_ == "json":
        from doctor.render import json

        return json.render(report)
    if format_ == "markdown":
        from doctor.render import markdown

        return markdown.render(report)
    from doctor.render import terminal

    shown = output is None and sys.stdout.isatty()
    colour = shown and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return terminal.render(report, _width() if shown else 80, colour)


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((80, 24)).columns


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise DoctorError(f"{path}: can't be written: {fault.strerror}; choose another place with --output") from None


@contextmanager
def progress_bar(paths: tuple[str, ...]) -> Iterator[Callable[[int], None]]:
    """A callback for bytes read, shown on standard error of a terminal once it takes more than a second."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from doctor.render.progress import bytes_bar

    with bytes_bar(paths) as on_read:
        yield on_read


def main() -> NoReturn:
    """The command ``doctor``. Every DoctorError is one line on standard error."""
    try:
        doctor(standalone_mode=False)
        sys.exit(ExitCode.NOTHING_FOUND)
    except DoctorError as fault:
        click.echo(f"doctor: {fault}", err=True)
        sys.exit(ExitCode.FAILED)
    except click.ClickException as fault:
        fault.show()
        sys.exit(ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.NOTHING_FOUND)
