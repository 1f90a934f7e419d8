"""Comparisons across remaps, and the seeds and blocks of selection and confirmation."""

from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.config.design import (
    ALL,
    CONFIRMATION,
    SELECTION,
    Contrasts,
    label,
    parse_arm,
)
from support.designs import make_design

REMAPS = ["none", "pi", "yarn"]


def test_a_name_without_a_remap_stands_for_the_remap_of_the_row() -> None:
    plain = Contrasts.of("geo", ["hybrid"])
    assert plain.reference(("hybrid", "none")) == ("geo", "none")
    assert (
        plain.reference(("hybrid", "yarn")) == plain.reference(("geo", "yarn")) == ("geo", "yarn")
    )
    assert plain.family(REMAPS) == [("hybrid", remap) for remap in REMAPS]


def test_a_baseline_with_a_remap_is_that_row_for_all() -> None:
    fixed = Contrasts.of("geo+yarn", ["hybrid+none", "geo"])
    assert {
        fixed.reference((name, remap)) for name in ("geo", "hybrid", "other") for remap in REMAPS
    } == {("geo", "yarn")}
    assert fixed.family(REMAPS) == [
        ("hybrid", "none"),
        ("geo", "none"),
        ("geo", "pi"),
    ]  # not the baseline itself


def test_a_contrast_may_have_a_baseline_of_its_own_and_the_closer_name_wins() -> None:
    own = Contrasts.of("geo", ["hybrid vs other", "hybrid+none vs geo+yarn", "other"])
    assert own.reference(("hybrid", "pi")) == ("other", "pi")
    assert own.reference(("hybrid", "none")) == ("geo", "yarn")
    assert own.reference(("other", "pi")) == ("geo", "pi")


@given(st.sampled_from(["geo", "a.b-c_1"]), st.sampled_from(["none", "pi", "yarn"]))
def test_labels_are_names_again(spectrum: str, remap: str) -> None:
    name, own_remap = parse_arm(label((spectrum, remap)))
    assert (name, own_remap or "none") == (spectrum, remap)


@given(share=st.floats(0.01, 0.99), n_blocks=st.integers(2, 500))
def test_selection_and_confirmation_share_no_block_and_leave_none_out(
    share: float, n_blocks: int
) -> None:
    design = make_design("geo", selection={"seeds": [1], "blocks": share})
    parts = [
        range(n_blocks)[design.blocks_of(phase, n_blocks)] for phase in (SELECTION, CONFIRMATION)
    ]
    assert [*parts[0], *parts[1]] == list(range(n_blocks))
    assert min(map(len, parts)) >= 1
    assert abs(len(parts[0]) - share * n_blocks) <= 1


def test_every_seed_serves_one_phase() -> None:
    design = make_design("geo", seeds=[7, 1, 3], selection={"seeds": [1], "blocks": 0.5})
    assert design.seeds_of(SELECTION) == [1]
    assert design.seeds_of(CONFIRMATION) == [7, 3]
    assert make_design("geo", seeds=[7, 1]).seeds_of(ALL) == [7, 1]


def test_a_look_counts_the_seeds_that_serve_verdicts() -> None:
    design = make_design("geo", seeds=[5, 1, 2, 3], selection={"seeds": [5], "blocks": 0.5})
    assert design.up_to(2) == [5, 1, 2]
    assert make_design("geo", seeds=[5, 1, 2]).up_to(2) == [5, 1]


def test_a_stopped_arm_trains_its_first_seeds_only() -> None:
    design = make_design("geo", "own", stopped={"own": 2})
    assert design.runs == [("geo", 1), ("geo", 2), ("geo", 3), ("own", 1), ("own", 2)]
