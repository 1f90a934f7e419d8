"""The declaration: sealed before the first run, kept afterwards; changes and looks are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from rope_spectra.analysis import declaration
from rope_spectra.artifacts import layout, provenance, seal
from rope_spectra.config.design import Design
from rope_spectra.runtime.errors import UserError
from support.designs import make_design

PRIMARY = {"metric": "degradation", "length": 128}
DESIGN = make_design("geo", "own", primary=PRIMARY)


@pytest.fixture(autouse=True)
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An empty results folder, and a clock that goes on by a minute each time it is read."""
    monkeypatch.chdir(tmp_path)
    minutes = [0]

    def now() -> str:
        minutes[0] += 1
        return f"2026-01-01T00:{minutes[0]:02}:00+00:00"

    monkeypatch.setattr(provenance, "now", now)
    return minutes


def train(spectrum: str, seed: int, finished: str | None) -> None:
    path = layout.fill(layout.RUN, experiment="demo", spectrum=spectrum, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    seal.write(path, {"finished": finished} if finished else {})


def changed(**changes: Any) -> Design:
    return DESIGN.model_copy(update=changes)


def test_it_may_be_changed_until_something_is_trained() -> None:
    first = declaration.declare(DESIGN)
    assert declaration.declare(DESIGN) == first
    second = declaration.declare(changed(equivalence_margin=0.02))
    assert second.declared.equivalence_margin == 0.02
    assert second.time > first.time
    train("geo", 1, provenance.now())
    assert declaration.declare(DESIGN) == second


def test_declared_before_the_first_run() -> None:
    declaration.declare(DESIGN)
    for spectrum, seed in DESIGN.runs:
        train(spectrum, seed, provenance.now())
    standing = declaration.look(DESIGN, DESIGN.runs)
    assert (standing.earlier, standing.runs, standing.changes, standing.unplanned) == (0, 6, [], [])
    assert [look.seeds for look in standing.looks] == [[1, 2, 3]]
    assert declaration.look(DESIGN, DESIGN.runs) == standing, "the same tables are no new look"


def test_runs_that_are_older_or_do_not_tell_are_counted() -> None:
    train("geo", 1, provenance.now())
    train("geo", 2, None)
    declaration.declare(DESIGN)
    train("geo", 3, provenance.now())
    assert declaration.look(DESIGN, [("geo", 1), ("geo", 2), ("geo", 3)]).earlier == 2


def test_without_a_declaration_the_first_look_seals_one_that_is_too_late() -> None:
    train("geo", 1, provenance.now())
    standing = declaration.look(DESIGN, [("geo", 1)])
    assert standing.earlier == standing.runs == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"contrasts": []}, '`contrasts` was ["own"] and is []'),
        ({"equivalence_margin": 0.5}, "`equivalence_margin` was 0.01 and is 0.5"),
        ({"primary": None}, "`primary` was {"),
        ({"looks": [2, 3]}, "`looks` was not given and is [2, 3]"),
        ({"seeds": [1, 3]}, "`seeds` were [1, 2, 3] and are [1, 3]"),
        ({"seeds": [1, 2, 3, 4]}, None),
        ({"description": "Another question?"}, None),
        ({"noise_floor": 3}, None),
        ({"spectra": make_design("own", "geo").spectra}, "the spectrum geo has changed"),
    ],
)
def test_a_changed_claim_is_told_and_more_seeds_are_none(
    changes: dict[str, Any], said: str | None
) -> None:
    found = list(declaration.changes(DESIGN, changed(**changes)))
    assert [text[: len(said)] for text in found[:1]] == [said] if said else found == []


def test_a_clone_can_tell_what_changed_after_the_runs() -> None:
    declaration.declare(DESIGN)
    train("geo", 1, provenance.now())
    late = declaration.look(changed(equivalence_margin=0.5), [("geo", 1)])
    assert late.changes == ["`equivalence_margin` was 0.01 and is 0.5"]
    assert late.earlier == 0


def test_hypotheses_are_declared_and_later_ones_leave_the_contrasts_alone() -> None:
    first = {"source": "us", "claim": "own better than geo"}
    second = {"source": "us", "claim": "own worse than geo"}
    third = {"source": "us", "diagnostic": "critical_dimension", "sign": "negative"}
    design = make_design("geo", "own", hypotheses={"a": first, "b": first})
    assert declaration.declare(design).declared == design
    train("geo", 1, provenance.now())
    late = make_design("geo", "own", hypotheses={"a": first, "b": second, "c": third})
    assert declaration.late_hypotheses(design) == []
    assert declaration.late_hypotheses(late) == ["b", "c"]
    assert declaration.look(late, [("geo", 1)]).changes == []
    assert "hypotheses" not in DESIGN.content()


def test_seeds_that_are_added_after_a_look_make_another_one() -> None:
    for spectrum, seed in [("geo", 1), ("geo", 2), ("geo", 3), ("geo", 4), ("geo", 5)]:
        train(spectrum, seed, provenance.now())
    seeds = [1, 2, 3]
    declaration.look(DESIGN, [("geo", seed) for seed in seeds])
    more = changed(seeds=[*seeds, 4, 5])
    standing = declaration.look(more, [("geo", seed) for seed in more.seeds])
    assert (standing.planned, standing.unplanned) == ([3], [5])
    assert standing.changes == []


def test_declared_looks_are_planned_and_others_are_not() -> None:
    design = changed(looks=[2, 3])
    for seed in design.seeds:
        train("geo", seed, provenance.now())
    for count in (1, 2, 3):
        standing = declaration.look(design, [("geo", seed) for seed in design.seeds[:count]])
    assert standing.unplanned == [1]


def test_an_edited_declaration_is_refused() -> None:
    declaration.declare(DESIGN)
    path = layout.fill(layout.DECLARATION, experiment="demo")
    content = json.loads(path.read_text())
    content["declared"]["equivalence_margin"] = 0.5
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"declaration\.json: damaged or edited"):
        declaration.declare(DESIGN)
