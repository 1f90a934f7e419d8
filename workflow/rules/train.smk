# One run is one spectrum and one seed. Its settings are frozen first, so that an edit of
# config.yaml while jobs are queued, a comment or another order of keys retrains nothing.


rule run_config:
    output:
        layout.RUN_CONFIG,
    log:
        layout.log("run_config/{experiment}/{spectrum}/seed{seed}"),
    wildcard_constraints:
        spectrum=layout.any_of([*config.spectra, *PROPOSED]),
    conda:
        "../../envs/environment.yaml"
    params:
        text=lambda w: seal.dumps(
            frozen.run_settings(config, w.experiment, w.spectrum, layout.seed_of(w.seed)).content()
        ),
    shell:
        "python -m rope_spectra.freeze --text {params.text:q} --output {output} 2> {log}"


rule run_options:
    output:
        layout.OPTIONS,
    log:
        layout.log("run_options/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    params:
        text=lambda w: seal.dumps(frozen.run_options(config, w.experiment).content()),
    shell:
        "python -m rope_spectra.freeze --text {params.text:q} --output {output} 2> {log}"


# The manifest is small and compared by content, and the cache by its manifest: touching the cache
# retrains nothing.
rule train:
    input:
        config=layout.RUN_CONFIG,
        options=ancient(layout.OPTIONS),
        manifest=dataset_file(layout.MANIFEST, "train"),
        tokens=ancient(dataset_file(layout.TOKENS, "train")),
        sentence=sentence_file("training"),
    output:
        model=layout.MODEL,
        run=layout.RUN,
        log=layout.TRAIN_LOG,
    log:
        layout.log("train/{experiment}/{spectrum}/seed{seed}"),
    benchmark:
        layout.benchmark("train/{experiment}/{spectrum}/seed{seed}")
    conda:
        "../../envs/environment.yaml"
    threads: lambda w: config.training_of(w.experiment).threads
    resources:
        gpu=lambda w: config.training_of(w.experiment).gpus,
        runtime=lambda w, attempt: train_minutes(
            w.experiment,
            attempt,
            limits.resumed(w.experiment, w.spectrum, w.seed),
        ),
        mem_mb=lambda w, attempt: train_mb(w.experiment, attempt),
        # No resource, but neither a setting of the run: as a parameter it would train again.
        validation_tokens=lambda w: needs(w.experiment)["validation"].tokens,
    params:
        curves=layout.CURVES,
        sentence=sentence_option,
    shell:
        "python -m rope_spectra.train --settings {input.config} --options {input.options} --tokens {input.tokens}"
        " --manifest {input.manifest} {params.sentence} --output $(dirname {output.model}) --curves {params.curves} --threads {threads}"
        " --validation-tokens {resources.validation_tokens}"
        f" --kept {layout.KEPT} --log {{log}}"
