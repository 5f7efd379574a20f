"""How any claim is run: its folder, its progress, its report."""

from sparsejax.runs.environment import (
    current_environment as current_environment,
    git_revision as git_revision,
)
from sparsejax.runs.processes import (
    AnotherProcessFailed as AnotherProcessFailed,
    join_processes as join_processes,
    join_slurm as join_slurm,
)
from sparsejax.runs.progress import (
    Bar as Bar,
    Lines as Lines,
    RunProgress as RunProgress,
    terminal_progress as terminal_progress,
)
from sparsejax.runs.report import report_page as report_page
from sparsejax.runs.run import (
    InvalidConfig as InvalidConfig,
    Run as Run,
    recreate as recreate,
    run_claim as run_claim,
)
from sparsejax.runs.settings import (
    command_line as command_line,
    config_from_json as config_from_json,
)
from sparsejax.runs.store import (
    DamagedTrial as DamagedTrial,
    FolderError as FolderError,
    RunFolder as RunFolder,
    StoredTrial as StoredTrial,
)
