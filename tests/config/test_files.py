"""Commands without Snakemake read the configuration as it does."""

import copy

from hypothesis import given
from hypothesis import strategies as st
from snakemake.utils import update_config

from rope_spectra.config.files import merge

KEYS = st.sampled_from("abc")
LEAVES = st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
CONFIGS = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=3),
    lambda inner: st.dictionaries(KEYS, LEAVES | inner, max_size=3),
    max_leaves=8,
)


def has_mapping_over_a_value(below: dict, above: dict) -> bool:
    """True where Snakemake fails: it cannot put a mapping into a number or a list."""
    for key in below.keys() & above.keys():
        if isinstance(above[key], dict):
            if not isinstance(below[key], dict):
                return True
            if has_mapping_over_a_value(below[key], above[key]):
                return True
    return False


@given(CONFIGS, CONFIGS)
def test_files_are_merged_as_snakemake_merges_them(below: dict, above: dict) -> None:
    ours, given_above = copy.deepcopy(below), copy.deepcopy(above)
    merge(ours, above)
    assert above == given_above
    if has_mapping_over_a_value(below, above):
        return
    theirs = copy.deepcopy(below)
    update_config(theirs, above)
    assert ours == theirs
