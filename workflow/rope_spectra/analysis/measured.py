"""Measured values of the spectra of an experiment, seed by seed, at one endpoint.

The numbers behind rank correlations (analysis/theory.py) and hypotheses (analysis/hypotheses.py).
Seeds that serve selection are left out. Pure: it takes the tables of runs.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from rope_spectra.config.design import NATIVE, SELECTION, Arm, Design
from rope_spectra.config.hypotheses import Measure


class Endpoint(NamedTuple):
    """A measure and the length in tokens at which it is taken."""

    measure: Measure
    length: int


def endpoint(design: Design, measure: Measure | None = None, length: int | None = None) -> Endpoint:
    """The endpoint that a measure and a length name; what is None is that of the experiment.

    Without a primary endpoint that is PPL at the longest length. Nothing degrades up to the
    training length: there PPL takes the place of a metric that is not named.
    """
    if measure == "retrieval":
        return Endpoint(measure, length or _retrieval_length(design))
    if length is None:
        length = design.primary.length if design.primary else design.longest
    if measure is None:
        measure = design.primary.metric if design.primary else "ppl"
        if length <= design.train_length:
            measure = "ppl"
    return Endpoint(measure, length)


def _retrieval_length(design: Design) -> int:
    """That of the retrieval endpoint; without one, the first length beyond the training length.

    Within the training length most models retrieve everything.
    """
    if design.retrieval_endpoint:
        return design.retrieval_endpoint.length
    beyond = [length for length in design.lengths if length > design.train_length]
    return min(beyond, default=design.longest)


def endpoints_of(design: Design) -> list[Endpoint]:
    """The primary endpoint and, where the models are probed, that of retrieval."""
    found = [endpoint(design)]
    if design.retrieval:
        found.append(endpoint(design, "retrieval"))
    return found


def arm_values(
    design: Design, at: Endpoint, arm: Arm, runs: pd.DataFrame, retrieval: pd.DataFrame | None
) -> "pd.Series[float]":
    """The measure of an arm by seed: log PPL or degradation in nats per token, or accuracy.

    runs: the rows of runs.csv. retrieval: those of retrieval_runs.csv, None without a probe. Seeds
    without a value are left out.
    """
    spectrum, remap = arm
    if at.measure == "retrieval":
        assert retrieval is not None, "not probed"
        rows = retrieval[retrieval["length"] == at.length]
        tasks = design.retrieval_endpoint.tasks if design.retrieval_endpoint else None
        if tasks:
            rows = rows[rows["task"].isin(tasks)]
        values = rows["accuracy"]
    else:
        of_length = (runs["length"] == at.length) & (runs["phase"] != SELECTION)
        rows = runs[of_length & (runs["protocol"] == protocol(design))]
        values = np.log(rows["ppl"]) if at.measure == "ppl" else rows["degradation"]
    is_of_arm = (rows["spectrum"] == spectrum) & (rows["remap"] == remap)
    by_seed = values[is_of_arm].groupby(rows["seed"]).mean()
    return by_seed.dropna()


def by_seed(
    design: Design, at: Endpoint, runs: pd.DataFrame, retrieval: pd.DataFrame | None
) -> pd.DataFrame:
    """The measure of all spectra as they were trained, a row per seed, a column per spectrum.

    On the seeds that all of them have; spectra without any value are left out.
    """
    columns = {}
    for spectrum in design.spectra:
        values = arm_values(design, at, (spectrum.name, NATIVE), runs, retrieval)
        if not values.empty:
            columns[spectrum.name] = values
    return pd.DataFrame(columns).dropna()


def protocol(design: Design) -> str:
    """The protocol of verdicts: full, which scores the same text at every length, if there is."""
    return "full" if "full" in design.protocols else "first_chunks"
