"""Diagnoses of spectra: known answers, and the command that prints them."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.rope import diagnostics
from rope_spectra.rope.families import NamedSpectrum


def geometric(theta: float) -> dict:
    return {"family": "geometric", "theta": theta}


def anchored(theta: float) -> dict:
    return {"family": "anchored_poly", "theta": theta, "p": 3.9, "omf": 0.3}


def sigmoid(theta: float) -> dict:
    return {"family": "sigmoid", "theta": theta, "steepness": 8.0, "midpoint": 0.5, "omf": 0.3}


def hybrid(theta: float) -> dict:
    return {"family": "mix", "alpha": 0.2, "a": geometric(theta), "b": anchored(theta)}


def inv_freq(definition: dict, head_dim: int) -> np.ndarray:
    return NamedSpectrum.model_validate({"name": "x", **definition}).inv_freq(head_dim)


# K = 32, trained at 2048: pairs with wavelength > 2048, > 16384, < 16; first m with mean cos < 0.
KNOWN = [
    (geometric(1e4), 11, 4, 4, 725),
    (geometric(1e5), 15, 10, 3, 3616),
    (geometric(5e5), 17, 12, 3, 9937),
    (hybrid(1e5), 8, 5, 4, 334),
    (hybrid(5e5), 9, 6, 4, 324),
    (anchored(1e5), 6, 4, 16, 72),
    (anchored(5e5), 7, 5, 16, 85),
    (sigmoid(1e4), 15, 11, 7, 4676),
    (sigmoid(1e5), 16, 14, 6, 15227),
]
omegas = st.lists(st.floats(1e-6, 2.0), min_size=1, max_size=64).map(np.array)


@pytest.mark.parametrize(
    ("definition", "above_train", "above_longest", "below_16", "first_negative"), KNOWN
)
def test_known_answers(
    definition: dict, above_train: int, above_longest: int, below_16: int, first_negative: int
) -> None:
    result = diagnostics.diagnose(inv_freq(definition, 64), train_length=2048, longest=16384)
    assert result["wavelength_above_train"] == above_train
    assert result["wavelength_above_longest"] == above_longest
    assert result["wavelength_below_16"] == below_16
    assert result["first_negative_distance"] == first_negative


@pytest.mark.parametrize("theta", [1e4, 1e5, 5e5])
def test_critical_dimension_is_the_published_formula_for_geometric_spectra(theta: float) -> None:
    """Liu et al. 2023: 2 ceil(d/2 log_theta(L / 2 pi))."""
    result = diagnostics.diagnose(inv_freq(geometric(theta), 64), train_length=2048, longest=16384)
    assert result["critical_dimension"] == 2 * math.ceil(32 * math.log(2048 / (2 * math.pi), theta))


def test_rotations_of_the_extreme_pairs() -> None:
    result = diagnostics.diagnose(
        np.array([2 * math.pi / 8, 2 * math.pi / 4096]), train_length=2048, longest=4096
    )
    assert result["rotations_fastest"] == pytest.approx(256)
    assert result["rotations_slowest"] == pytest.approx(0.5)


def test_a_pair_that_does_not_rotate_has_an_endless_wavelength() -> None:
    result = diagnostics.diagnose(np.array([1.0, 0.0, 0.0]), train_length=64, longest=128)
    assert (
        result["wavelength_above_train"],
        result["wavelength_above_longest"],
        result["rotations_slowest"],
    ) == (2, 2, 0.0)
    assert result["first_negative_distance"] is None  # the two still pairs outweigh the third


def test_a_spectrum_of_still_pairs_alone_has_a_diagnosis() -> None:
    result = diagnostics.diagnose(np.zeros(4), train_length=64, longest=128)
    assert result == {
        "wavelength_above_train": 4,
        "wavelength_above_longest": 4,
        "wavelength_below_16": 0,
        "pairs_up_to_twice_train": 0,
        "stilled": 4,
        "critical_dimension": 0,
        "rotations_slowest": 0.0,
        "rotations_fastest": 0.0,
        "first_negative_distance": None,
    }


@given(
    omega=st.lists(st.just(0.0) | st.floats(0.01, 2.0), min_size=1, max_size=9).map(np.array),
)
def test_still_pairs_that_outweigh_the_others_never_let_the_mean_fall_below_zero(
    omega: np.ndarray,
) -> None:
    distances = np.arange(1, 4097)
    negative = distances[np.cos(np.outer(distances, omega)).mean(axis=1) < -1e-12]
    found = diagnostics.first_negative_distance(omega, 4096)
    assert found == (negative[0] if len(negative) else None)


def test_pairs_up_to_twice_the_training_length_and_still_ones() -> None:
    omega = 2 * np.pi / np.array([8.0, 64.0, 127.99, 128.01, np.inf])
    result = diagnostics.diagnose(omega, train_length=64, longest=512)
    assert result["pairs_up_to_twice_train"] == 3
    assert result["stilled"] == 1


@given(
    omega=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=16).map(np.array),
    limit=st.integers(1, 9000),
)
def test_first_negative_distance_is_the_first(omega: np.ndarray, limit: int) -> None:
    found = diagnostics.first_negative_distance(omega, limit)
    *before, last = [
        sum(math.cos(m * w) for w in omega) / len(omega) for m in range(1, (found or limit) + 1)
    ]
    rounding = 1e-9
    assert all(mean > -rounding for mean in before)
    assert (last < rounding) if found else (last > -rounding)


@given(omega=omegas, train=st.integers(2, 5000), factor=st.integers(1, 8))
def test_counts_agree_and_do_not_depend_on_the_order_of_pairs(
    omega: np.ndarray, train: int, factor: int
) -> None:
    result = diagnostics.diagnose(omega, train, factor * train)
    assert result["wavelength_above_train"] + result["critical_dimension"] / 2 == len(omega)
    assert result["wavelength_above_longest"] <= result["wavelength_above_train"]
    assert 0 < result["rotations_slowest"] <= result["rotations_fastest"]
    turned = diagnostics.diagnose(omega[::-1], train, factor * train)
    assert {**turned, "first_negative_distance": 0} == {**result, "first_negative_distance": 0}


EXPERIMENT = """
run: [long]
experiments:
  long: &long {dataset: text, model: wide, training: at_2048, evaluation: to_16384,
               spectra: [geo, poly], seeds: [1], baseline: geo}
  short: {<<: *long, model: narrow, training: at_128, evaluation: to_1024, spectra: [geo]}
datasets:
  text: {source: text, train: not_here.txt, validation: nor_here.txt,
         tokenizer: {train: 1000, vocab_size: 300}}
models:
  wide: &wide {hidden_size: 128, num_hidden_layers: 1, num_attention_heads: 2, head_dim: 64,
               intermediate_size: 128, vocab_size: 300}
  narrow: {<<: *wide, head_dim: 32}
training:
  at_2048: &preset {tokens: null, seq_len: 2048, batch_size: 1, learning_rate: 1.0e-3}
  at_128: {<<: *preset, seq_len: 128}
evaluation:
  to_16384: {lengths: [2048, 16384]}
  to_1024: {lengths: [128, 1024]}
"""
SPECTRA = """
spectra:
  geo: {family: geometric, theta: 500_000}
  poly: {family: anchored_poly, theta: 500_000}
  numbers: {family: values, inv_freq: [1.0]}
"""
GEO = ["geo", "17", "12", "3", "16", "0", "30", "0.000982", "326", "9937"]
# p and omf are those by default.
POLY = ["poly", "7", "5", "16", "26", "0", "50", "0.000295", "326", "85"]


def show(folder: Path, *arguments: str, config: str = EXPERIMENT + SPECTRA) -> tuple[int, str]:
    (folder / "config.yaml").write_text(config)
    command = [sys.executable, "-m", "rope_spectra.spectra", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


def test_the_spectra_of_the_experiment_are_shown_at_its_lengths(tmp_path: Path) -> None:
    status, text = show(tmp_path)
    title, _, *rows = text.splitlines()
    assert status == 0
    assert title == "long: heads of 64, trained at 2048 tokens, evaluated up to 16384"
    assert [row.split() for row in rows[:2]] == [GEO, POLY]


def test_show_takes_other_lengths(tmp_path: Path) -> None:
    expected = diagnostics.diagnose(inv_freq(geometric(5e5), 32), 128, 1024)
    by_hand = ["--head-dim", "32", "--train-length", "128", "--longest", "1024"]
    for arguments in (by_hand, ["--config", "run=short"]):
        _, text = show(tmp_path, "--show", "geo", *arguments)
        assert "> 128" in text
        row = text.splitlines()[2].split()
        assert row[1:7] == [str(value) for value in list(expected.values())[:6]]
        assert row[-1] == str(expected["first_negative_distance"])


def test_show_reads_files_and_entries_as_snakemake_does(tmp_path: Path) -> None:
    mine = "run: [short, long]\nspectra: {own: {family: geometric, theta: 10}}"
    (tmp_path / "mine.yaml").write_text(mine)
    own = ["--show", "own", "--configfile", "mine.yaml"]
    _, text = show(tmp_path, *own, "--config", "spectra={own: {theta: 500_000}}")
    titles = [line.partition(":")[0] for line in text.splitlines() if "heads of" in line]
    assert titles == ["short", "long"]
    assert ["own", *GEO[1:]] in [line.split() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "config", "message"),
    [
        (["--show", "gea"], "", "--show: unknown spectrum 'gea'; did you mean 'geo'?"),
        (["--show", "x"], "", "--show: unknown spectrum 'x'; choose from: geo, poly, numbers"),
        (["--head-dim", "7"], "", "--head-dim: 7 does not make whole pairs; give an even number"),
        (["--train-length", "0"], "", "--train-length: 0 is no length; give at least 1 token"),
        (["--show", "numbers"], "", "spectra.numbers: 1 frequencies for 32 rotary pairs"),
        (["--config", "run=lon"], "", "run: unknown experiment 'lon'; did you mean 'long'?"),
        (["--configfile", "none.yaml"], "", "none.yaml: no such file"),
        ([], EXPERIMENT, "config: missing key 'spectra'"),
        ([], "spectra: {", ": not valid YAML"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, arguments: list[str], config: str, message: str
) -> None:
    status, text = show(tmp_path, *arguments, config=config or EXPERIMENT + SPECTRA)
    assert status == 1
    assert message in text
    assert len(text.splitlines()) == 1


def test_the_command_imports_nothing_heavy() -> None:
    code = (
        "import sys; from rope_spectra import spectra;"
        " print({'matplotlib', 'pandas', 'scipy', 'torch', 'transformers'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
