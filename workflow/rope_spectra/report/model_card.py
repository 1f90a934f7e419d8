"""README.md of an exported run: what it is, how to load it, what it was trained on, what it scores, what that cannot show.

Pure: everything that the page states comes from the files of the run, of its data and of its experiment.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rope_spectra.config.design import ALL

Settings = dict[str, Any]

_LOAD = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder, or the name it has on the hub
model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
inputs = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=50, do_sample=False)[0]))"""

_LOAD_TOKENS = """\
import torch
from transformers import AutoModelForCausalLM

folder = "."  # this folder, or the name it has on the hub
model = AutoModelForCausalLM.from_pretrained(folder)
ids = torch.tensor([[0]])  # the data were token ids: there is no tokenizer
print(model.generate(ids, max_new_tokens=50, do_sample=False)[0].tolist())"""

_VERDICTS = (
    "(`better`, `worse`: the interval excludes no difference and so does the corrected p; `equivalent`: within the margin "
    "declared before the run; `inconclusive`: these seeds cannot tell the two apart; `exploratory`: nothing is claimed.)"
)


def card(
    run: Settings,
    manifest: Settings,
    tokenizer: Settings | None,
    scores: pd.DataFrame,
    summary: pd.DataFrame | None,
) -> str:
    """The page. run is run.json, manifest that of the training split, tokenizer its frozen settings (None: there is none).

    scores: eval.csv. summary: this spectrum's rows of the experiment's summary.csv without a remap, if there are any.
    """
    settings = run["settings"]
    parts = [
        _front_matter(manifest["settings"]["source"]),
        f"# {settings['spectrum']['name']}, seed {settings['seed']}",
        _introduction(run),
        f"## How to load it\n\n```python\n{_LOAD if tokenizer else _LOAD_TOKENS}\n```",
        f"## Training data\n\n{_data(run, manifest, tokenizer)}",
        f"## Settings\n\n{_settings(settings)}",
        f"## Results\n\n{_results(scores, settings['training']['seq_len'])}",
        "" if summary is None or summary.empty else _comparison(summary),
        f"## Limits\n\n{_limits(run, manifest, int(scores['length'].max()))}",
        f"## Where it comes from\n\n{_origin(run)}",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _front_matter(source: Settings) -> str:
    fields = {
        "license": "mit",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["llama", "rope", "length-extrapolation", "rope-spectra"],
    }
    if source["source"] == "hub" and not _is_local(source["path"]):
        fields["datasets"] = [source["path"]]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---"


def _introduction(run: Settings) -> str:
    settings = run["settings"]
    return (
        f"A Llama with {run['parameters']:,} parameters, trained from scratch at {settings['training']['seq_len']} tokens, whose "
        f"rotary frequencies follow the spectrum `{settings['spectrum']['name']}`. It is one run of the experiment "
        f"`{settings['experiment']}` of rope-spectra, which asks how the rotary frequencies should be distributed so that a "
        "model degrades least beyond its training length. It serves that comparison and nothing else."
    )


def _data(run: Settings, manifest: Settings, tokenizer: Settings | None) -> str:
    documents = "" if manifest["documents"] is None else f"{manifest['documents']:,} documents, "
    lines = [
        f"- Source: {_source(manifest['settings']['source'])}",
        f"- Size: {documents}{manifest['tokens']:,} tokens; the run read {run['tokens']:,} of them in {run['steps']:,} steps",
        f"- Tokenizer: {_tokenizer(tokenizer)}, {manifest['vocab_size']:,} ids",
        f"- SHA-256 of the tokens: `{manifest['sha256']}`",
    ]
    if share := run["settings"]["training"].get("retrieval_share"):
        lines.append(
            f"- Sentences of the retrieval probe between the text of {100 * share:g} % of the rows; other text made room"
        )
    return "\n".join(lines)


def _source(source: Settings) -> str:
    """Where the text comes from; of local paths the names alone, for the page may be published."""
    match source["source"]:
        case "hub" if _is_local(source["path"]):
            return f"split `{source['split']}` of a local data set `{Path(source['path']).name}`"
        case "hub":
            return f"split `{source['split']}` of `{source['path']}` at revision `{source['revision'] or 'main'}`"
        case "text":
            return "text files " + ", ".join(f"`{Path(file).name}`" for file in source["files"])
        case "tokens":
            return f"token ids in `{Path(source['file']).name}`"
        case _:
            return f"stories generated by rope-spectra, seed {source['seed']}"


def _tokenizer(settings: Settings | None) -> str:
    if settings is None:
        return "none, the data were token ids"
    if "train" in settings:
        return f"byte-level BPE learned from {settings['train']:,} characters of the same source"
    if _is_local(settings["path"]):
        return f"a local one, `{Path(settings['path']).name}`"
    return f"`{settings['path']}` at revision `{settings['revision'] or 'main'}`"


def _is_local(path: str) -> bool:
    return path.startswith(("/", ".", "~"))


def _settings(settings: Settings) -> str:
    values = [
        (section, key, settings[section][key])
        for section in ("model", "training")
        for key in settings[section]
    ]
    rows = [[section, key, json.dumps(value)] for section, key, value in values]
    spectrum = json.dumps(settings["spectrum"], sort_keys=True)
    return (
        f"Spectrum: `{spectrum}`. All frequencies are in config.json, as `1 / factor`.\n\n"
        + _table(["", "key", "value"], rows)
    )


def _results(scores: pd.DataFrame, train_length: int) -> str:
    rows = [
        [
            _protocol(row),
            f"{row.length:,}{' (trained)' * (row.length == train_length)}",
            f"{row.ppl:.3f}",
            f"{row.tokens:,}",
        ]
        for row in scores.itertuples()
    ]
    notes = [
        "Perplexity on the validation split. `full` scores the same target tokens at every length; `first_chunks` is the "
        "protocol of the published study, the first chunks of the text, other text at each length."
    ]
    if (scores["remap"] != "none").any():
        notes.append(
            "A row such as `full + yarn` is of the spectrum changed at evaluation time; this folder holds it unchanged."
        )
    return f"{' '.join(notes)}\n\n{_table(['protocol', 'length', 'perplexity', 'tokens scored'], rows)}"


def _protocol(row: Any) -> str:
    return row.protocol if row.remap == "none" else f"{row.protocol} + {row.remap}"


def _comparison(summary: pd.DataFrame) -> str:
    """What the experiment says of this spectrum over all its seeds, at the longest length."""
    protocol = "full" if "full" in set(summary["protocol"]) else summary["protocol"].iloc[0]
    row = summary[summary["protocol"] == protocol].sort_values("length").iloc[-1]
    spread = "" if pd.isna(row["ppl_std"]) else f" ± {row['ppl_std']:.3f}"
    phase = (
        "" if row["phase"] == ALL else f", the part of seeds and text that is for {row['phase']}"
    )
    words = [
        f"Over {row['n_seeds']} seeds ({row['seeds']}) of `{row['experiment']}`, this spectrum has a perplexity of "
        f"{row['ppl_mean']:.3f}{spread} (mean ± std) at {row['length']:,} tokens, protocol `{protocol}`{phase}."
    ]
    if row["verdict"] == "baseline":
        words.append("It is the baseline that the other spectra are compared with.")
    else:
        words += [
            f"Against {row['baseline']}, paired by seed: {_contrast(row)}verdict **{row['verdict']}**.",
            _VERDICTS,
        ]
    return " ".join(words)


def _contrast(row: pd.Series) -> str:
    """The measured difference as far as the seeds give one."""
    low, high = row["ppl_ratio_ci95_low"], row["ppl_ratio_ci95_high"]
    interval = "" if pd.isna(low) else f" (95 % interval {low:.3f} to {high:.3f})"
    ratio = (
        "" if pd.isna(row["ppl_ratio"]) else f"perplexity ratio {row['ppl_ratio']:.3f}{interval}, "
    )
    return ratio + (
        "" if pd.isna(row["p_sign_flip"]) else f"exact sign-flip p {row['p_sign_flip']:.3g}, "
    )


def _limits(run: Settings, manifest: Settings, longest: int) -> str:
    training = run["settings"]["training"]
    points = [
        f"It was trained at {training['seq_len']} tokens. `max_position_embeddings` is the longest length it was evaluated at, "
        f"{max(longest, training['seq_len'])}, and no promise of quality there: see the results.",
        "These perplexities measure what unseen positions do to a model on this text. They do not show use of context.",
        f"One seed. Another seed, machine or build gives other numbers. It was trained and scored in {training['precision']}"
        f"{' (autocast, fp32 weights)' if training['precision'] == 'bf16' else ''}; the weights here are fp32.",
        "It continues text like that of its training data. It follows no instructions, nothing filters what it writes, and "
        "nothing else was measured.",
    ]
    if manifest["documents"] is not None:
        points.append(
            "Documents followed each other in training with no token between them: it does not know where to end."
        )
    return "\n".join(f"- {point}" for point in points)


def _origin(run: Settings) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    device = run["device"]
    lines = [
        f"- Identity of the run: `{run['identity']}` (also in the metadata of model.safetensors)",
        f"- Versions: {versions}",
        f"- Device: {device['type']}, {device['name']}; {run['seconds']['training']:,.0f} s of training",
        "- License: MIT, as the code. The terms of the training data are its own.",
    ]
    return "\n".join(lines)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
