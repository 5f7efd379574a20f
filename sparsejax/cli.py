"""The `sparsejax` command: list the claims, verify one, report on runs and export them."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

# JAX, tyro, matplotlib and the claims are imported by the commands that need them: `list` and
# `--help` answer at once.
from sparsejax.claims.registry import CLAIMS
from sparsejax.command_words import UsageError, named, no_such
from sparsejax.terminal import print_run, print_table

if TYPE_CHECKING:
    from sparsejax.claims.claim import Claim

HOLDS, VIOLATED, USAGE, UNDECIDED = 0, 1, 2, 3
INTERNAL, INTERRUPTED = 70, 130

_EXIT_CODES = {
    "holds": HOLDS,
    "violated": VIOLATED,
    "inconclusive": UNDECIDED,
    "not_applicable": UNDECIDED,
}

_EPILOG = """exit code:
  0  the claim holds
  1  it is violated
  2  usage or input error
  3  inconclusive, or not applicable
"""


@dataclass(frozen=True)
class RunOptions:
    """What `verify` takes beside the claim's own config."""

    out: Path | None = None
    """The run's folder; a run that was interrupted continues in it. None: results/CLAIM, or
    results/CLAIM-control with --control."""
    json: bool = False
    """Print the verdict alone on standard output, as JSON."""
    control: bool = False
    """Run the claim's control, a setting in which it must not come out as holding."""
    preset: str | None = None
    """Start from one of the claim's named configs; options given beside it overrule its fields."""
    devices: int | None = None
    """CPU devices, of one thread each, for a claim that measures many lifts together. None: as many
    as this process has cores; each of several processes has one. GPUs are all used."""
    coordinator: str | None = None
    """HOST:PORT on which process 0 listens, when several processes share the run: each is given the
    same command, with the same --out on a disk that all see, --processes and its own --process.
    Tasks of one srun join by themselves."""
    processes: int | None = None
    """How many processes share the run; 1 keeps an srun task to itself."""
    process: int | None = None
    """Which of them this one is, from 0."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 holds, 1 violated, 2 usage or input, 3 undecided.

    Turns on JAX's float64 for the process when it verifies, reports or predicts.

    Args:
        arguments: words of the command line; the process's own by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except UsageError as error:
        print(f"sparsejax: {error}", file=sys.stderr)
        return USAGE
    except SystemExit as stop:
        # From the parsers, which have said what they had to say.
        return stop.code if isinstance(stop.code, int) else USAGE
    except KeyboardInterrupt:
        print(
            "sparsejax: interrupted; trials that had ended are stored, and the same command "
            "continues after them",
            file=sys.stderr,
        )
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more is to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERNAL
    except Exception:
        # Not left to the interpreter, whose exit code 1 would read as "violated".
        traceback.print_exc()
        return INTERNAL


def _dispatch(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="sparsejax",
        description="Verify deep-learning theory by experiment.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("list", help="the claims: name, statement, source")
    # Everything after `verify` belongs to the claim's own parser, its --help included.
    commands.add_parser(
        "verify", help="run a claim's experiment; verify CLAIM --help shows its options"
    )
    commands.add_parser(
        "show", help="draw a ready-made module and a lift of it; show NAME --help shows its options"
    )
    commands.add_parser(
        "target",
        help="what theory predicts of a target, from its name or a formula; target NAME --help "
        "shows its options",
    )
    commands.add_parser(
        "discover",
        help="which columns of a table matter and which act together; discover --help shows its "
        "options",
    )
    commands.add_parser(
        "pilot",
        help="whether a small sparse model of a table is enough, and what to widen next; "
        "pilot --help shows its options",
    )
    report = commands.add_parser(
        "report", help="figure and report again, from runs' folders; several are also compared"
    )
    report.add_argument("folder", nargs="+", type=Path, help="a run's folder")
    report.add_argument(
        "--out",
        type=Path,
        default=Path("results", "comparison"),
        help="where several runs' comparison goes (default: %(default)s)",
    )
    export = commands.add_parser("export", help="the raw measurements of runs as tidy tables")
    export.add_argument("folder", nargs="+", type=Path, help="a run's folder, finished or not")
    export.add_argument(
        "--to",
        type=Path,
        default=Path("measurements.csv"),
        metavar="FILE",
        help="FILE.csv or FILE.parquet: a row a trial; arrays go to FILE-arrays beside it "
        "(default: %(default)s)",
    )
    if words[:1] == ["verify"]:
        return _verify(words[1:])
    if words[:1] == ["show"]:
        from sparsejax.show_command import show

        return show(words[1:])
    if words[:1] == ["discover"]:
        from sparsejax.discover_command import discover

        return discover(words[1:])
    if words[:1] == ["pilot"]:
        from sparsejax.pilot_command import pilot

        _prepare()
        return pilot(words[1:])
    if words[:1] == ["target"]:
        from sparsejax.target_command import target

        _prepare()
        return target(words[1:])
    options = parser.parse_args(words)
    if options.command == "export":
        return _export(options.folder, options.to)
    return _list() if options.command == "list" else _report(options.folder, options.out)


def _version() -> str:
    try:
        return f"sparsejax {version('sparsejax')}"
    except PackageNotFoundError:
        return "sparsejax, not installed"


def _list() -> int:
    entries = [CLAIMS.entry(name) for name in CLAIMS]
    print_table(
        {"claim": entry.name, "statement": entry.statement, "source": entry.source}
        for entry in entries
    )
    return 0


def _verify(words: list[str]) -> int:
    name, rest = named(words, CLAIMS, "verify", "claim", _EPILOG)
    claim = _claim(name)
    options, config = _parse(claim, rest)
    _check_processes(options)
    _prepare()
    _start_backend(claim, options)
    import jax
    from rich.console import Console

    from sparsejax.runs import (
        AnotherProcessFailed,
        FolderError,
        InvalidConfig,
        Lines,
        RunProgress,
        run_claim,
        terminal_progress,
    )
    from sparsejax.runs.processes import chatter_to_standard_error
    from sparsejax.runs.strict_json import dumps

    out = options.out or Path("results", f"{name}-control" if options.control else name)
    progress: RunProgress = terminal_progress()
    if jax.process_count() > 1:
        progress = Lines(Console(stderr=True), f"process {jax.process_index()}: ")
    try:
        with chatter_to_standard_error():
            run = run_claim(claim, config, out, control=options.control, progress=progress)
    except (InvalidConfig, FolderError) as error:
        raise UsageError(str(error)) from None
    except AnotherProcessFailed as failure:
        print(f"sparsejax: {failure}", file=sys.stderr)
        return INTERNAL
    if jax.process_index() != 0:
        pass  # One table for all.
    elif options.json:
        print(dumps(run.record), end="")
    else:
        print_run(run.record, run.rows, run.folder)
    return _EXIT_CODES[run.verdict.status]


def _report(folders: list[Path], out: Path) -> int:
    _prepare()
    from sparsejax.runs import FolderError, RunFolder, recreate
    from sparsejax.runs.comparison import check_comparison_folder, compare_runs

    # The same folder twice is one run.
    folders = list({folder.resolve(): folder for folder in folders}.values())
    if len(folders) > 1:
        try:
            check_comparison_folder(out)
        except FolderError as error:
            raise UsageError(str(error)) from None
    done, left_out = [], {}
    for folder in folders:
        try:
            claim = _claim(RunFolder.existing(folder).header["claim"])
            run = recreate(claim, folder)
        except (FolderError, UsageError) as error:
            print(f"sparsejax: {error}", file=sys.stderr)
            left_out[str(folder)] = str(error)
            continue
        print_run(run.record, run.rows, run.folder)
        done.append((claim, run))
    if len(done) > 1:
        try:
            print(f"compared in {compare_runs(done, out, left_out)}")
        except FolderError as error:
            raise UsageError(str(error)) from None
    elif len(folders) > 1:
        print("sparsejax: nothing to compare: fewer than two runs read", file=sys.stderr)
    return USAGE if left_out else 0


def _export(folders: list[Path], to: Path) -> int:
    from sparsejax.runs import FolderError
    from sparsejax.runs.export import MissingExtra, export_runs

    try:
        exported = export_runs(folders, to)
    except (FolderError, MissingExtra, ValueError) as error:
        raise UsageError(str(error)) from None
    for problem in exported.problems:
        print(f"sparsejax: {problem}", file=sys.stderr)
    for path, rows in exported.written.items():
        print(f"{path}: {rows} rows")
    return USAGE if exported.problems else 0


def _prepare() -> None:
    import jax
    import matplotlib

    # Here and not on import: precision belongs to the process, and this process is ours.
    jax.config.update("jax_enable_x64", True)
    matplotlib.use("Agg")


def _start_backend(claim: Claim, options: RunOptions) -> None:
    from sparsejax.claims.claim import BatchedClaim
    from sparsejax.runs import join_processes, join_slurm
    from sparsejax.runs.backend import keep_programs, split_cpu, wait_for_slow_devices

    batched = isinstance(claim, BatchedClaim)
    if options.devices is not None and not batched:
        raise UsageError(
            f"devices: {claim.name} measures one trial at a time, on one device with all threads"
        )
    if options.devices is not None and options.devices < 1:
        raise UsageError(f"devices: at least one is needed, got {options.devices}")
    keep_programs()
    wait_for_slow_devices()
    joined = options.coordinator is not None
    try:
        if joined:
            # Checked to be given together.
            assert options.processes is not None and options.process is not None
            join_processes(options.coordinator or "", options.processes, options.process)
        elif options.processes is None:
            joined = join_slurm()
    except RuntimeError as error:
        raise UsageError(f"the processes do not come together: {error}") from None
    if not batched:
        return
    try:
        # In joined processes a CPU's devices meet through the library for hosts, which can lock up
        # when one comes much later than another (seen with jaxlib 0.10.1).
        split_cpu(1 if joined else options.devices)
    except RuntimeError as error:
        raise UsageError(f"devices: {error}") from None


def _check_processes(options: RunOptions) -> None:
    wanted = {name: getattr(options, name) for name in ("coordinator", "processes", "process")}
    given = [name for name, value in wanted.items() if value is not None]
    if not given or (given == ["processes"] and options.processes == 1):
        return
    missing = [f"--{name}" for name, value in wanted.items() if value is None]
    if missing:
        raise UsageError(
            f"{' and '.join(f'--{name}' for name in given)} "
            f"{'needs' if len(given) == 1 else 'need'} {' and '.join(missing)} too"
        )
    if options.devices is not None:
        raise UsageError(
            "devices: each of several processes has one CPU device: start more of them"
        )
    host, _, port = wanted["coordinator"].rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"coordinator: HOST:PORT is wanted, got {options.coordinator}")
    if not 0 <= wanted["process"] < wanted["processes"]:
        raise UsageError(
            f"process: one of 0 to {wanted['processes'] - 1} is wanted, got {options.process}"
        )


def _claim(name: str) -> Claim:
    if name not in CLAIMS:
        raise UsageError(no_such("claim", name, CLAIMS))
    return CLAIMS[name]


def _parse(claim: Claim, words: list[str]) -> tuple[RunOptions, Any]:
    import tyro

    presets = getattr(claim, "presets", {})
    start = _start(claim, presets, words)
    invocation = make_dataclass(
        "Invocation",
        [
            ("run", tyro.conf.FlagCreatePairsOff[RunOptions], field(default=RunOptions())),
            ("setting", claim.Config, field(default=start)),
        ],
        frozen=True,
    )
    known = f" Presets: {', '.join(presets)}." if presets else ""
    try:
        parsed: Any = tyro.cli(
            invocation,
            args=words,
            prog=f"sparsejax verify {claim.name}",
            description=f"{claim.statement} Source: {claim.source}.{known}",
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return parsed.run, parsed.setting


def _start(claim: Claim, presets: Mapping[str, Any], words: list[str]) -> Any:
    # The preset makes the defaults of the options, so it is found before they are parsed.
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset")
    try:
        name = parser.parse_known_args(words)[0].preset
    except argparse.ArgumentError:
        # No word after it: the parser of all options says so.
        name = None
    if name is None:
        return claim.Config()
    if not presets:
        raise UsageError(f"preset: {claim.name} has none")
    if name not in presets:
        raise UsageError(no_such("preset", name, presets))
    return presets[name]
