"""The layout of results/ as others rely on it."""

from pathlib import Path

from rope_spectra.artifacts import layout


def test_runs_are_found_with_their_repeats_in_the_order_of_their_seeds(tmp_path: Path) -> None:
    for seed in ("7", "42-repeat1", "42", "123"):
        folder = tmp_path / f"demo/geo_500k/seed{seed}"
        folder.mkdir(parents=True)
        (folder / "config.json").touch()
    (tmp_path / "demo/figures").mkdir()
    seeds = ["7", "42", "42-repeat1", "123"]
    assert layout.found_runs(tmp_path) == [("demo", "geo_500k", seed) for seed in seeds]


def test_names_that_the_layout_uses_are_reserved() -> None:
    assert {"data", "logs", "tensorboard", "summary.csv"} <= set(
        layout.RESERVED_NAMES["experiments"]
    )
    assert {"figures", "experiment.json", "runs.csv"} <= set(layout.RESERVED_NAMES["spectra"])
    both = [name for names in layout.RESERVED_NAMES.values() for name in names]
    assert not [name for name in both if "{" in name]
