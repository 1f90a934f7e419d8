"""Summary tables as pages for reading: a leaderboard, mean +- std by length, the verdicts in words, the limits."""

from typing import Any

import pandas as pd

from rope_spectra.analysis import statistics
from rope_spectra.config import phases
from rope_spectra.config.contrasts import NATIVE, Arm, Contrasts
from rope_spectra.config.definition import Definition
from rope_spectra.report.markdown import as_table, interval, mean_std, named, number, spaced, text

_VERDICTS = {
    "better": "is better than {baseline}: the interval excludes no difference and so does the corrected p",
    "worse": "is worse than {baseline}: the interval excludes no difference and so does the corrected p",
    "equivalent": "is equivalent to {baseline} within the declared margin",
    "inconclusive": "cannot be told from {baseline} by these seeds",
}

_NO_NOISE_FLOOR = (
    "The noise floor, how far repeats of one seed differ, is not measured here (`noise_floor` in the config): the spread is that "
    "of seeds on one machine. "
)

_PROTOCOLS = {
    "full": "protocol `full`: blocks of validation text, the same target tokens at every length",
    "first_chunks": "protocol `first_chunks`, as published: the first chunks of the validation text, other text at each length",
}


def experiment_page(
    definition: Definition,
    summary: pd.DataFrame,
    noise_floor: pd.DataFrame | None = None,
    retrieval: str = "",
) -> str:
    """summary.md of one experiment.

    noise_floor: the table of noise_floor.measure, where a run was repeated; retrieval: the section of retrieval_page, where the
    runs were probed.
    """
    name = definition["experiment"]
    chosen, tested = (
        summary[(summary["phase"] == phases.SELECTION) == selected] for selected in (True, False)
    )
    parts = [
        f"# {name}",
        definition["description"],
        _what_was_run(definition),
        _phases(definition),
        _remaps(summary),
        *(_protocol_section(tested, protocol) for protocol in _protocols(tested)),
        _verdicts(definition, tested),
        *(["## Selection: exploratory, no verdicts"] if len(chosen) else []),
        *(_protocol_section(chosen, protocol) for protocol in _protocols(chosen)),
        retrieval,
        "" if noise_floor is None else _noise_floor(noise_floor),
        _limits(definition, tested if len(tested) else summary, measured=noise_floor is not None),
        f"Figures: `results/{name}/figures/`. One row per run and length: `results/{name}/runs.csv`. "
        f"All columns: `results/{name}/summary.csv`. Logs: `results/logs/`.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def overall_page(summary: pd.DataFrame) -> str:
    """summary.md over all experiments: one leaderboard for each set of runs that can be compared."""
    parts, summary = ["# Summary"], summary[summary["phase"] != phases.SELECTION]
    comparable = summary.groupby(
        ["dataset", "model", "training", "phase"], sort=False, dropna=False
    )
    for (dataset, model, training, phase), group in comparable:
        part = ", confirmation (part of the text and seeds)" if phase == phases.CONFIRMATION else ""
        parts.append(f"## Dataset {dataset}, model {model}, training {training}{part}")
        parts += [_protocol_section(group, protocol) for protocol in _protocols(group)]
        parts += filter(None, [_repeated_runs(group)])
    experiments = ", ".join(f"`results/{name}/`" for name in summary["experiment"].unique())
    parts.append(f"By experiment, with verdicts and figures: {experiments}. Logs: `results/logs/`.")
    return "\n\n".join(parts) + "\n"


def _repeated_runs(summary: pd.DataFrame) -> str:
    """How far apart experiments are on a spectrum that they share, same seeds: what two machines make of the same runs."""
    protocol, longest = _protocols(summary)[0], summary["length"].max()
    rows = summary[(summary["protocol"] == protocol) & (summary["length"] == longest)]
    shared = [
        group
        for _, group in rows.groupby(["spectrum", "remap", "seeds"], sort=False)
        if len(group) > 1
    ]
    if not shared:
        return ""
    apart = [
        f"{named(group.iloc[0])}: {100 * (group['ppl_mean'].max() / group['ppl_mean'].min() - 1):.2g} %"
        for group in shared
    ]
    return (
        f"The same spectrum and seeds in several experiments, largest against smallest PPL at {longest} tokens (protocol "
        f"`{protocol}`): {', '.join(apart)}. Where these ran on different machines, this is what the machines alone do; the "
        "ranks of spectra from different machines that are no further apart than that say nothing."
    )


def _what_was_run(definition: Definition) -> str:
    seeds = ", ".join(map(str, definition["seeds"]))
    return (
        f"Model {definition['model']} trained on {definition['dataset']} (preset {definition['training']}) "
        f"at {definition['train_length']} tokens; {len(definition['spectra'])} spectra, seeds {seeds}, "
        f"baseline {spaced(definition['baseline'])}."
    )


def _phases(definition: Definition) -> str:
    """Which seeds and blocks chose and which confirm, if the experiment keeps them apart."""
    if not definition.get("selection"):
        return ""
    seeds = {
        phase: ", ".join(map(str, phases.seeds_of(definition, phase)))
        for phase in (phases.SELECTION, phases.CONFIRMATION)
    }
    share = f"{100 * definition['selection']['blocks']:g} %"
    return (
        f"Selection: seeds {seeds[phases.SELECTION]} on the first {share} of the blocks of validation text. "
        f"Confirmation: seeds {seeds[phases.CONFIRMATION]} on the other blocks; all verdicts, and the tables next, are of these. "
        "Protocol `first_chunks` reads the start of the text for all seeds, so it gives no verdict here."
    )


def _remaps(summary: pd.DataFrame) -> str:
    """What the names with a plus are, if there are any."""
    if set(summary["remap"]) == {NATIVE}:
        return ""
    return (
        "`a + yarn` is the model trained with spectrum a, its frequencies changed at evaluation time at lengths beyond the "
        "training length; up to that length it is the trained model itself."
    )


def _protocols(summary: pd.DataFrame) -> list[str]:
    return [protocol for protocol in _PROTOCOLS if protocol in set(summary["protocol"])]


def _protocol_section(summary: pd.DataFrame, protocol: str) -> str:
    rows = summary[summary["protocol"] == protocol]
    longest = rows["length"].max()
    title = (
        f"Perplexity, mean ± std over seeds, ranked at {longest} tokens ({_PROTOCOLS[protocol]}):"
    )
    split = "In length and beyond: the mean over positions below the training length, and over those from it on."
    split_shown = rows["ppl_beyond_length"].notna().any()
    return "\n\n".join([title, leaderboard(rows), *([split] if split_shown else [])])


def leaderboard(rows: pd.DataFrame) -> str:
    """Spectra ranked by mean PPL at the longest length, a column per length, that longest split at the training length."""
    lengths = sorted(rows["length"].unique())
    keys = ["experiment", "spectrum", "remap"]
    cells = rows.assign(cell=[mean_std(row.ppl_mean, row.ppl_std) for row in rows.itertuples()])
    wide = cells.pivot(index=keys, columns="length", values="cell")
    last = rows[rows["length"] == lengths[-1]].sort_values("ppl_mean", kind="stable")
    table = [
        [
            str(rank),
            row.experiment,
            named(row),
            str(row.n_seeds),
            *wide.loc[(row.experiment, row.spectrum, row.remap), lengths],
        ]
        for rank, row in enumerate(last.itertuples(), start=1)
    ]
    header = ["rank", "experiment", "spectrum", "seeds", *map(str, lengths)]
    if last["ppl_beyond_length"].notna().any():
        header += [f"{lengths[-1]}, in length", f"{lengths[-1]}, beyond"]
        parts = last[["ppl_in_length", "ppl_beyond_length"]].to_numpy()
        table = [
            cells + [mean_std(value, float("nan")) for value in pair]
            for cells, pair in zip(table, parts, strict=True)
        ]
    return as_table(header, table)


def _family(definition: Definition, summary: pd.DataFrame) -> list[Arm]:
    """The declared contrasts, in their order."""
    return Contrasts.of(definition["baseline"], definition["contrasts"]).family(
        sorted(summary["remap"].unique())
    )


def _verdicts(definition: Definition, summary: pd.DataFrame) -> str:
    """The contrasts at the longest length, as a table and in words; then the comparisons that were not declared."""
    protocol, longest = next(iter(_protocols(summary)), None), summary["length"].max()
    at = summary[
        (summary["protocol"] == protocol)
        & (summary["length"] == longest)
        & (summary["verdict"] != "baseline")
    ]
    if at.empty:
        return ""
    rows, family = (
        {(row.spectrum, row.remap): row for row in at.itertuples()},
        _family(definition, summary),
    )
    declared, others = (
        [rows[arm] for arm in family if arm in rows],
        [row for arm, row in rows.items() if arm not in family],
    )
    one_baseline = at["baseline"].nunique() == 1
    title = f"Against {spaced(at['baseline'].iloc[0])}" if one_baseline else "Contrasts"
    parts = [f"## {title} at {longest} tokens, paired by seed (protocol `{protocol}`)"]
    if declared:
        parts += [
            _comparisons(declared, one_baseline),
            "\n".join(f"- {_in_words(row)}." for row in declared),
        ]
    if others:
        parts += [
            "Not declared as contrasts, so without a verdict in favour of either:",
            _comparisons(others, one_baseline),
        ]
    return "\n\n".join(parts)


def _comparisons(rows: list[Any], one_baseline: bool) -> str:
    """A table of comparisons; what each is compared with has a column, unless the title says it."""
    header = [
        "spectrum",
        "against",
        "PPL ratio",
        "95 % interval",
        "p",
        "p (Holm)",
        "wins",
        "verdict",
    ]
    table = [
        [
            named(row),
            spaced(row.baseline),
            number(row.ppl_ratio),
            interval(row),
            number(row.p_sign_flip),
            number(row.p_holm),
            text(row.wins),
            row.verdict,
        ]
        for row in rows
    ]
    if one_baseline:
        header, table = header[:1] + header[2:], [cells[:1] + cells[2:] for cells in table]
    return as_table(header, table)


def _in_words(row: Any) -> str:
    return f"{named(row)} {_VERDICTS[row.verdict].format(baseline=spaced(row.baseline))}{_unpaired(row)}"


def _unpaired(row: Any) -> str:
    return (
        "" if pd.isna(row.unpaired_seeds) else f" (seeds without a partner: {row.unpaired_seeds})"
    )


def _noise_floor(table: pd.DataFrame) -> str:
    """How far repeats of one run differ, at the longest length, beside the spread of seeds."""
    row = (
        table[table["remap"] == table["remap"].iloc[0]].sort_values(["protocol", "length"]).iloc[-1]
    )
    weights = (
        "bit-equal weights"
        if row["n_weights"] == 1
        else f"{row['n_weights']} different sets of weights"
    )
    seeds = (
        f"beside a seed std of {number(row['seed_std'])}"
        if row["n_seeds"] > 1
        else "with no other seed to compare"
    )
    return (
        f"## Noise floor\n\n{row['spectrum']} seed {row['seed']} trained {row['n_runs']} times: {weights}; at {row['length']} "
        f"tokens (protocol `{row['protocol']}`) the spread is {number(row['ppl_spread'])} PPL {seeds}."
    )


def _limits(definition: Definition, summary: pd.DataFrame, measured: bool) -> str:
    """What the numbers cannot show; measured: whether the noise floor was."""
    seeds, contrasts = int(summary["n_seeds"].max()), len(_family(definition, summary))
    points = [
        "These perplexities measure what unseen positions do to a model on this text. They do not show use of context"
        + (
            "; the retrieval probe does, for one kind of sentence that was trained in."
            if "retrieval" in definition
            else "."
        ),
        f"A verdict rests on {contrasts} declared contrast{'s' * (contrasts != 1)} and one equivalence margin of "
        f"{100 * definition['equivalence_margin']:g} % PPL, fixed in the config before the run.",
        ("" if measured else _NO_NOISE_FLOOR)
        + "With `deterministic: true` a run repeats to the bit on one machine; another machine or build gives other numbers.",
    ]
    if seeds == 1:
        points.append("One seed has no spread: no interval, no p and no verdict can come from it.")
    elif statistics.smallest_p(seeds) >= statistics.ALPHA:
        smallest = statistics.smallest_p(seeds)
        points.append(
            f"The smallest p that {seeds} seeds can reach is {smallest:g}: with so few, no difference can be significant."
        )
    elif (smallest := contrasts * statistics.smallest_p(seeds)) >= statistics.ALPHA:
        points.append(
            f"Corrected for {contrasts} contrasts, the smallest p that {seeds} seeds can reach is {min(smallest, 1):g}: "
            "none can be significant without more seeds or fewer contrasts."
        )
    return "## What this cannot show\n\n" + "\n".join(f"- {point}" for point in points)
