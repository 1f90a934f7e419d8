"""One call of Snakemake: what it was asked to make again, what goes before and after its jobs, and
whether its targets are there.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rope_spectra.artifacts import layout
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    from snakemake.settings.types import DAGSettings
    from snakemake.workflow import Workflow


def forced(settings: "DAGSettings | None") -> str:
    """The rules and files that the user wants made again whatever there is, as a JSON list.

    "*" stands for all of them.
    """
    if settings is None:
        return "[]"
    if settings.forceall:
        return json.dumps(["*"])
    targets = settings.targets if settings.forcetargets else ()
    return json.dumps(sorted({*settings.forcerun, *targets}))


def clear_exports() -> None:
    """Removes the file in which Snakemake keeps the time of an exported folder.

    It would be published with the model. Without it the time is that of the folder itself, which is
    now the present one.
    """
    for folder in layout.find(Path("results"), layout.HF):
        (folder / ".snakemake_timestamp").unlink(missing_ok=True)


def check_targets(workflow: "Workflow") -> None:
    """Raises UserError if a target of a call that has succeeded is not there.

    Calls that ask for a part of the way (--until, --omit-from, --batch) promise no targets, and
    those in an object storage are not files of this machine.
    """
    asked, dag = workflow.dag_settings, workflow.dag
    is_elsewhere = workflow.storage_settings.default_storage_provider is not None
    if asked.until or asked.omit_from or asked.batch or is_elsewhere:
        return
    targets = set(dag.derived_targetfiles)
    for job in dag.targetjobs:
        if job.rule in dag.targetrules:
            targets.update(job.output)
    missing = sorted(target for target in targets if not Path(target).exists())
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(
            f"{missing[0]}{others}: asked for and not there although every job has succeeded;"
            " call the same command again, and with --forceall if it stays away"
        )


@dataclass(frozen=True)
class _Both:
    """A handler of this workflow, then that of the workflow which has it as a module."""

    ours: Callable[[object], None]
    theirs: Callable[[object], None]

    def __call__(self, log: object) -> None:
        self.ours(log)
        self.theirs(log)


def serve_module(workflow: "Workflow") -> None:
    """Has the handlers of this workflow called where it is a module, too.

    Snakemake itself calls those of the main Snakefile only, as far as they stand above the module.
    Without ours, claims would not be sealed before the first training.
    """
    if workflow.modifier.is_main_snakefile():
        return
    for name in ("_onstart", "_onsuccess", "_onerror"):
        ours = workflow.globals[name.removeprefix("_")].func
        theirs = getattr(workflow, name)
        if isinstance(theirs, _Both):
            theirs = theirs.theirs  # the module is read again for each `use rule`
        setattr(workflow, name, _Both(ours, theirs))
