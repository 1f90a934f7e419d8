# From text to a token cache:
# data_config -> tokenizer -> tokenize_train, tokenize_val -> memmap_cache.


rule data_config:
    output:
        layout.DATA_CONFIG,
    log:
        layout.log("data_config/{dataset}/{part}"),
    wildcard_constraints:
        part="tokenizer|options|sentence|" + "|".join(layout.SPLITS),
    conda:
        "../../envs/environment.yaml"
    params:
        text=lambda w: seal.dumps(frozen.data_settings(config, w.dataset, w.part).content()),
    shell:
        "python -m rope_spectra.freeze --text {params.text:q} --output {output} 2> {log}"


rule tokenizer:
    input:
        raw_files("train"),
        settings=expand(layout.DATA_CONFIG, part="tokenizer", allow_missing=True),
    output:
        tokenizer=layout.TOKENIZER,
        token_bytes=layout.TOKEN_BYTES,
        record=layout.TOKENIZER_RECORD,
    log:
        layout.log("tokenizer/{dataset}"),
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
    shell:
        "RAYON_NUM_THREADS={threads} python -m rope_spectra.tokenizer --settings {input.settings}"
        " --output {output.tokenizer} --token-bytes {output.token_bytes}"
        f" --kept {layout.KEPT} --log {{log}}"


rule tokenize_train:
    input:
        raw_files("train"),
        settings=expand(layout.DATA_CONFIG, part="train", allow_missing=True),
        options=ancient(expand(layout.DATA_CONFIG, part="options", allow_missing=True)),
        tokenizer=layout.TOKENIZER,
    output:
        temp(directory(expand(layout.SHARDS, split="train", allow_missing=True))),
    log:
        layout.log("tokenize_train/{dataset}"),
    conda:
        "../../envs/environment.yaml"
    threads: 16
    resources:
        runtime=lambda w, attempt: limits.tokenize_minutes(config, w.dataset, "train", attempt),
        mem_mb=lambda w, attempt: 8000 * attempt,
    shell:
        "python -m rope_spectra.tokenize --settings {input.settings} --options {input.options} --tokenizer {input.tokenizer}"
        " --output {output} --threads {threads}"
        f" --kept {layout.KEPT} --log {{log}}"


use rule tokenize_train as tokenize_val with:
    input:
        raw_files("validation"),
        settings=expand(layout.DATA_CONFIG, part="validation", allow_missing=True),
        options=ancient(expand(layout.DATA_CONFIG, part="options", allow_missing=True)),
        tokenizer=layout.TOKENIZER,
    output:
        temp(directory(expand(layout.SHARDS, split="validation", allow_missing=True))),
    log:
        layout.log("tokenize_val/{dataset}"),
    # A text that is too short is then known before the first training.
    priority: 1
    resources:
        runtime=lambda w, attempt: limits.tokenize_minutes(config, w.dataset, "validation", attempt),
        mem_mb=lambda w, attempt: 8000 * attempt,


rule memmap_cache:
    input:
        settings=expand(layout.DATA_CONFIG, part="{split}", allow_missing=True),
        shards=shards,
    output:
        tokens=layout.TOKENS,
        manifest=layout.MANIFEST,
    log:
        layout.log("memmap_cache/{dataset}/{split}"),
    conda:
        "../../envs/environment.yaml"
    resources:
        runtime=lambda w, attempt: limits.cache_minutes(config, w.dataset, w.split, attempt),
    shell:
        "python -m rope_spectra.memmap_cache --settings {input.settings} --shards={input.shards:q}"
        " --output {output.tokens} --manifest {output.manifest}"
        f" --kept {layout.KEPT} --log {{log}}"


# The retrieval probe in the tokens of a dataset; made only where an experiment has the probe.
rule sentence:
    input:
        settings=expand(layout.DATA_CONFIG, part="sentence", allow_missing=True),
        tokenizer=layout.TOKENIZER,
        tokens=ancient(expand(layout.TOKENS, split="train", allow_missing=True)),
        manifest=expand(layout.MANIFEST, split="train", allow_missing=True),
    output:
        layout.SENTENCE,
    log:
        layout.log("sentence/{dataset}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.sentence --settings {input.settings} --tokenizer {input.tokenizer} --tokens {input.tokens}"
        " --manifest {input.manifest} --output {output} --log {log}"


# The words of the probe's tasks; made only where an experiment has tasks.
rule probe_words:
    input:
        tokenizer=layout.TOKENIZER,
        tokens=ancient(expand(layout.TOKENS, split="train", allow_missing=True)),
        manifest=expand(layout.MANIFEST, split="train", allow_missing=True),
    output:
        layout.PROBE,
    log:
        layout.log("probe_words/{dataset}"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m rope_spectra.probe_words --tokenizer {input.tokenizer} --tokens {input.tokens}"
        " --manifest {input.manifest} --output {output} --log {log}"
