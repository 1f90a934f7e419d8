"""A study whose design is longer than a command line may be."""

import yaml

from rope_spectra.artifacts import layout, seal
from rope_spectra.config.design import Design
from support.checkout import snakemake

MIXES = 700


def test_the_design_of_700_spectra_is_frozen_in_a_file(fresh, tmp_path) -> None:
    geo = {"family": "geometric", "theta": 10_000}
    poly = {"family": "anchored_poly", "theta": 100_000, "p": 3.9, "omf": 0.3}
    mixes = {
        f"mix_{number}": {"family": "mix", "alpha": number / MIXES, "a": geo, "b": poly}
        for number in range(MIXES)
    }
    large = {
        "dataset": "quick",
        "model": "tiny",
        "training": "quick",
        "evaluation": "quick",
        "spectra": list(mixes),
        "seeds": [1],
        "baseline": "mix_0",
    }
    config = {"run": ["large"], "experiments": {"large": large}, "spectra": mixes}
    (tmp_path / "large.yaml").write_text(yaml.safe_dump(config))
    path = layout.EXPERIMENT.format(experiment="large")
    snakemake(fresh, path, "--configfile", "quick.yaml", str(tmp_path / "large.yaml"))
    assert (fresh / path).stat().st_size > 2**17  # the longest argument that Linux takes
    design = seal.load_settings(fresh / path, Design)
    assert [spectrum.name for spectrum in design.spectra] == list(mixes)
