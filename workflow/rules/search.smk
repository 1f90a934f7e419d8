# A search: each round is an experiment whose candidates follow from the scores of the rounds before.
# Only what the candidates are is not known beforehand; it comes from a small file, candidates.json.


SEARCH_TITLES = {
    "course": "1 Course of the search",
    "best_spectra": "2 The best spectra",
    "response": "3 Response along each knot",
}


# What has the place of a candidate is frozen from candidates.json as well.
ruleorder: candidate_config > run_config
ruleorder: part_config > experiment_config


rule search_config:
    output:
        layout.SEARCH_STEP,
    log:
        layout.log("search_config/{experiment}"),
    wildcard_constraints:
        experiment=layout.any_of(PARTS_OF_SEARCHES),
    conda:
        "../../envs/environment.yaml"
    params:
        text=lambda w: seal.dumps(parts.step(config, w.experiment).content()),
    script:
        "../scripts/freeze.py"


rule propose:
    input:
        earlier_rounds,
        settings=layout.SEARCH_STEP,
    output:
        layout.CANDIDATES,
    log:
        layout.log("propose/{experiment}"),
    wildcard_constraints:
        experiment=layout.any_of(PARTS_OF_SEARCHES),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.propose --settings {input.settings} --output {output} --log {log}"


rule candidate_config:
    input:
        layout.CANDIDATES,
    output:
        layout.RUN_CONFIG,
    log:
        layout.log("run_config/{experiment}/{spectrum}/seed{seed}"),
    wildcard_constraints:
        experiment=layout.any_of(PARTS_OF_SEARCHES),
        spectrum=layout.any_of(PROPOSED),
    conda:
        "../../envs/environment.yaml"
    params:
        text=lambda w: json.dumps(
            frozen.run_settings(config, w.experiment, w.spectrum, layout.seed_of(w.seed)).content()
        ),
    shell:
        "python -m rope_spectra.freeze --text {params.text:q} --candidates {input}"
        " --output {output} 2> {log}"


use rule candidate_config as part_config with:
    output:
        layout.EXPERIMENT,
    log:
        layout.log("experiment_config/{experiment}"),
    wildcard_constraints:
        experiment=layout.any_of(PARTS_OF_SEARCHES),
    params:
        text=lambda w: json.dumps(frozen.design(config, w.experiment).content()),


rule best:
    input:
        settings=of_confirmation(layout.SEARCH_STEP),
        definition=of_confirmation(layout.EXPERIMENT),
        tables=of_confirmation(layout.TABLES),
    output:
        in_report(layout.BEST, "best", "table", "1 The best spectrum", "{search}"),
    log:
        layout.log("best/{search}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.best --settings {input.settings} --definition {input.definition}"
        " --output {output} --log {log}"


# How the search went, what it found, and what that is worth on seeds and text that did not choose it.
rule course:
    input:
        settings=of_confirmation(layout.SEARCH_STEP),
        definition=of_confirmation(layout.EXPERIMENT),
        appearance=of_confirmation(layout.APPEARANCE),
        tables=of_confirmation(layout.TABLES),
    output:
        csv=in_report(layout.COURSE, "course_table", "table", "3 Course of the search", "{search}"),
        found=in_report(layout.FOUND, "found", "table", "2 The best spectra", "{search}"),
        page=in_report(layout.SEARCH_PAGE, "search_page", "table", "1 The search", "{search}"),
        figures=[
            in_report(path, name, "figure", title, "{search}")
            for path, (name, title) in zip(
                layout.SEARCH_FIGURES, SEARCH_TITLES.items(), strict=True
            )
        ],
    log:
        layout.log("course/{search}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.course --settings {input.settings} --definition {input.definition}"
        " --appearance {input.appearance} --csv {output.csv} --found {output.found} --page {output.page}"
        " --figures $(dirname {output.figures} | head -n 1) --log {log}"
