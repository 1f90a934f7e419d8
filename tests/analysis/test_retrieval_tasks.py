"""The tables of the tasks of the retrieval probe, against numbers by hand."""

import numpy as np
import pytest

from rope_spectra.analysis import retrieval_tasks, statistics
from rope_spectra.analysis.crossed import crossed
from rope_spectra.analysis.retrieval_tasks import ALL, Asked, TaskKey
from support import asked as support
from support.asked import TRIALS


@pytest.fixture(scope="module")
def study() -> dict[TaskKey, Asked]:
    return support.study({"geo": 0.4, "hybrid": 0.8})


def matrix(study: dict[TaskKey, Asked], name: str, task: str, length: int = 128) -> np.ndarray:
    """Right or not, [seeds, trials], computed by hand."""
    found = [study[name, seed, "none", length, task].nll for seed in (1, 2, 3)]
    return np.array([[row[0] < min(row[1:]) for row in scores] for scores in found], float)


def test_a_run_has_its_control_and_what_the_last_tokens_alone_give(
    study: dict[TaskKey, Asked],
) -> None:
    runs = retrieval_tasks.by_run(study).set_index(["spectrum", "seed", "length", "task"])
    assert len(runs) == 2 * 3 * 2 * 2
    row = runs.loc[("geo", 1, 128, "key")]
    assert row["accuracy"] == matrix(study, "geo", "key")[0].mean()
    assert row["accuracy_wilson95_low"] == statistics.wilson95(row["correct"], TRIALS)[0]
    assert row["control_accuracy"] == 0.1
    scores = study["geo", 1, "none", 128, "key"]
    assert scores.truncated is not None
    right = [trial[0] < min(trial[1:]) for trial in scores.truncated]
    assert row["truncated_accuracy"] == np.mean(right)
    assert np.isnan(runs.loc[("geo", 1, 64, "key"), "truncated_accuracy"])


def test_spectra_have_intervals_over_seeds_and_passages(study: dict[TaskKey, Asked]) -> None:
    shares = {"key": 0.2}
    table = retrieval_tasks.summarize(study, "geo", ["hybrid"], shares)
    table = table.set_index(["spectrum", "length", "task"])
    assert len(table) == 2 * 2 * 3
    for task in ("key", "pairs"):
        row = table.loc[("hybrid", 128, task)]
        ours, theirs = matrix(study, "hybrid", task), matrix(study, "geo", task)
        low, high = crossed(ours).interval()
        assert row["seeds"] == "1 2 3"
        assert row["accuracy_mean"] == pytest.approx(ours.mean())
        assert row["accuracy_std"] == pytest.approx(ours.mean(axis=1).std(ddof=1))
        assert (row["accuracy_crossed95_low"], row["accuracy_crossed95_high"]) == (low, high)
        low, high = crossed(ours - theirs).interval()
        assert row["delta_accuracy"] == pytest.approx(ours.mean() - theirs.mean())
        assert row["delta_accuracy_crossed95_low"] == pytest.approx(low)
        assert row["trained_share"] == shares.get(task, 0.0)
        assert row["gain_over_truncated"] == pytest.approx(
            row["accuracy_mean"] - row["truncated_accuracy"]
        )
    assert np.isnan(table.loc[("hybrid", 64, "key"), "gain_over_truncated"])


def test_all_tasks_together_are_their_mean_passage_by_passage(study: dict[TaskKey, Asked]) -> None:
    table = retrieval_tasks.summarize(study, "geo", ["hybrid"], {"key": 0.2, "pairs": 0.1})
    row = table.set_index(["spectrum", "length", "task"]).loc[("hybrid", 128, ALL)]
    both = (matrix(study, "hybrid", "key") + matrix(study, "hybrid", "pairs")) / 2
    assert row["accuracy_mean"] == pytest.approx(both.mean())
    assert row["accuracy_crossed95_low"] == pytest.approx(float(crossed(both).interval()[0]))
    assert (row["trials"], row["chance"]) == (2 * TRIALS, 0.1)
    assert row["trained_share"] == pytest.approx(0.3)
    assert row["control_accuracy"] == pytest.approx(0.1)


def test_every_trial_is_in_the_bin_of_its_distance(study: dict[TaskKey, Asked]) -> None:
    table = retrieval_tasks.by_distance(study, train_length=64)
    at = table[(table["spectrum"] == "geo") & (table["length"] == 128)]
    for task, trials in (("key", TRIALS), (ALL, 2 * TRIALS)):
        assert at.loc[at["task"] == task, "trials"].sum() == 3 * trials
    far = at[(at["task"] == "key") & (at["distance_from"] == 64)].iloc[0]
    assert far["distance_to"] == 128
    shares = []
    for seed in (1, 2, 3):
        scores = study["geo", seed, "none", 128, "key"]
        inside = scores.distance >= 64
        shares.append(np.mean([row[0] < min(row[1:]) for row in scores.nll[inside]]))
    assert far["accuracy"] == pytest.approx(np.mean(shares))
    assert far["accuracy_ci95_low"] == pytest.approx(statistics.mean_ci95(shares)[0])
    # The statement is not within the last 64 tokens.
    assert far["truncated_accuracy"] == 0


def test_the_bins_end_at_powers_of_two_the_training_length_and_the_length() -> None:
    assert retrieval_tasks.distance_edges(200, 96) == [1, 2, 4, 8, 16, 32, 64, 96, 128, 200]
    assert retrieval_tasks.distance_edges(64, 96) == [1, 2, 4, 8, 16, 32, 64]


def test_one_seed_has_no_interval_and_a_missing_arm_no_comparison() -> None:
    one = {("hybrid", 1, "none", 128, "key"): support.asked(1, 0.5)}
    table = retrieval_tasks.summarize(one, "geo", ["hybrid"], {})
    assert table["accuracy_crossed95_low"].isna().all()
    assert table["accuracy_mean"].notna().all()
    assert "delta_accuracy" not in table
