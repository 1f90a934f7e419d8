"""The pages: they rank, compare and limit what the tables hold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rope_spectra import page
from rope_spectra.analysis import frontier, rates, retrieval_table, summary_table
from rope_spectra.analysis.declaration import Standing
from rope_spectra.analysis.endpoints import NO_PLAN, Plan
from rope_spectra.analysis.frontier import Measured
from rope_spectra.analysis.summary_table import Blocks
from rope_spectra.artifacts import tables
from rope_spectra.config.appearance import Appearance
from rope_spectra.config.experiment import Primary
from rope_spectra.report import markdown, pages
from rope_spectra.runtime.errors import UserError
from support.designs import make_design

DESIGN = make_design("geo", "own")


def summary(
    ppl: dict[str, list[float]], seeds: list[int] | None = None, plan: Plan = NO_PLAN
) -> pd.DataFrame:
    """The summary of made-up perplexities: one value per seed, the same at both lengths."""
    fixed = {"experiment": "demo", "remap": "none", "protocol": "full"}
    rows = [
        {**fixed, "spectrum": name, "seed": seed, "length": length, "ppl": value}
        for name, values in ppl.items()
        for seed, value in zip(seeds or DESIGN.seeds, values, strict=False)
        for length in (64, 128)
    ]
    runs = pd.DataFrame(rows).assign(tokens=1000)
    result = summary_table.summarize(runs, "geo", ["own"], 0.01, plan=plan)
    return result.assign(dataset="toy", model="tiny", training="tiny", phase="all")


def cells(page: str) -> list[list[str]]:
    """The lines of all tables of a page, their cells without padding."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


# --- the page of an experiment -------------------------------------------------------------------


def test_the_page_ranks_by_perplexity_at_the_longest_length() -> None:
    page = pages.experiment_page(DESIGN, summary({"geo": [5.0, 5.5, 6.0], "own": [4.0, 4.5, 5.0]}))
    ranks = [line[:3] for line in cells(page) if line[0] in ("1", "2")]
    assert ranks == [["1", "demo", "own"], ["2", "demo", "geo"]]
    assert "4.500 ± 0.500" in page


def test_the_page_ranks_by_the_primary_metric_where_one_is_declared() -> None:
    names = {"geo": (8.0, 9.0), "own": (5.0, 8.0)}
    rows, blocks = [], Blocks(tokens={64: 1, 128: 1}, train_length=64)
    for name, ppl in names.items():
        for seed in (1, 2, 3):
            for length, value in zip((64, 128), ppl, strict=True):
                nll = np.log(value) + 0.001 * seed + np.zeros(4)
                blocks.nll[name, seed, "none", length] = nll
                blocks.bytes[length] = 4
                growth = np.log(ppl[1] / ppl[0]) if length == 128 else np.nan
                fixed = {"experiment": "demo", "remap": "none", "protocol": "full", "tokens": 4}
                key = {"spectrum": name, "seed": seed, "length": length, "ppl": np.exp(nll[0])}
                rows.append({**fixed, **key, "degradation": growth, "degradation_beyond": np.nan})
    plan = Plan(Primary(length=128))
    declared = make_design("geo", "own", primary={"length": 128})
    table = summary_table.summarize(pd.DataFrame(rows), "geo", ["own"], 0.01, blocks, plan)
    table = table.assign(dataset="toy", model="tiny", training="tiny", phase="all")

    page = pages.experiment_page(declared, table)
    assert "ranked by growth at 128 tokens, the primary endpoint" in page
    header, _, first, second = cells(page)[:4]
    assert first[:5] == ["1", "demo", "geo", "3", "1.125"]
    assert second[:5] == ["2", "demo", "own", "3", "1.600"]
    # Its intervals are those of the growth, which leaves no doubt; own has the lower perplexity.
    assert (header[-2], first[-2], second[-2]) == ("rank, 95 %", "1", "2")
    ranks = table.set_index(["spectrum", "length"])
    assert ranks["degradation_rank"].dropna().to_dict() == {("geo", 128): 1, ("own", 128): 2}
    assert ranks.loc[("own", 128), "rank"] == 1


def test_ranks_have_intervals_and_a_probability() -> None:
    close = {"geo": [5.0, 5.5, 6.0], "own": [4.9, 5.6, 5.9], "far": [9.0, 9.9, 10.8]}
    table = summary(close)
    ranks = [line[-2:] for line in cells(pages.experiment_page(DESIGN, table)) if line[1] == "demo"]
    assert [low_to_high for low_to_high, _ in ranks] == ["1 to 2", "1 to 2", "3"]
    assert 0.5 < float(ranks[0][1]) < 0.9
    assert ranks[1][1] == ">0.999"
    assert ranks[2][1] == ""
    older = table.drop(columns=["rank", "rank_ci95_low", "rank_ci95_high", "p_better_than_next"])
    assert "rank, 95 %" not in pages.experiment_page(DESIGN, older)


def test_blocks_of_a_page_are_one_blank_line_apart() -> None:
    page = pages.experiment_page(DESIGN, summary({"geo": [5.0], "own": [4.0]}))
    assert page.startswith("# demo\n\nWhich is better?\n\nModel tiny trained on toy ")
    assert "\n\n\n" not in page
    assert page.endswith("`results/logs/`.\n")


def test_a_description_is_text_and_no_html() -> None:
    evil = "p < 0.05 <script>x</script> <img onerror=x> <!-- </td> \x1b[31m\u202e"
    design = DESIGN.model_copy(update={"description": evil})
    page = pages.experiment_page(design, summary({"geo": [5.0], "own": [4.0]}))
    assert (
        "p < 0.05 &lt;script>x&lt;/script> &lt;img onerror=x> &lt;!-- &lt;/td> \\x1b[31m\\u202e"
    ) in page


def test_three_seeds_cannot_be_significant_and_the_page_says_so() -> None:
    page = pages.experiment_page(DESIGN, summary({"geo": [5.0, 5.5, 6.0], "own": [4.0, 4.5, 5.0]}))
    assert "own against geo: 3 of 3 seeds better; 3 seeds cannot make it significant" in page
    assert "smallest p that 3 seeds can reach is 0.25" in page


def test_eight_seeds_can_be_and_the_page_names_the_verdict() -> None:
    seeds = list(range(8))
    ppl = {
        "geo": [5.0 + 0.1 * seed for seed in seeds],
        "own": [4.0 + 0.09 * seed for seed in seeds],
    }
    page = pages.experiment_page(make_design("geo", "own", seeds=seeds), summary(ppl, seeds))
    assert "own is better than geo" in page
    assert "smallest p" not in page


def test_one_seed_has_no_spread_and_no_verdict() -> None:
    design = make_design("geo", "own", seeds=[1])
    page = pages.experiment_page(design, summary({"geo": [5.0], "own": [4.0]}))
    assert "±" not in "".join(line for line in page.splitlines() if line.startswith("| 1"))
    assert "One seed has no spread" in page
    assert "own against geo: 1 of 1 seed better; 1 seed cannot make it significant" in page


def test_seeds_without_a_partner_are_named() -> None:
    page = pages.experiment_page(DESIGN, summary({"geo": [5.0, 5.5, 6.0], "own": [4.0, 4.5]}))
    assert "significant (seeds without a partner: geo only: 3).\n" in page


def test_the_page_names_each_contrast_and_keeps_the_undeclared_apart() -> None:
    random = np.random.default_rng(0)
    factors = {("geo", "none"): 1.5, ("geo", "yarn"): 1.1, ("hybrid", "none"): 1.0}
    factors["hybrid", "yarn"] = 0.95
    rows = [
        {"spectrum": spectrum, "remap": remap, "seed": seed, "length": length, "ppl": 5 * factor}
        for (spectrum, remap), factor in factors.items()
        for seed in range(8)
        for length in (64, 256)
    ]
    runs = pd.DataFrame(rows).assign(experiment="x", protocol="full", tokens=100)
    runs["ppl"] *= np.exp(random.normal(0, 0.01, len(runs)))

    def page(baseline: str, contrast: str) -> str:
        design = make_design("geo", "hybrid", baseline=baseline, contrasts=[contrast])
        table = summary_table.summarize(runs, baseline, [contrast], 0.01).assign(phase="all")
        return pages.experiment_page(design, table)

    one = page("geo+yarn", "hybrid+none")
    assert "## Contrasts at 256 tokens against geo + yarn" in one
    assert "- hybrid is better than geo + yarn:" in one
    assert "`a + yarn` is the model trained with" in one
    others = one.partition("Not declared as contrasts")[2].partition("## What")[0]
    assert "| hybrid + yarn " in others
    assert "| hybrid  " not in others

    two = page("geo", "hybrid")
    assert "## Contrasts at 256 tokens, paired by seed" in two
    assert "- hybrid + yarn is better than geo + yarn:" in two
    against = [line[1] for line in cells(two) if line[0].startswith("hybrid") and "8/8" in line]
    assert against == ["geo", "geo + yarn"]


# --- what was declared ---------------------------------------------------------------------------


def standing(**changes: object) -> Standing:
    """That of three runs which were declared before the first one."""
    content = {"sealed": "2026-01-01", "runs": 3, "earlier": 0, "changes": [], "planned": [3]}
    content["looks"] = [{"time": "2026-01-02", "seeds": [1, 2, 3]}]
    return Standing.model_validate(content | changes)


@pytest.mark.parametrize(
    ("found", "said", "unsaid"),
    [
        (standing(), "Declared before the first run was finished (2026-01-01)", "exploratory"),
        (
            standing(earlier=2),
            "No declaration was sealed before the first run: this one is of 2026-01-01, and 2 of",
            "Declared",
        ),
        (standing(changes=["x was 1 and is 2"]), "x was 1 and is 2. So all verdicts", "Declared b"),
        (standing(planned=[2, 4]), "not declared, at 3 seeds: of 2, 4 declared", "exploratory"),
        (None, "do not tell whether this was declared", "Declared"),
    ],
)
def test_the_page_says_what_was_declared_when(
    found: Standing | None, said: str, unsaid: str
) -> None:
    table = summary({"geo": [5.0, 5.5, 6.0], "own": [4.0, 4.5, 5.0]})
    page = pages.experiment_page(DESIGN, table, standing=found)
    assert said in page
    assert unsaid not in page
    assert "No primary endpoint" in page


def test_the_primary_endpoint_has_a_section_and_the_other_lengths_a_table() -> None:
    primary = Primary(metric="ppl", length=128)
    design = make_design("geo", "own", primary=primary.content())
    ppl = {"geo": [5.0, 5.5, 6.0], "own": [4.0, 4.5, 5.0]}
    page = pages.experiment_page(design, summary(ppl, plan=Plan(primary)), standing=standing())
    assert "## Primary endpoint: perplexity at 128 tokens against geo" in page
    secondary = cells(page.partition("### Secondary")[2])
    assert secondary[0] == ["spectrum", "64 (PPL)"]
    assert secondary[2][1].startswith("0.817 (")
    assert "the 1 comparisons are" in page


def test_a_look_names_the_arms_that_need_no_more_seeds() -> None:
    design = make_design(
        "geo", "own", seeds=list(range(12)), looks=[8, 12], primary={"metric": "ppl", "length": 128}
    )
    ppl = {
        "geo": [5.0 + 0.1 * seed for seed in range(8)],
        "own": [4.0 + 0.09 * seed for seed in range(8)],
    }
    plan = Plan(design.primary, design.seeds, design.looks)
    page = pages.experiment_page(design, summary(ppl, list(range(8)), plan=plan))
    assert "own is better than geo" in page
    assert "write under `experiments.demo`: `stopped: {own: 8}`" in page
    assert "Looks at 8, 12 seeds share the 5 %" in page
    # With a retrieval endpoint, that has to be decided too.
    both = make_design(
        "geo",
        "own",
        seeds=list(range(12)),
        looks=[8, 12],
        primary={"metric": "ppl", "length": 128},
        retrieval={"trials": 20, "distractors": 9},
        retrieval_endpoint={"length": 64},
    )
    table = summary(ppl, list(range(8)), plan=plan)
    rows = np.zeros((8, 12))
    for right, is_decided in [(0.5, True), (0.1, False)]:
        arms = {
            (name, "none"): Measured(both.seeds[:8], rows + 1, None, rows + share, 0.1)
            for name, share in [("geo", 0.1), ("own", right)]
        }
        found = frontier.frontier_table(both, arms)
        page = pages.experiment_page(both, table, frontier=found)
        assert ("`stopped: {own: 8}`" in page) == is_decided
    assert "`stopped:" not in pages.experiment_page(both, table)


# --- noise floor and retrieval -------------------------------------------------------------------


def test_the_noise_floor_is_reported_at_the_longest_length() -> None:
    fixed = {"spectrum": "geo", "seed": 1, "remap": "none", "protocol": "full", "n_runs": 3}
    table = pd.DataFrame(
        [
            {**fixed, "length": 128, "ppl_spread": 0.5, "seed_std": 0.25, "n_seeds": 3},
            {**fixed, "length": 64, "ppl_spread": 0.1, "seed_std": 0.05, "n_seeds": 3},
        ]
    )
    ppl = summary({"geo": [5.0, 5.5, 6.0], "own": [4.0, 4.5, 5.0]})
    equal = pages.experiment_page(DESIGN, ppl, noise_floor=table.assign(n_weights=1))
    assert "geo seed 1 trained 3 times: bit-equal weights; at 128 tokens" in equal
    assert "0.5 PPL next to a seed std of 0.25." in equal
    assert "not measured here" not in equal
    different = pages.experiment_page(DESIGN, ppl, table.assign(n_weights=2, n_seeds=1))
    assert "2 different sets of weights" in different
    assert "no other seed to compare.\n" in different
    assert "The noise floor" in pages.experiment_page(DESIGN, ppl)


def scores(right: int, trials: int = 20, gap: float = 2.0) -> np.ndarray:
    """NLL of 10 candidates in each trial, of which the first `right` trials are right."""
    nll = np.full((trials, 10), 3.0 + gap)
    nll[:, 0] = 3.0
    nll[right:, 4] = 2.5
    return nll


def test_retrieval_says_chance_and_stars_what_is_above_it() -> None:
    nll = {
        ("geo", seed, "none", length): scores(right)
        for seed in (1, 2)
        for length, right in [(64, 18), (256, 2)]
    }
    nll |= {
        ("own", seed, "none", length): scores(15, gap=2.5)
        for seed in (1, 2)
        for length in (64, 256)
    }
    retrieval = retrieval_table.summarize(retrieval_table.by_run(nll), "geo", ["own"])
    ppl = summary({"geo": [5.0, 5.5, 6.0], "own": [4.0, 4.5, 5.0]})
    page = pages.experiment_page(DESIGN, ppl, retrieval=retrieval)
    text = page.partition("## Retrieval")[2].partition("\n## ")[0]
    assert "one of 10 words" in text
    assert "chance, 10 %" in text
    rows = cells(text)
    assert rows[0] == ["spectrum", "64", "256", "NLL gap at 256 against geo"]
    assert rows[2] == ["geo", "90 ± 0 (77 to 96)*", "10 ± 0 (4 to 23)", ""]
    assert rows[3][:3] == ["own", "75 ± 0 (60 to 86)*", "75 ± 0 (60 to 86)*"]
    assert rows[3][3].startswith("+0.")


def test_the_frontier_has_a_section_with_its_verdicts_in_words() -> None:
    declared = make_design(
        "geo",
        "own",
        "other",
        seeds=list(range(8)),
        primary={"length": 128},
        retrieval={"trials": 20, "distractors": 9},
        retrieval_endpoint={"length": 64},
    )
    rows = np.zeros((8, 12))
    arms = {
        (name, "none"): Measured(declared.seeds, rows + 2, rows + growth, rows + right, 0.1)
        for name, growth, right in [("geo", 1.0, 0.9), ("own", 0.5, 0.5), ("other", 1.1, 0.9)]
    }
    table = frontier.frontier_table(declared, arms)
    ppl = {"geo": [5.0] * 8, "own": [4.0] * 8, "other": [4.0] * 8}
    judged = summary(ppl, declared.seeds, Plan(Primary(metric="ppl", length=128)))
    page = pages.experiment_page(declared, judged, frontier=table)
    assert "Retrieval endpoint: accuracy of the retrieval probe at 64 tokens" in page
    assert "\n\n## The frontier: degradation at 128 tokens against retrieval at 64\n" in page
    assert "On the frontier are own, geo: by the means, no other of the 3 spectra" in page
    assert "own finds less than geo: the corrected p is below 0.05." in page
    assert "other cannot be told apart from geo by retrieval" in page
    section = page.partition("## The frontier")[2]
    own = next(line for line in cells(section) if line[0] == "own")
    assert own[1] == "1.649 (1.649 to 1.649)"
    assert own[2:6] == ["50.0 (50.0 to 50.0)", "yes, 1", "-40.0 (-40.0 to -40.0)", "0/8"]
    assert own[-2:] == ["worse", "better"]


def rates_page(*, moved: bool, failed: bool) -> str:
    """The page with the learning rates of two spectra that are far apart."""
    rows = np.zeros((3, 12)) + np.array([[-0.01], [0.0], [0.01]])
    found = [
        rates.Rate(
            "demo",
            learning_rate,
            {
                name: rates.Trained([1, 2, 3], np.array([5.0, 5.0, bad]), rows + value)
                for name, value, bad in [("geo", 1.0, 5.0), ("own", other, 9.0 if failed else 5.0)]
            },
        )
        for learning_rate, other in [(0.003, 2.0), (0.006, 0.5 if moved else 2.0)]
    ]
    table = rates.rates_table(Primary(length=128), found)
    return pages.experiment_page(DESIGN, summary({"geo": [5.0] * 3, "own": [4.0] * 3}), rates=table)


def test_learning_rates_that_agree_are_said_to_agree() -> None:
    page = rates_page(moved=False, failed=False)
    assert "\n\n## The primary endpoint at 2 learning rates\n\nThe order of the 2 spectra" in page
    assert "by degradation at 128 tokens is the same at every rate (0.003, 0.006)." in page
    assert "\n\n## What this cannot show\n" in page
    assert "None of the 12 runs failed to train." in page


def test_spectra_that_change_place_between_learning_rates_are_named() -> None:
    page = rates_page(moved=True, failed=True)
    assert "with their ranks at 0.003, 0.006, these change place: geo (1, 2); own (2, 1)." in page
    assert "Beyond what seeds and text leave open: geo, own" in page
    assert "2 of 12 runs failed to train: own at 0.003 (1 of 3), own at 0.006 (1 of 3)." in page


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    tables.write_csv(tmp_path / "runs.csv", pd.DataFrame({"spectrum": ["geo"], "ppl": [5.0]}))
    with pytest.raises(UserError, match=r"runs\.csv: has no column accuracy_mean"):
        page.read_table(tmp_path / "runs.csv", "accuracy_mean")


def test_labels_stand_for_names_in_text_and_tables_but_not_in_code() -> None:
    page = (
        "geo leads, poly-2 and geo_2 follow; geo + yarn too. `results/geo/`\n\n"
        "| spectrum | ppl |\n| -------- | --- |\n| geo      | 1   |\n| poly     | 2   |\n"
    )
    shown = Appearance(labels={"geo": "Geometric | <b>"})
    assert markdown.relabeled(page, shown) == (
        "Geometric \\| &lt;b> leads, poly-2 and geo_2 follow; Geometric \\| &lt;b> + yarn too."
        " `results/geo/`\n\n"
        "| spectrum            | ppl |\n"
        "| ------------------- | --- |\n"
        "| Geometric \\| &lt;b> | 1   |\n"
        "| poly                | 2   |\n"
    )
    assert markdown.relabeled(page, Appearance()) == page
