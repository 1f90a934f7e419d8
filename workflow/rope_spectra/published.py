"""What the study published, per seed, and how our own runs compare with it (rule published).

    python -m rope_spectra.published --experiment unified_search --runs results/unified_search/runs.csv \\
        --csv results/unified_search/published.csv --figure results/unified_search/figures/published.svg

The facts are in workflow/resources/published.csv, all digits as published. It holds the study's TinyStories runs that follow
the presets 50m and 350m of protocol.md (training of section 5, evaluation `first_chunks` of section 6); runs with another
learning rate, tokenizer or number of chunks are not comparable and are not there. Spectra carry the names of protocol.md.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rope_spectra.artifacts import files, lineage
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FACTS = Path(__file__).parents[1] / "resources" / "published.csv"

COUNTERPARTS = {
    "unified_search": ("50m_unified_search_A", "50m_unified_search_B"),
    "unified_search_split_a": ("50m_unified_search_A",),
    "unified_search_split_b": ("50m_unified_search_B",),
    "unified_search_3cfg_3seed": ("50m_3cfg_3seed",),
    "ten_seeds": ("50m_2cfg_10seed",),
    "350m_final": ("350m_final",),
}

RERUNS = (
    "Bar: ± 1 standard deviation of six published runs of geo_500k, seed 42; others may vary more."
)
TWICE = "Two published values in a row: the study ran it on two machines."
NO_RERUNS = "The study repeated no 350m run, so there is no rerun spread."


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--experiment", required=True, help="name of the experiment whose published runs are meant"
    )
    parser.add_argument("--runs", type=Path, required=True, help="runs.csv of our runs")
    parser.add_argument("--csv", type=Path, required=True, help="where to write the comparison")
    parser.add_argument("--figure", type=Path, required=True, help="where to draw it, as SVG")
    args = cli.parse(parser)

    if lineage.record_of(args.runs).exists():
        lineage.check_table(args.runs, args.experiment)
    write(args.experiment, args.runs, args.csv, args.figure)


def write(experiment: str, runs: Path, csv: Path, figure: Path) -> None:
    """Compare a table of runs with the published ones; publish table and figure. UserError if they have nothing in common."""
    from rope_spectra.artifacts.tables import as_csv
    from rope_spectra.report import panels, style

    if not has_counterpart(experiment):
        raise UserError(
            f"--experiment: {experiment} has no published counterpart; use one of {', '.join(COUNTERPARTS)}"
        )
    theirs, ours = published_runs(experiment), read_runs(runs)
    result = compare(theirs, ours)
    if result.empty:
        lengths = ", ".join(map(str, theirs["length"].unique()))
        raise UserError(
            f"{runs}: has no spectrum and length of the published {experiment}; evaluate its spectra at any of {lengths}"
        )
    files.write_text(csv, as_csv(result))
    with style.applied():
        drawn = points(theirs, ours, result)
        style.save(panels.published_v_ours(drawn, caption(drawn)), figure)
    cli.log.info("%s: %d means compared with the published ones", csv, len(result))


def has_counterpart(experiment: str) -> bool:
    """Whether the study published runs of the experiment of that name."""
    return experiment in COUNTERPARTS


def published_runs(experiment: str) -> "pd.DataFrame | None":
    """The published runs behind one of our experiments, or None if there are none.

    Columns: experiment (the study's), spectrum, seed, length, ppl, source (repository@commit:path). The whole unified_search
    has geo_10k and geo_500k twice, once per machine, told apart by source.
    """
    if not has_counterpart(experiment):
        return None
    facts = _facts()
    return facts[facts["experiment"].isin(COUNTERPARTS[experiment])].reset_index(drop=True)


def read_runs(path: Path) -> "pd.DataFrame":
    """The rows of a runs.csv that the published protocol gave; UserError if there are none or it is another file."""
    import pandas as pd

    columns = {
        "spectrum": str,
        "seed": int,
        "remap": str,
        "protocol": str,
        "length": int,
        "ppl": float,
    }
    try:
        runs = comparable(pd.read_csv(path, usecols=list(columns), dtype=columns))
    except ValueError:
        raise UserError(
            f"{path}: not a table of runs with {', '.join(columns)}; delete it to have it made again"
        ) from None
    if runs.empty:
        raise UserError(
            f"{path}: has no protocol first_chunks with remap none; add both to the evaluation and run again"
        )
    return runs


def comparable(runs: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of a table of runs that were evaluated as published: protocol first_chunks, remap none."""
    return runs[(runs["protocol"] == "first_chunks") & (runs["remap"] == "none")]


def rerun_spread(length: int) -> float:
    """Std (ddof 1) in PPL of the study's six repeats of geo_500k, 50m, seed 42 (protocol.md section 8 item 3).

    They share seed and code, not always the GPU model. NaN at lengths where fewer than two of them were evaluated.
    """
    facts = _facts()
    repeats = (
        facts["experiment"].str.startswith("50m_")
        & (facts["spectrum"] == "geo_500k")
        & (facts["seed"] == 42)
    )
    return float(facts.loc[repeats & (facts["length"] == length), "ppl"].std())


def compare(published: "pd.DataFrame", ours: "pd.DataFrame") -> "pd.DataFrame":
    """Published against ours, a row per source x spectrum x length that both sides have, in the published order.

    published: from `published_runs`. ours: the tidy table of runs, of which the `comparable` rows are used.
    Mean and std (ddof 1) come from the per-seed values of each side, all its seeds; per_seed lists them ("42: 18.224; ...").
    difference = mean of ours - published, in PPL; difference_in_rerun_std is that over `rerun_spread`, empty for 350m, which
    the study never repeated.
    """
    result = _over_seeds(published, ["experiment", "spectrum", "length", "source"]).merge(
        _over_seeds(comparable(ours), ["spectrum", "length"]),
        on=["spectrum", "length"],
        suffixes=("_published", "_ours"),
    )
    result["difference"] = result["mean_ours"] - result["mean_published"]
    result["rerun_std"] = [rerun_spread(length) for length in result["length"]]
    result["rerun_std"] = result["rerun_std"].where(result["experiment"].str.startswith("50m_"))
    result["difference_in_rerun_std"] = result["difference"] / result["rerun_std"]
    result["source"] = result.pop("source")
    return result


def points(
    published: "pd.DataFrame", ours: "pd.DataFrame", comparison: "pd.DataFrame"
) -> "pd.DataFrame":
    """What the figure draws: the single runs behind `comparison`, as panel_plots.published_v_ours wants them.

    A row of the figure is a spectrum and a seed that either side has, with a gap between spectra if there are several seeds.
    """
    import pandas as pd

    shown = comparison[["spectrum", "length", "rerun_std"]].drop_duplicates()
    runs = pd.concat([published.assign(side="published"), comparable(ours).assign(side="ours")])
    runs = runs.merge(shown, on=["spectrum", "length"])
    rows = _ranked(runs[runs["side"] == "published"]).merge(
        runs[["spectrum", "seed"]].drop_duplicates(), on="spectrum"
    )
    first = ~rows["spectrum"].duplicated()
    rows["row"], rows["label"] = rows.index.astype(float), rows["spectrum"]
    if runs["seed"].nunique() > 1:
        rows["row"] += 0.5 * (first.cumsum() - 1)
        rows["label"] = rows["spectrum"].where(first, "") + "  seed " + rows["seed"].astype(str)
    return runs.merge(rows, on=["spectrum", "seed"])


def caption(points: "pd.DataFrame") -> str:
    """What the rows, the bars and two marks in one row are."""
    seeds = points["seed"].unique()
    rows = "spectrum and seed" if len(seeds) > 1 else f"spectrum (seed {seeds[0]})"
    spread = NO_RERUNS if points["rerun_std"].isna().all() else RERUNS
    twice = f" {TWICE}" if points.duplicated(["side", "row", "length"]).any() else ""
    return f"One row per {rows}, best published mean at the longest length first; scales differ between panels. {spread}{twice}"


def _ranked(published: "pd.DataFrame") -> "pd.DataFrame":
    """The spectra by their mean at the longest length, lowest first: column spectrum."""
    by_length = published.pivot_table(index="spectrum", columns="length", values="ppl")
    return by_length.sort_values(max(by_length)).reset_index()[["spectrum"]]


def _over_seeds(runs: "pd.DataFrame", by: list[str]) -> "pd.DataFrame":
    per_seed = [f"{seed}: {ppl:.6g}" for seed, ppl in zip(runs["seed"], runs["ppl"], strict=True)]
    over_seeds = runs.assign(per_seed=per_seed).groupby(by, sort=False)
    return over_seeds.agg(
        n=("ppl", "size"),
        mean=("ppl", "mean"),
        std=("ppl", "std"),
        per_seed=("per_seed", "; ".join),
    ).reset_index()


@cache
def _facts() -> "pd.DataFrame":
    import pandas as pd

    return pd.read_csv(FACTS)


if __name__ == "__main__":
    cli.run(main)
