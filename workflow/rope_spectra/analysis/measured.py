"""Measured values of the spectra of an experiment, seed by seed, at one endpoint.

The numbers behind rank correlations (analysis/theory.py) and hypotheses (analysis/hypotheses.py).
Seeds that serve selection are left out.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis.retrieval_table import correct
from rope_spectra.analysis.runs import read_trials
from rope_spectra.analysis.summary_table import Key
from rope_spectra.config.design import NATIVE, SELECTION, Arm, Design
from rope_spectra.config.hypotheses import Measure

# The share of the tasks that a trial has right, [trials], by (spectrum, seed, remap, length).
Correct: TypeAlias = Mapping[Key, NDArray[np.float64]]


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


def serving(runs: pd.DataFrame) -> list[tuple[str, int]]:
    """(spectrum, seed) of the runs of runs.csv that serve verdicts."""
    rows = runs.loc[runs["phase"] != SELECTION, ["spectrum", "seed"]].drop_duplicates()
    return list(rows.itertuples(index=False, name=None))


def read_correct(design: Design, runs: pd.DataFrame, endpoints: Iterable[Endpoint]) -> Correct:
    """The trials of those endpoints that are about retrieval, from every run's eval.npz.

    runs: the rows of runs.csv. Raises UserError if a run was not probed.
    """
    names = serving(runs)
    found: dict[Key, NDArray[np.float64]] = {}
    for length in {at.length for at in endpoints if at.measure == "retrieval"}:
        for (spectrum, seed, remap), tasks in read_trials(design, names, length).items():
            found[spectrum, seed, remap, length] = correct(tasks)
    return found


def arm_values(
    design: Design, at: Endpoint, arm: Arm, runs: pd.DataFrame, trials: Correct
) -> "pd.Series[float]":
    """The measure of an arm by seed: log PPL or degradation in nats per token, or accuracy.

    runs: the rows of runs.csv. Seeds without a value are left out.
    """
    spectrum, remap = arm
    if at.measure == "retrieval":
        keys = {seed: (spectrum, seed, remap, at.length) for seed in design.serving_verdicts}
        found = {seed: trials[key].mean() for seed, key in keys.items() if key in trials}
        return pd.Series(found, dtype="float64")
    of_length = (runs["length"] == at.length) & (runs["phase"] != SELECTION)
    is_arm = (runs["spectrum"] == spectrum) & (runs["remap"] == remap)
    of_protocol = runs["protocol"] == design.verdict_protocol
    rows = runs[of_length & is_arm & of_protocol].set_index("seed")
    values = np.log(rows["ppl"]) if at.measure == "ppl" else rows["degradation"]
    return values.dropna()


def by_seed(design: Design, at: Endpoint, runs: pd.DataFrame, trials: Correct) -> pd.DataFrame:
    """The measure of all spectra as they were trained, a row per seed, a column per spectrum.

    On the seeds that all of them have; spectra without any value are left out.
    """
    columns = {}
    for spectrum in design.spectra:
        values = arm_values(design, at, (spectrum.name, NATIVE), runs, trials)
        if not values.empty:
            columns[spectrum.name] = values
    return pd.DataFrame(columns).dropna()
