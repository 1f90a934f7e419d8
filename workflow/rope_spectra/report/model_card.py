"""README.md of an exported run: what it is, how to load it, its data, scores and limits.

Pure: everything that the page states comes from the files of the run, of its data and of its
experiment. Its sentences are in templates/model_card.md.j2.
"""

from typing import Any

import pandas as pd
from huggingface_hub import ModelCardData

from rope_spectra.config.design import NATIVE
from rope_spectra.data.cache import Manifest
from rope_spectra.data.sources import TokenizerSettings
from rope_spectra.report import markdown
from rope_spectra.training.record import RunRecord


def card(
    run: RunRecord,
    manifest: Manifest,
    tokenizer: TokenizerSettings | None,
    scores: pd.DataFrame,
    summary: pd.DataFrame | None,
) -> str:
    """The page.

    manifest is that of the training split; tokenizer is None for data that are token ids; scores is
    eval.csv. summary has this spectrum's rows of the experiment's summary.csv without a remap, if
    there are any yet.
    """
    training = run.settings.training
    compared = None if summary is None or summary.empty else _at_the_longest_length(summary)
    return markdown.render(
        "model_card.md.j2",
        metadata=_metadata(manifest),
        run=run,
        settings=run.settings,
        training=training,
        manifest=manifest,
        tokenizer=tokenizer,
        scores=list(scores.itertuples()),
        remapped=(scores["remap"] != NATIVE).any(),
        longest=max(int(scores["length"].max()), training.seq_len),
        compared=compared,
    )


def _metadata(manifest: Manifest) -> str:
    """The YAML at the top of the page, by which the hub lists the model."""
    hub_id = manifest.settings.source.hub_id
    data = ModelCardData(
        license="mit",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["llama", "rope", "length-extrapolation", "rope-spectra"],
        datasets=None if hub_id is None else [hub_id],
    )
    return data.to_yaml()


def _at_the_longest_length(summary: pd.DataFrame) -> Any:
    """The row of the longest length, of protocol `full` where that was measured."""
    protocols = list(summary["protocol"])
    protocol = "full" if "full" in protocols else protocols[0]
    rows = summary[summary["protocol"] == protocol].sort_values("length")
    return list(rows.itertuples())[-1]
