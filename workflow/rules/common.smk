# What a job reads, as far as it depends on the configuration, and how the report page lists what it writes.


def raw_files(split):
    """An input function: the user's own files that a split is made of; none for the hub and the generated corpus."""
    return lambda wildcards: settings.raw_files(config, wildcards.dataset, split or wildcards.split)


def is_tokenized(dataset):
    """Whether a dataset comes as token ids: it then has no tokenizer and no shards."""
    return config["datasets"][dataset]["source"] == "tokens"


def shards(wildcards):
    """What memmap_cache joins: the shards of tokenize_*, or a raw token file as it is."""
    return raw_files(None)(wildcards) if is_tokenized(wildcards.dataset) else layout.SHARDS


def dataset_file(pattern, split):
    """An input function: a file of that split in the dataset of the job's experiment."""
    return lambda wildcards: pattern.format(
        dataset=config["experiments"][wildcards.experiment]["dataset"], split=split
    )


def sentence_file(use):
    """An input function: the sentence of the retrieval probe where the experiment's training or evaluation (`use`) has it."""

    def path(wildcards):
        dataset = config["experiments"][wildcards.experiment]["dataset"]
        return (
            layout.SENTENCE.format(dataset=dataset)
            if settings.uses_sentence(config, wildcards.experiment, use)
            else []
        )

    return path


def sentence_option(wildcards, input):
    """The sentence as an argument of the step, where there is one."""
    return f"--sentence {input.sentence}" if input.sentence else ""


def token_bytes(wildcards):
    """Bytes of each token id, for bits per byte; unknown where there is no tokenizer."""
    dataset = config["experiments"][wildcards.experiment]["dataset"]
    return [] if is_tokenized(dataset) else layout.TOKEN_BYTES.format(dataset=dataset)


def tokenizer_file(wildcards):
    """The tokenizer of the experiment's dataset; none where the data are tokens already."""
    dataset = config["experiments"][wildcards.experiment]["dataset"]
    return [] if is_tokenized(dataset) else layout.TOKENIZER.format(dataset=dataset)


def all_runs(experiment):
    """(spectrum, seed) of every run of an experiment, those that repeat another one included."""
    return settings.runs(config, experiment) + settings.repeats(config, experiment)


def finished_runs(wildcards):
    """What the runs of an experiment leave for its tables."""
    return [
        path
        for run in all_runs(wildcards.experiment)
        for path in layout.run_files(wildcards.experiment, *run)
    ]


def repeated_runs(wildcards):
    """What the runs that show the noise floor leave: the baseline with every seed, and its repeats."""
    runs = noise_floor.runs(config["experiments"][wildcards.experiment])
    return [path for run in runs for path in layout.run_files(wildcards.experiment, *run)]


def experiment_files(experiment):
    """What an experiment is read by; beside the published numbers where the study has them and its protocol is evaluated."""
    files = layout.experiment_files(experiment)
    evaluation = settings.evaluation_settings(config, experiment)
    if (
        published.has_counterpart(experiment)
        and "first_chunks" in evaluation["protocols"]
        and "none" in evaluation["remaps"]
    ):
        files += [
            path.format(experiment=experiment)
            for path in (layout.PUBLISHED, layout.PUBLISHED_FIGURE)
        ]
    if settings.repeats(config, experiment):
        files.append(layout.NOISE_FLOOR.format(experiment=experiment))
    if evaluation.get("retrieval"):
        files += [
            path.format(experiment=experiment)
            for path in (layout.RETRIEVAL, layout.RETRIEVAL_RUNS, layout.RETRIEVAL_FIGURE)
        ]
    return files


def in_report(path, caption, kind, title, category="{experiment}"):
    """A figure or a table as the page of --report lists it: by category, with a caption of workflow/report, titles sorted."""
    subcategory = {"figure": "Figures", "table": "Tables"}[kind]
    return report(
        path,
        caption=f"../report/{caption}.rst",
        category=category,
        subcategory=subcategory,
        labels={kind: title},
    )
