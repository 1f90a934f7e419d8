# A run in the form of Hugging Face transformers. Not part of the default target: ask for the folder
# by its path.


# The summary is for the model card. It is no input: an export need not wait for other seeds. The
# time of the weights says nothing, as in evaluate.
rule export:
    input:
        config=layout.RUN_CONFIG,
        run=layout.RUN,
        model=ancient(layout.MODEL),
        evaluation=layout.EVAL_RECORD,
        settings=layout.EVALUATION_CONFIG,
        manifest=dataset_file(layout.MANIFEST, "train"),
        tokenizer=tokenizer_file(layout.TOKENIZER),
    output:
        directory(layout.HF),
    log:
        layout.log("export/{experiment}/{spectrum}/seed{seed}"),
    conda:
        "../../envs/environment.yaml"
    params:
        tokenizer=lambda w, input: (f"--tokenizer {input.tokenizer}" if input.tokenizer else ""),
        summary=layout.EXPERIMENT_SUMMARY,
        language=language,
    shell:
        "python -m rope_spectra.export --run $(dirname {input.run}) --settings {input.settings} --manifest {input.manifest}"
        " {params.tokenizer} {params.language} --summary {params.summary} --output {output} --log {log}"


# An experiment as an RO-Crate, which needs envs/requirements-crate.txt. Not part of the default
# target either.
rule crate:
    input:
        finished_runs,
        lambda w: experiment_files(w.experiment),
        design=layout.EXPERIMENT,
    output:
        layout.CRATE,
    log:
        layout.log("crate/{experiment}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.crate --experiment $(dirname {input.design}) --output {output} --log {log}"
