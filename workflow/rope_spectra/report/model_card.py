"""README.md of an exported run: what it is, how to load it, its data, scores and limits.

Pure: everything that the page states comes from the files of the run, of its data and of its
experiment. Its sentences are in templates/model_card.md.j2.
"""

from typing import Any

import numpy as np
import pandas as pd
from huggingface_hub import EvalResult, ModelCardData

from rope_spectra.config.design import NATIVE
from rope_spectra.data.cache import Manifest
from rope_spectra.data.sources import TokenizerSettings
from rope_spectra.report import harness, markdown
from rope_spectra.training.record import RunRecord


def card(
    run: RunRecord,
    manifest: Manifest,
    tokenizer: TokenizerSettings | None,
    scores: pd.DataFrame,
    summary: pd.DataFrame | None,
    language: str | None = None,
) -> str:
    """The page.

    manifest is that of the training split; tokenizer is None for data that are token ids; scores is
    eval.csv. summary has this spectrum's rows of the experiment's summary.csv without a remap, if
    there are any yet. language is the ISO 639 code of the text, where it is known.
    """
    training = run.settings.training
    compared = None if summary is None or summary.empty else _at_the_longest_length(summary)
    return markdown.render(
        "model_card.md.j2",
        metadata=_metadata(run, manifest, scores, language),
        run=run,
        settings=run.settings,
        training=training,
        manifest=manifest,
        tokenizer=tokenizer,
        scores=list(scores.itertuples()),
        remapped=(scores["remap"] != NATIVE).any(),
        longest=max(int(scores["length"].max()), training.seq_len),
        compared=compared,
        lm_eval=harness.command(".", training.seq_len, "wikitext"),
        lm_eval_version=harness.TESTED,
    )


def _metadata(
    run: RunRecord, manifest: Manifest, scores: pd.DataFrame, language: str | None
) -> str:
    """The YAML at the top of the page, by which the hub lists the model."""
    hub_id = manifest.settings.source.hub_id
    data = ModelCardData(
        language=language,
        license="mit",
        model_name=f"{run.settings.spectrum.name}-seed{run.settings.seed}",
        eval_results=_results(manifest, scores),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["llama", "rope", "length-extrapolation", "rope-spectra"],
        datasets=None if hub_id is None else [hub_id],
    )
    return data.to_yaml()


def _results(manifest: Manifest, scores: pd.DataFrame) -> list[EvalResult]:
    """The perplexities that the hub lists: of the spectrum as it was trained."""
    source = manifest.settings.source
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=source.hub_id or "text",
            # Without the marks of Markdown.
            dataset_name=source.description.replace("`", ""),
            dataset_split="validation",
            metric_type="perplexity",
            metric_name=f"Perplexity at {score.length} tokens, protocol {score.protocol}",
            metric_value=round(float(score.ppl), 4),
        )
        for score in scores[scores["remap"] == NATIVE].itertuples()
        if np.isfinite(score.ppl)
    ]


def _at_the_longest_length(summary: pd.DataFrame) -> Any:
    """The row of the longest length, of protocol `full` where that was measured."""
    protocols = list(summary["protocol"])
    protocol = "full" if "full" in protocols else protocols[0]
    rows = summary[summary["protocol"] == protocol].sort_values("length")
    return list(rows.itertuples())[-1]
