# From the runs of an experiment to tables, figures and pages. They are the content of
# `snakemake --report report.html`.


FIGURE_TITLES = {
    "ppl_by_length": "1 Perplexity by length",
    "degradation_by_length": "2 Degradation by length",
    "paired_deltas": "3 Difference from the baseline",
    "nll_by_position": "4 Loss by position",
    "training_loss": "5 Training loss",
    "spectra": "6 Wavelengths of the spectra",
}

USAGE_TITLES = {
    "usage": "9 Cost of stilling a pair",
    "usage_slower": "9 Cost of stilling all slower pairs",
    "usage_norms": "9 Norms of queries and keys",
    "usage_attention": "9 Attention by distance",
}


# Frozen as the settings of runs are, but by a script: a large study is longer than a command line
# may be.
rule experiment_config:
    output:
        layout.EXPERIMENT,
    log:
        layout.log("experiment_config/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    params:
        text=lambda w: seal.dumps(frozen.design(config, w.experiment).content()),
    script:
        "../scripts/freeze.py"


# The labels and colors of the spectra: only what is drawn or written depends on them.
rule appearance:
    output:
        layout.APPEARANCE,
    log:
        layout.log("appearance/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    params:
        text=lambda w: seal.dumps(appearance.appearance(config, w.experiment).content()),
    script:
        "../scripts/freeze.py"


rule aggregate:
    input:
        finished_runs,
        design=layout.EXPERIMENT,
    output:
        runs=in_report(layout.RUNS, "runs", "table", "3 Every run"),
        csv=in_report(
            layout.EXPERIMENT_SUMMARY, "experiment_summary", "table", "2 Summary with all columns"
        ),
        record=layout.TABLES,
    log:
        layout.log("aggregate/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    params:
        edition=3,  # raise it to have the tables of finished runs made again
    shell:
        "python -m rope_spectra.aggregate --definition {input.design} --runs {output.runs}"
        " --csv {output.csv} --log {log}"


rule page:
    input:
        layout.TABLES,
        design=layout.EXPERIMENT,
        appearance=layout.APPEARANCE,
        summary=layout.EXPERIMENT_SUMMARY,
        noise_floor=where_it_is_made(layout.NOISE_FLOOR),
        retrieval=where_it_is_made(layout.RETRIEVAL),
        theory=where_it_is_made(layout.THEORY),
        hypotheses=where_it_is_made(layout.HYPOTHESES),
        frontier=where_it_is_made(layout.FRONTIER),
        rates=where_it_is_made(layout.RATES),
        usage=where_it_is_made(layout.USAGE_RUNS),
    output:
        in_report(layout.EXPERIMENT_SUMMARY_MD, "experiment_page", "table", "1 Summary for reading"),
    log:
        layout.log("page/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    params:
        tables=table_options,
    shell:
        "python -m rope_spectra.page --definition {input.design} --appearance {input.appearance}"
        " --summary {input.summary}"
        " {params.tables} --output {output} --log {log}"


# The same to look into, in a browser.
rule interactive:
    input:
        layout.TABLES,
        design=layout.EXPERIMENT,
        appearance=layout.APPEARANCE,
        runs=layout.RUNS,
        summary=layout.EXPERIMENT_SUMMARY,
        frontier=where_it_is_made(layout.FRONTIER),
    output:
        in_report(layout.INTERACTIVE, "interactive", "figure", "0 Interactive page"),
    log:
        layout.log("interactive/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    params:
        frontier=lambda w, input: f"--frontier {input.frontier}" if input.frontier else "",
    shell:
        "python -m rope_spectra.interactive --definition {input.design}"
        " --appearance {input.appearance} --runs {input.runs} --summary {input.summary}"
        " {params.frontier} --output {output} --log {log}"


rule figures:
    input:
        layout.RUNS,
        layout.EXPERIMENT_SUMMARY,
        layout.TABLES,
        design=layout.EXPERIMENT,
        appearance=layout.APPEARANCE,
    output:
        figures=[
            in_report(path, name, "figure", FIGURE_TITLES[name])
            for name, path in zip(layout.FIGURES, layout.figure_files("{experiment}"), strict=True)
        ],
        spectra=in_report(layout.SPECTRA, "spectra_table", "table", "4 Diagnostics of the spectra"),
    log:
        layout.log("figures/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.figures --definition {input.design} --appearance {input.appearance}"
        " --output $(dirname {output.figures} | head -n 1) --spectra-csv {output.spectra}"
        " --log {log}"


# Figures as PDF and PNG, and in the width of a paper's column, on request: one of them, such as
# results/demo/figures/column/ppl_by_length.pdf, or all of `run` by the target `paper`.
rule paper_figure:
    input:
        layout.FIGURE,
        design=layout.EXPERIMENT,
        appearance=layout.APPEARANCE,
    output:
        layout.PAPER_FIGURES,
    log:
        layout.log("paper_figure/{experiment}/{figure}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.paper --definition {input.design} --appearance {input.appearance}"
        " --figure {wildcards.figure} --output $(dirname {output} | head -n 1) --log {log}"


rule paper:
    input:
        [paper_figures(name) for name in config.tabulated],


rule published:
    input:
        layout.TABLES,
        runs=layout.RUNS,
        appearance=layout.APPEARANCE,
    output:
        csv=in_report(layout.PUBLISHED, "published_table", "table", "5 Published and ours"),
        figure=in_report(layout.PUBLISHED_FIGURE, "published", "figure", "7 Published and ours"),
    log:
        layout.log("published/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.published --experiment {wildcards.experiment} --runs {input.runs}"
        " --appearance {input.appearance} --csv {output.csv} --figure {output.figure} --log {log}"


# How far runs with the same seed differ.
rule noise_floor:
    input:
        repeated_runs,
        design=layout.EXPERIMENT,
    output:
        in_report(layout.NOISE_FLOOR, "noise_floor", "table", "6 Repeats of one run"),
    log:
        layout.log("noise_floor/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.noise_floor --definition {input.design} --csv {output} --log {log}"


# What the retrieval probe has measured in the runs.
rule retrieval:
    input:
        layout.TABLES,
        design=layout.EXPERIMENT,
        appearance=layout.APPEARANCE,
    output:
        csv=in_report(layout.RETRIEVAL, "retrieval_table", "table", "7 Retrieval by spectrum"),
        runs=in_report(layout.RETRIEVAL_RUNS, "retrieval_runs", "table", "8 Retrieval of every run"),
        figure=in_report(layout.RETRIEVAL_FIGURE, "retrieval", "figure", "8 Retrieval by length"),
    log:
        layout.log("retrieval/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.retrieval --definition {input.design}"
        " --appearance {input.appearance} --csv {output.csv} --runs {output.runs}"
        " --figure {output.figure} --log {log}"


# Where the probe has tasks: how far back what they state can be found.
rule retrieval_distance:
    input:
        layout.TABLES,
        design=layout.EXPERIMENT,
        appearance=layout.APPEARANCE,
    output:
        csv=in_report(
            layout.RETRIEVAL_DISTANCE,
            "retrieval_distance_table",
            "table",
            "7b Retrieval by distance",
        ),
        figure=in_report(
            layout.RETRIEVAL_DISTANCE_FIGURE,
            "retrieval_distance",
            "figure",
            "8b Retrieval by distance",
        ),
    log:
        layout.log("retrieval_distance/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.retrieval_distance --definition {input.design}"
        " --appearance {input.appearance} --csv {output.csv} --figure {output.figure} --log {log}"


# What the spectra's frequencies say beforehand, next to what was measured.
rule theory:
    input:
        layout.TABLES,
        layout.RUNS,
        design=layout.EXPERIMENT,
    output:
        in_report(layout.THEORY, "theory", "table", "9 Theory: diagnostics and measurement"),
    log:
        layout.log("theory/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.theory --definition {input.design}" " --csv {output} --log {log}"


rule hypotheses:
    input:
        layout.TABLES,
        layout.RUNS,
        design=layout.EXPERIMENT,
    output:
        in_report(layout.HYPOTHESES, "hypotheses", "table", "9 Hypotheses and their verdicts"),
    log:
        layout.log("hypotheses/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.hypotheses --definition {input.design}"
        " --csv {output} --log {log}"


# The primary endpoint against retrieval.
rule frontier:
    input:
        layout.TABLES,
        design=layout.EXPERIMENT,
        appearance=layout.APPEARANCE,
    output:
        csv=in_report(layout.FRONTIER, "frontier_table", "table", "9 Frontier"),
        figure=in_report(
            layout.FRONTIER_FIGURE, "frontier", "figure", "9 Perplexity against retrieval"
        ),
    log:
        layout.log("frontier/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.frontier --definition {input.design}"
        " --appearance {input.appearance} --csv {output.csv} --figure {output.figure} --log {log}"


# The primary endpoint at other learning rates too.
rule rates:
    input:
        layout.TABLES,
        of_all_rates(layout.TABLES),
        design=layout.EXPERIMENT,
        others=of_all_rates(layout.EXPERIMENT),
    output:
        in_report(layout.RATES, "rates", "table", "10 Learning rates"),
    log:
        layout.log("rates/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.rates --definition {input.design} --others {input.others}"
        " --csv {output} --log {log}"


# What the trained models use of their rotary pairs and of distant text.
rule usage_table:
    input:
        layout.TABLES,
        lambda w: usage_files(w.experiment),
        design=layout.EXPERIMENT,
        appearance=layout.APPEARANCE,
        settings=layout.USAGE_CONFIG,
    output:
        csv=in_report(layout.USAGE_TABLE, "usage_table", "table", "9 Use of each rotary pair"),
        runs=in_report(layout.USAGE_RUNS, "usage_runs", "table", "9 Use of the pairs by run"),
        attention=layout.USAGE_ATTENTION,
        figures=[
            in_report(path, name, "figure", USAGE_TITLES[name])
            for name, path in zip(USAGE_TITLES, layout.USAGE_FIGURES, strict=True)
        ],
    log:
        layout.log("usage_table/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.usage_table --definition {input.design}"
        " --appearance {input.appearance} --csv {output.csv} --runs {output.runs} --attention {output.attention}"
        " --figures $(dirname {output.figures} | head -n 1) --log {log}"


rule summary:
    input:
        expand(layout.TABLES, experiment=summarized()),
        csv=expand(layout.EXPERIMENT_SUMMARY, experiment=summarized()),
        appearances=expand(layout.APPEARANCE, experiment=summarized()),
    output:
        csv=in_report(
            layout.SUMMARY, "summary", "table", "2 Summary with all columns", "All experiments"
        ),
        md=in_report(
            layout.SUMMARY_MD, "summary_page", "table", "1 Summary for reading", "All experiments"
        ),
    log:
        layout.log("summary"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.summary --experiments {input.csv}"
        " --appearances {input.appearances}"
        " --csv {output.csv} --md {output.md} --log {log}"
