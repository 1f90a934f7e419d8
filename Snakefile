# The whole workflow in one screen: settings, rules, what is built.
#   snakemake --cores 1 --resources gpu=1            everything that config.yaml names under `run`
#   snakemake results/summary.csv                    the table alone
#   snakemake results/demo/geo_500k/seed42/eval.csv  one run

import atexit
import gc
import json
import os
import sys
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

from snakemake import common, rules as rule_module
from snakemake.dag import DAG
from snakemake.report import html_reporter
from snakemake.utils import min_version

min_version("9.27")

DRY_RUN = workflow.output_settings.dryrun  # workflow.dryrun is not set yet

# The plan of a large study is millions of objects and next to no garbage: looking for some took a
# fourth of a dry run.
if DRY_RUN:
    gc.disable()
    atexit.register(gc.freeze)  # Python looks once more before it ends

# Jobs run the code next to this file and the Python that runs Snakemake, whether or not the
# environment is activated. As a module of another workflow this file may be in a repository far
# away: its code is then the installed package.
PACKAGE = os.path.join(workflow.current_basedir.get_path_or_uri(secret_free=True), "workflow")
if os.path.isdir(PACKAGE):
    sys.path.insert(0, PACKAGE)
    os.environ.update(
        PYTHONPATH=os.pathsep.join(filter(None, [PACKAGE, os.environ.get("PYTHONPATH")]))
    )
elif not find_spec("rope_spectra"):
    sys.exit(
        "rope_spectra: this workflow is elsewhere, install its package here (config/README.md)"
    )
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
)

from rope_spectra.analysis import counterparts, declaration
from rope_spectra.artifacts import kept, layout, seal
from rope_spectra.config import appearance, checks, frozen, parts, text as config_text
from rope_spectra.config.hypotheses import FEWEST_SPECTRA
from rope_spectra.config.load import load
from rope_spectra.config.repair import repair
from rope_spectra.data.base import DocumentSection
from rope_spectra.planning import call, finished, hidden_jobs, limits, prospects, signatures
from rope_spectra.planning import targets
from rope_spectra.planning.settle import settle
from rope_spectra.report import in_snakemake
from rope_spectra.runtime import stale_locks
from rope_spectra.runtime.errors import or_exit

# Check the files that Snakemake has read already, as far as they can be seen from here (with
# --directory they may not).
or_exit(
    config_text.check,
    [path for path in map(Path, ["config.yaml", *workflow.overwrite_configfiles]) if path.exists()],
)

IS_REAL = workflow.is_main_process and not DRY_RUN  # neither a dry run nor a job
if IS_REAL and stale_locks.begin(Path(".snakemake")):
    or_exit(finished.put_back)  # the one before was killed, and could not do it

hidden_jobs.see(DAG)
signatures.see(common, rule_module)
in_snakemake.see(html_reporter.data)


configfile: "config.yaml"


config = or_exit(load, config, workflow.config_settings.config)

# Not as a module of another workflow, whose terminal is its own.
if IS_REAL and os.path.dirname(PACKAGE) == str(workflow.basedir):
    from rope_spectra.monitor import terminal

    terminal.take(workflow, config)

# A workflow that has this one as a module has targets of its own.
if workflow.is_main_process and workflow.modifier.is_main_snakefile():
    targets.see(DAG, config)

if IS_REAL:
    for path in repair(config):
        print(f"{path}: was empty or torn; written again", file=sys.stderr)

if workflow.is_main_process:
    or_exit(prospects.check, config, limits.RESULTS)
    for remark in prospects.remarks(config, limits.RESULTS):
        print(remark, file=sys.stderr)
    settle(config)


localrules:
    all,
    data_config,
    run_config,
    evaluation_config,
    run_options,
    experiment_config,
    appearance,
    aggregate,
    page,
    interactive,
    summary,
    figures,
    paper_figure,
    paper,
    published,
    noise_floor,
    retrieval,
    retrieval_distance,
    theory,
    hypotheses,
    frontier,
    rates,
    usage_config,
    usage_table,
    search_config,
    propose,
    candidate_config,
    part_config,
    best,
    course,


PARTS_OF_SEARCHES = [part for name in config.searches for part in config.parts_of(name)]
PROPOSED = sorted({name for part in PARTS_OF_SEARCHES for name in frozen.proposed(config, part)})


wildcard_constraints:
    experiment=layout.any_of(config.experiments),
    search=layout.any_of(config.searches),
    spectrum=layout.ANY_SPECTRUM,
    dataset=layout.any_of(config.datasets),
    split="|".join(layout.SPLITS),
    figure="[a-z_]+",
    seed="(0|[1-9][0-9]{0,18})(-repeat[1-9][0-9]*)?",


report: "workflow/report/workflow.rst"


# For `--sdm apptainer` alone; envs/apptainer.def says how to build it.
container: "envs/rope-spectra.sif"


onstart:
    or_exit(limits.check_commands, workflow.executor_plugin.name)
    stale_locks.planned()
    os.environ[kept.FORCED] = call.forced(workflow.dag_settings)  # not set before the plan
    or_exit(finished.keep)
    # What an experiment claims is sealed before its first training.
    for name in experiments_to_claim():
        or_exit(declaration.declare, frozen.design(config, name))


onsuccess:
    stale_locks.take_turn()
    or_exit(call.check_targets, workflow)
    call.clear_exports()


onerror:
    stale_locks.take_turn()
    or_exit(finished.put_back)


call.serve_module(workflow)


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/export.smk"


rule all:
    default_target: True
    input:
        layout.SUMMARY,
        layout.SUMMARY_MD,
        [experiment_files(name) for name in config.tabulated],
        files_of_runs(),
        expand(layout.SEARCH_FILES, search=config.sought),
