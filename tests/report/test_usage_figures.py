"""The figures and the table of the page on what models use."""

import numpy as np
import pandas as pd
import pytest

from rope_spectra.analysis import usage_table
from rope_spectra.config.design import Design
from rope_spectra.report import style, usage_figures, usage_section
from support.designs import make_design
from support.used import made_up_usage

TRAINED = 64


def tables(design: Design) -> tuple[pd.DataFrame, pd.DataFrame]:
    omegas = {spectrum.name: spectrum.inv_freq(8) for spectrum in design.spectra}
    usages = {
        run: made_up_usage(TRAINED, pairs=4, seed=index) for index, run in enumerate(design.runs)
    }
    return usage_table.by_pair(usages, omegas), usage_table.attention(usages)


@pytest.mark.parametrize("spectra", [1, 2, 5])
def test_every_spectrum_has_a_panel_with_means_at_its_wavelengths(spectra: int) -> None:
    design = make_design(*(f"s{index}" for index in range(spectra)))
    pairs, attention = tables(design)
    with style.applied():
        figures = usage_figures.draw(design, pairs, attention)
    assert list(figures) == ["usage", "usage_slower", "usage_norms", "usage_attention"]
    for figure in figures.values():
        assert [axes.get_title("left") for axes in figure.axes] == [s.name for s in design.spectra]
    ours = pairs[pairs["spectrum"] == "s0"].groupby("wavelength")["cost_beyond"].mean()
    rises = 100 * np.expm1(pairs[pairs["spectrum"] == "s0"].set_index("wavelength")["cost_beyond"])
    (line,) = [
        line
        for line in figures["usage"].axes[0].get_lines()
        if str(line.get_label()).startswith("beyond")
    ]
    np.testing.assert_allclose(line.get_xdata(), ours.index)
    np.testing.assert_allclose(line.get_ydata(), rises.groupby("wavelength").mean())


def test_pairs_that_do_not_rotate_are_named_not_drawn() -> None:
    design = make_design("a")
    pairs, attention = tables(design)
    pairs.loc[pairs["pair"] == 3, "wavelength"] = np.inf
    with style.applied():
        figure = usage_figures.draw(design, pairs, attention)["usage"]
    for line in figure.axes[0].get_lines():
        assert np.isfinite(np.asarray(line.get_xdata(), float)).all()
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any("do not rotate" in " ".join(text.split()) for text in texts)


def test_figures_are_drawn_without_a_length_beyond_and_without_rotating_pairs() -> None:
    design = make_design("a", "nope", lengths=[TRAINED])
    pairs, attention = tables(design)
    pairs[["cost_beyond", "cost_slower_beyond"]] = np.nan
    pairs.loc[pairs["spectrum"] == "nope", "wavelength"] = np.inf
    attention = attention[attention["length"] == TRAINED]
    with style.applied():
        figures = usage_figures.draw(design, pairs, attention)
        for figure in figures.values():
            figure.savefig("/dev/null", format="svg")
    assert [text.get_text() for text in figures["usage"].axes[1].texts][:1] == ["no pair rotates"]


def test_the_page_counts_pairs_and_leaves_out_what_was_not_measured() -> None:
    pairs, _ = tables(make_design("a", "b"))
    runs = usage_table.by_run(pairs, TRAINED)
    runs["used_20_permille_in_length"] = [1, 2, 3, 4, 4, 4]
    rows = usage_section.table(runs).splitlines()
    assert len(rows) == 4
    assert "2.0 (-0.5 to 4.5)" in rows[2]
    assert "4.0 (4.0 to 4.0)" in rows[3]
    inside = runs.assign(cost_never_turning_beyond=np.nan)
    assert "beyond" in rows[0]
    assert "beyond" not in usage_section.table(inside)
