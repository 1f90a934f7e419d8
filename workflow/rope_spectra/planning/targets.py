"""Mistakes in the targets of a call of Snakemake, found before it plans.

Of a misspelt one Snakemake itself says that no rule makes it, or that the training lacks an input,
and a run with a wrong seed it trains. Imports nothing heavy.
"""

import sys
from collections.abc import Iterable
from functools import wraps
from pathlib import Path
from typing import Any

from rope_spectra.artifacts import layout
from rope_spectra.config import frozen
from rope_spectra.config.sections import Config
from rope_spectra.runtime.errors import UserError, or_exit
from rope_spectra.runtime.messages import nearest


def see(dag_class: type[Any], config: Config) -> None:
    """Makes Snakemake's DAG look at its targets first: no earlier does it know them."""
    begin = getattr(dag_class.init, "__wrapped__", dag_class.init)

    @wraps(begin)
    async def init(dag: Any, *args: Any, **kwargs: Any) -> None:
        targets = sorted(map(str, dag.targetfiles))
        or_exit(check, config, targets)
        for remark in remarks(config, targets):
            print(remark, file=sys.stderr)
        await begin(dag, *args, **kwargs)

    dag_class.init = init


def check(config: Config, targets: Iterable[str]) -> None:
    """Raises UserError, a line for each target whose experiment or spectrum is not known."""
    lines = [line for target in targets for line in _mistakes(config, target)]
    if lines:
        raise UserError("\n".join(lines))


def _mistakes(config: Config, target: str) -> list[str]:
    known = [*config.experiments, *config.searches]
    name = target.removeprefix("results/")
    if name in known:
        return [f"{target}: an experiment is no target; write --config run={name}, or one file"]
    results, *folders = Path(target).parent.parts or [""]
    if results != "results" or not folders or folders[0] in layout.RESERVED_NAMES["experiments"]:
        return []
    if folders[0] not in known:
        return [f"{target}: unknown experiment {folders[0]!r}; {_remedy(folders[0], known)}"]
    experiment, spectrum, _ = layout.run_in(target) or ("", "", "")
    # The parts of a search have spectra of their own.
    if not experiment or layout.search_of(experiment) or spectrum in config.spectra:
        return []
    return [f"{target}: unknown spectrum {spectrum!r}; {_remedy(spectrum, config.spectra)}"]


def _remedy(name: str, known: Iterable[str]) -> str:
    meant = nearest(name, known)
    return f"did you mean {meant!r}?" if meant else "give the --configfile that defines it"


def remarks(config: Config, targets: Iterable[str]) -> list[str]:
    """Lines about runs that are made although their experiment does not have them."""
    lines = []
    for target in targets:
        experiment, spectrum, seed = layout.run_in(target) or ("", "", "")
        if experiment in config.experiments:
            runs = frozen.runs(config, experiment) + frozen.repeats(config, experiment)
            if (spectrum, seed) not in [(name, str(number)) for name, number in runs]:
                lines.append(
                    f"{target}: {experiment} has no run of {spectrum} with seed {seed};"
                    " it is made all the same, and no table will have it"
                )
    return lines
