# The inputs of jobs that depend on the configuration, and the entries of the report page.


def of_experiment(estimate):
    """An estimate for a job of an experiment; a dry run makes it once, and not for each job.

    In a run it may change: the tokens of a text are known once it is tokenized.
    """
    of_config = partial(estimate, config)
    return cache(of_config) if DRY_RUN else of_config


train_minutes = of_experiment(limits.train_minutes)
train_mb = of_experiment(limits.train_mb)
evaluate_minutes = of_experiment(limits.evaluate_minutes)
evaluate_mb = of_experiment(limits.evaluate_mb)
usage_minutes = of_experiment(limits.usage_minutes)
needs = of_experiment(checks.needs)


def dataset_of(experiment):
    """The name of an experiment's dataset."""
    return config.experiments[experiment].dataset


def raw_files(split):
    """An input function: the user's own files of a split; none for the hub and generated text."""
    return lambda w: config.datasets[w.dataset].split(split or w.split).local_files()


def is_tokenized(dataset):
    """True for a dataset that comes as token ids: it has no tokenizer and no shards."""
    return not isinstance(config.datasets[dataset], DocumentSection)


def shards(wildcards):
    """The input of memmap_cache: the shards of tokenize_*, or a raw token file as it is."""
    return raw_files(None)(wildcards) if is_tokenized(wildcards.dataset) else layout.SHARDS


def dataset_file(pattern, split):
    """An input function: a file of that split in the dataset of the job's experiment."""
    return lambda w: pattern.format(dataset=dataset_of(w.experiment), split=split)


def sentence_file(use):
    """An input function: what the retrieval probe asks with where `use` of the experiment has it.

    `use` is "training" or "evaluation".
    """

    def path(wildcards):
        experiment = wildcards.experiment
        part = {"training": config.training_of, "evaluation": config.evaluation_of}[use]
        probe = part(experiment).probe
        return layout.PROBES[probe].format(dataset=dataset_of(experiment)) if probe else []

    return path


def sentence_option(wildcards, input):
    """What the retrieval probe asks with as an argument of the step, where there is one."""
    return f"--sentence {input.sentence}" if input.sentence else ""


def tokenizer_file(pattern):
    """An input function: a file of the dataset's tokenizer; none where the data are token ids."""

    def path(wildcards):
        dataset = dataset_of(wildcards.experiment)
        return [] if is_tokenized(dataset) else pattern.format(dataset=dataset)

    return path


def language(wildcards):
    """The language of the text as an argument of the export, where the dataset names it."""
    found = getattr(config.dataset_of(wildcards.experiment), "language", None)
    return f"--language {found}" if found else ""


def all_runs(experiment):
    """(spectrum, seed) of every run of an experiment, those that repeat another one included."""
    return frozen.runs(config, experiment) + frozen.repeats(config, experiment)


def experiments_to_claim():
    """The experiments of which this invocation will train runs; of a search its confirmation."""
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule is rules.train.rule]
    trained = {job.wildcards.experiment for job in jobs}
    return sorted({config.claiming(name) for name in trained})


def earlier_rounds(wildcards):
    """The rounds that the candidates of a part of a search follow from: runs and candidates."""
    return parts.step_inputs(config, wildcards.experiment)


def of_confirmation(pattern):
    """The pattern of a file of the confirmation of a search."""
    return pattern.format(experiment=layout.part_of_search("{search}", None))


def finished_runs(wildcards):
    """The files that the runs of an experiment leave for its tables."""
    return [
        path
        for run in all_runs(wildcards.experiment)
        for path in layout.run_files(wildcards.experiment, *run)
    ]


def files_of_runs():
    """The files of runs that the default target asks for, so that a lost one is made again.

    As long as the tables of an experiment are to be made, they ask for all of its runs. After that
    only files that are not there matter; Snakemake would look for a rule for each of the others.
    """
    if not workflow.is_main_process:
        return []  # a job has a target of its own, and the disk may be slow
    files = []
    for name in config.trained:
        of_runs = [path for run in all_runs(name) for path in layout.run_files(name, *run)]
        if name in config.tabulated and are_results_here():
            is_done = os.path.exists(layout.RUNS.format(experiment=name))
            of_runs = [path for path in of_runs if is_done and not os.path.exists(path)]
        files += of_runs
    return files


def are_results_here():
    """False where results/ is in an object storage or below the prefix that a module has."""
    is_elsewhere = workflow.storage_settings.default_storage_provider is not None
    return workflow.modifier.is_main_snakefile() and not is_elsewhere


def repeated_runs(wildcards):
    """The files of the runs that show the noise floor: the baseline's seeds and its repeats."""
    design = frozen.design(config, wildcards.experiment)
    return [
        path
        for run in design.noise_floor_runs
        for path in layout.run_files(wildcards.experiment, *run)
    ]


@cache
def optional_patterns(experiment):
    """The tables and figures that this experiment has and not every other, as patterns of paths.

    The comparison with published numbers needs the study's protocol among those evaluated.
    """
    settings = config.experiments[experiment]
    evaluation = config.evaluation_of(experiment)
    patterns = []
    as_published = "first_chunks" in evaluation.protocols and "none" in evaluation.remaps
    if experiment in counterparts.COUNTERPARTS and as_published:
        patterns += [layout.PUBLISHED, layout.PUBLISHED_FIGURE]
    if settings.noise_floor:
        patterns.append(layout.NOISE_FLOOR)
    if evaluation.retrieval:
        patterns += [layout.RETRIEVAL, layout.RETRIEVAL_RUNS, layout.RETRIEVAL_FIGURE]
        if evaluation.retrieval.tasks:
            patterns += [layout.RETRIEVAL_DISTANCE, layout.RETRIEVAL_DISTANCE_FIGURE]
    # Enough spectra, as they were trained, to correlate over them.
    if len(settings.spectra) >= FEWEST_SPECTRA and "none" in evaluation.remaps:
        patterns.append(layout.THEORY)
    if settings.hypotheses:
        patterns.append(layout.HYPOTHESES)
    if settings.retrieval:
        patterns += [layout.FRONTIER, layout.FRONTIER_FIGURE]
    if settings.rates:
        patterns.append(layout.RATES)
    if evaluation.usage:
        patterns += [layout.USAGE_TABLE, layout.USAGE_RUNS, layout.USAGE_ATTENTION]
        patterns += layout.USAGE_FIGURES
    return patterns


def where_it_is_made(pattern):
    """An input function: one of the optional tables, where the experiment has it."""

    def path(wildcards):
        is_made = pattern in optional_patterns(wildcards.experiment)
        return pattern.format(experiment=wildcards.experiment) if is_made else []

    return path


def experiment_files(experiment):
    """The tables and figures of an experiment, and what is measured for them besides its runs."""
    files = layout.experiment_files(experiment)
    if config.evaluation_of(experiment).usage:
        files += usage_files(experiment)
    return files + [
        pattern.format(experiment=experiment) for pattern in optional_patterns(experiment)
    ]


def paper_figures(experiment):
    """All figures of an experiment, in all kinds and forms."""
    svgs = [path for path in experiment_files(experiment) if path.endswith(".svg")]
    names = [Path(path).stem for path in svgs]
    return expand(layout.PAPER_FIGURES, experiment=experiment, figure=names)


def summarized():
    """The experiments of this run that the joined table has: those at other learning rates too."""
    rates = [other for name in config.tabulated for other in config.experiments[name].rates]
    return list(dict.fromkeys([*config.tabulated, *rates]))


def of_all_rates(pattern):
    """An input function: a file of each experiment at another learning rate."""
    return lambda w: expand(pattern, experiment=config.experiments[w.experiment].rates)


def usage_files(experiment):
    """What has been measured of the use of the pairs, in all runs that serve verdicts."""
    return [
        pattern.format(experiment=experiment, spectrum=spectrum, seed=seed)
        for spectrum, seed in frozen.design(config, experiment).confirming_runs
        for pattern in (layout.USAGE, layout.USAGE_RECORD)
    ]


def table_options(wildcards, input):
    """The tables that not every experiment has, as options of the page."""
    options = {
        "--noise-floor": input.noise_floor,
        "--retrieval": input.retrieval,
        "--theory": input.theory,
        "--hypotheses": input.hypotheses,
        "--frontier": input.frontier,
        "--rates": input.rates,
        "--usage": input.usage,
    }
    return " ".join(f"{option} {path}" for option, path in options.items() if path)


def in_report(path, caption, kind, title, category="{experiment}"):
    """A figure or a table as the page of --report lists it, with a caption of workflow/report.

    The page sorts by title, so titles begin with a number.
    """
    subcategory = {"figure": "Figures", "table": "Tables"}[kind]
    return report(
        path,
        caption=f"../report/{caption}.rst",
        category=category,
        subcategory=subcategory,
        labels={kind: title},
    )
