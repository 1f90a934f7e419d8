# Perplexity of each trained run at every length.


rule evaluation_config:
    output:
        layout.EVALUATION_CONFIG,
    log:
        layout.log("evaluation_config/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    params:
        text=lambda w: seal.dumps(frozen.evaluation_settings(config, w.experiment).content()),
    shell:
        "python -m rope_spectra.freeze --text {params.text:q} --output {output} 2> {log}"


# The weights of equal runs are one file with one time stamp, which changes when any of them is
# adopted. Their record certifies them by their hash and has a time of its own.
rule evaluate:
    input:
        config=layout.RUN_CONFIG,
        run=layout.RUN,
        model=ancient(layout.MODEL),
        settings=layout.EVALUATION_CONFIG,
        manifest=dataset_file(layout.MANIFEST, "validation"),
        tokens=ancient(dataset_file(layout.TOKENS, "validation")),
        token_bytes=ancient(tokenizer_file(layout.TOKEN_BYTES)),
        sentence=sentence_file("evaluation"),
    output:
        csv=layout.EVAL,
        nll=layout.EVAL_NLL,
        record=layout.EVAL_RECORD,
    log:
        layout.log("evaluate/{experiment}/{spectrum}/seed{seed}"),
    benchmark:
        layout.benchmark("evaluate/{experiment}/{spectrum}/seed{seed}")
    conda:
        "../../envs/environment.yaml"
    threads: lambda w: config.training_of(w.experiment).threads
    resources:
        gpu=lambda w: min(1, config.training_of(w.experiment).gpus),
        runs_per_gpu=lambda w: config.training_of(w.experiment).runs_per_gpu,
        runtime=lambda w, attempt: evaluate_minutes(w.experiment, attempt),
        mem_mb=lambda w, attempt: evaluate_mb(w.experiment, attempt),
    params:
        token_bytes=lambda w, input: (
            f"--token-bytes {input.token_bytes}" if input.token_bytes else ""
        ),
        sentence=sentence_option,
    shell:
        "python -m rope_spectra.evaluate --run $(dirname {input.run}) --settings {input.settings} --tokens {input.tokens}"
        " --manifest {input.manifest} {params.token_bytes} {params.sentence} --threads {threads} --runs-per-gpu {resources.runs_per_gpu}"
        f" --kept {layout.KEPT} --log {{log}}"


rule usage_config:
    output:
        layout.USAGE_CONFIG,
    log:
        layout.log("usage_config/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    params:
        text=lambda w: seal.dumps(config.evaluation_of(w.experiment).usage_settings.content()),
    shell:
        "python -m rope_spectra.freeze --text {params.text:q} --output {output} 2> {log}"


# What a trained model uses of its rotary pairs and of distant text.
rule usage:
    input:
        config=layout.RUN_CONFIG,
        run=layout.RUN,
        model=ancient(layout.MODEL),
        settings=layout.USAGE_CONFIG,
        manifest=dataset_file(layout.MANIFEST, "validation"),
        tokens=ancient(dataset_file(layout.TOKENS, "validation")),
    output:
        npz=layout.USAGE,
        record=layout.USAGE_RECORD,
    log:
        layout.log("usage/{experiment}/{spectrum}/seed{seed}"),
    benchmark:
        layout.benchmark("usage/{experiment}/{spectrum}/seed{seed}")
    conda:
        "../../envs/environment.yaml"
    threads: lambda w: config.training_of(w.experiment).threads
    resources:
        gpu=lambda w: min(1, config.training_of(w.experiment).gpus),
        runs_per_gpu=lambda w: config.training_of(w.experiment).runs_per_gpu,
        runtime=lambda w, attempt: usage_minutes(w.experiment, attempt),
        mem_mb=lambda w, attempt: evaluate_mb(w.experiment, attempt),
    shell:
        "python -m rope_spectra.usage --run $(dirname {input.run}) --settings {input.settings}"
        " --tokens {input.tokens} --manifest {input.manifest} --threads {threads} --runs-per-gpu {resources.runs_per_gpu} --log {log}"
