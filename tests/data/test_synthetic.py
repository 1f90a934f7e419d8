"""The generated stories: always the same, with names and things that recur."""

import hashlib
import re
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.data import synthetic
from rope_spectra.data.base import joined


def test_stories_are_the_same_everywhere() -> None:
    """Golden: a change of these words changes the demo's numbers."""
    digests = [
        hashlib.sha256(synthetic.story(0, split, 3).encode()).hexdigest()[:16]
        for split in ("train", "validation")
    ]
    assert digests == ["3dc1ed5b9f1d1ec4", "dee172f35d467458"]


@given(st.integers(0, 2**32), st.integers(0, 10**6))
def test_names_and_things_recur_to_the_end(seed: int, index: int) -> None:
    story = synthetic.story(seed, "validation", index)
    assert 6000 <= len(story) <= 9000
    assert "{" not in story
    hero = re.search(r"named (\w+)\.", story)[1]
    colour, thing = re.search(r" a (\w+) (\w+)\.\n", story).groups()
    assert story[-3000:].count(hero) > 5
    assert story[-3000:].count(f"{colour} {thing}") > 2


def test_no_story_is_in_both_splits() -> None:
    def friends(split: str) -> set[tuple[str, ...]]:
        found = (
            re.search(r"named (\w+)\..*friend was (\w+),", synthetic.story(0, split, i)).groups()
            for i in range(200)
        )
        return set(found)

    assert len(friends("train")) > 150
    assert not friends("train") & friends("validation")


def test_the_stream_of_stories_is_the_stories_in_order() -> None:
    source = synthetic.SyntheticSplit(source="synthetic", seed=5, split="train")
    first = list(islice(joined(source.pieces()), 3))
    assert first == [synthetic.story(5, "train", index) for index in range(3)]
    assert len(set(first)) == 3
