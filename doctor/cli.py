"""The command line: options in, one call, one renderer, one exit code out."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from doctor import __version__, catalog, diagnose, inputs
from doctor.errors import DoctorError
from doctor.facts import Fact
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
@click.option("--config", type=click.Path(path_type=Path), help="The configuration of the run, if the log lacks it.")
@click.option("--traces", type=click.Path(path_type=Path), help="Write all metric points to a .csv or .parquet file.")
@report_options
def logs(
    paths: tuple[str, ...], config: Path | None, traces: Path | None, folders: tuple[Path, ...], **output: Any
) -> NoReturn:
    """Name what failed in the logs of one run, the root among the echoes, and the fix.

    PATHS are files (also .gz, .xz, .bz2 and .zst), folders, globs, or - for standard input. Several are read as one
    case: the logs of all ranks and nodes of one run.
    """
    written = {"--output": output["output"], "--traces": traces}
    _spare(written, folders, lambda: inputs.of_logs(list(paths), config))
    with progress_bar(paths) as on_read:
        report = diagnose.diagnose_logs(list(paths), catalog.load(folders), on_read, config, traces)
    _finish(report, **output)


@doctor.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the repaired copy.")
@click.option("--in-place", is_flag=True, help="Repair the files themselves; an undo file is left.")
@click.option("--undo", type=click.Path(path_type=Path), metavar="FILE", help="Restore what an undo file holds.")
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="PATTERN=LIMIT",
    help="Judge only the tensors whose names PATTERN finds, as one group. Repeatable.",
)
@click.option(
    "--rules", "rules_file", type=click.Path(path_type=Path), help="A YAML file with normalize_weight_scales."
)
@click.option("--base", type=click.Path(path_type=Path), help="Compare with the checkpoint it was trained from.")
@click.option("--tensors", type=click.Path(path_type=Path), help="Write all statistics to a .csv or .parquet file.")
@report_options
def weights(checkpoint: Path | None, undo: Path | None, folders: tuple[Path, ...], **options: Any) -> NoReturn:
    """Find what drifted in the weights of a checkpoint, and write it repaired.

    CHECKPOINT is a folder or a file: safetensors, torch .bin and .pt, .distcp, DeepSpeed ZeRO. Without --dry-run, drifted
    tensors are rescaled into a copy beside it; nothing is written if none drifted. A rescale changes the function that
    the model computes.
    """
    from doctor.weights import treatment

    if undo is not None:
        click.echo(treatment.undo(undo))
        sys.exit(ExitCode.NOTHING_FOUND)
    if checkpoint is None:
        raise click.UsageError("give a checkpoint, or --undo FILE")
    _weigh(checkpoint, folders, **options)


def _weigh(
    checkpoint: Path,
    folders: tuple[Path, ...],
    dry_run: bool,
    out: Path | None,
    in_place: bool,
    rules: tuple[str, ...],
    rules_file: Path | None,
    base: Path | None,
    tensors: Path | None,
    **output: Any,
) -> NoReturn:
    from doctor.weights import rules as rule_files
    from doctor.weights import treatment
    from doctor.weights.checkpoint import open_checkpoint
    from doctor.weights.inspection import inspect
    from doctor.weights.table import write_table

    if in_place and (out or dry_run):
        raise click.UsageError("--in-place goes with neither --out nor --dry-run")
    scales = [rule_files.parse_rule(rule) for rule in rules] + (rule_files.read_rules(rules_file) if rules_file else [])
    known, opened = catalog.load(folders), open_checkpoint(checkpoint)
    written_over = {"--output": output["output"], "--tensors": tensors}
    _spare(
        written_over,
        folders,
        lambda: inputs.of_weights([opened, *map(open_checkpoint, [base] if base else [])], rules_file),
    )
    finished = treatment.finish_interrupted(opened) if in_place else ""
    if finished:
        click.echo(f"doctor: {finished}", err=True)
    with progress_bar(tuple(str(file) for file in opened.files)) as on_read:
        inspection = inspect(checkpoint, known, scales, base, on_read, opened)
    if tensors is not None:
        write_table(tensors, inspection.measured, inspection.changes)
    written = None
    if not dry_run:
        written = treatment.write_in_place(inspection) if in_place else treatment.write(inspection, out)
    _finish(diagnose.diagnose_weights(inspection, known, str(written) if written else None), **output)


@doctor.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--patch", is_flag=True, help="Print the corrected file instead of the report.")
@click.option("--world-size", type=click.IntRange(min=1), help="The number of ranks that the run will have.")
@click.option("--axolotl", metavar="VERSION", help="The release of axolotl that will read it.")
@report_options
def config(
    path: Path, patch: bool, world_size: int | None, axolotl: str | None, folders: tuple[Path, ...], **output: Any
) -> NoReturn:
    """Say what a configuration will run into, and what to change.

    PATH is an axolotl YAML, a resolved configuration as a log prints it, a TrainingArguments or DeepSpeed JSON, or an
    accelerate YAML.
    """
    known = catalog.load(folders)
    told = {"world_size": world_size, "version.axolotl": axolotl}
    facts = {key: Fact(value) for key, value in told.items() if value is not None}
    report, result = diagnose.diagnose_config(path, known, facts)
    written = {"--output": output["output"]}
    _spare(written, folders, lambda: inputs.of_config(result.document))
    if not patch:
        _finish(report, **output)
    from doctor.config.patch import patched

    made = patched(result.document, report.findings, result.facts, known)
    click.echo(made.text, nl=False)
    click.echo("".join(f"doctor: left alone: {id}: {why}\n" for id, why in made.skipped), nl=False, err=True)
    sys.exit(exit_code(report, Severity(output["fail_on"])))


@doctor.group()
def signatures() -> None:
    """List signatures, and check files of your own."""


@signatures.command("check")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--provenance", is_flag=True, help="Also look for each raised_by literal in the installed libraries.")
@click.option(
    "--logs", "folder_of_logs", type=click.Path(path_type=Path), help="Also count the logs that each is found in."
)
def check_(folder: Path | None, provenance: bool, folder_of_logs: Path | None) -> NoReturn:
    """Load the signatures of FOLDER (default: the bundled ones) and run each on its own samples and on all others'."""
    from doctor.check import check

    mine, known = catalog.read_folder(folder or catalog.bundled()), catalog.load()
    checked = check(mine, known)
    for kind, remarks in (("", checked.faults), ("note: ", checked.notes)):
        click.echo("".join(f"{kind}{remark}\n" for remark in remarks), nl=False)
    if provenance:
        click.echo(_provenance(catalog.catalog_of(mine)), nl=False)
    if folder_of_logs is not None:
        click.echo(_coverage(mine, catalog.catalog_of([*known.files.values(), *mine]), folder_of_logs), nl=False)
    click.echo(f"{len(mine)} signatures, {len(checked.faults)} faults")
    sys.exit(ExitCode.FOUND if checked.faults else ExitCode.NOTHING_FOUND)


def _provenance(known: catalog.Catalog) -> str:
    from doctor.provenance import Provenance, origins

    found = origins(known.signatures())
    drifted = [one for one in found if one.state is Provenance.DRIFTED]
    lines = [f'drifted: {one.id}: {one.package} {one.version} has no "{one.literal}"' for one in drifted]
    counts = ", ".join(f"{sum(one.state is state for one in found)} {state.value}" for state in Provenance)
    return "\n".join([*lines, f"literals: {counts}"]) + "\n"


def _coverage(mine: list[catalog.SignatureFile], known: catalog.Catalog, folder: Path) -> str:
    from doctor.check import coverage

    reports = [diagnose.diagnose_logs([str(path)], known).findings for path in sorted(folder.iterdir())]
    counts = coverage(sorted(file.id for file in mine), reports)
    lines = [f"{count:>4}  {id}" for id, count in counts.items()]
    seen = sum(count > 0 for count in counts.values())
    return "\n".join([*lines, f"found in {len(reports)} logs: {seen} of {len(counts)} signatures"]) + "\n"


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


def _spare(outputs: dict[str, Path | None], folders: tuple[Path, ...], read: Callable[[], Iterable[Path]]) -> None:
    """Refuse to write over what a command reads, the signatures of these folders among it."""
    for option, path in outputs.items():
        if path is not None and inputs.among(path, (*read(), *inputs.of_signatures(folders))):
            raise click.UsageError(f"{option} {path}: is one of the files that are read; choose another place")


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
    # numpy would start a thread for each core when it is imported: none is used, and processes are forked.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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
