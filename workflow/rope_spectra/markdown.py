"""Summary tables as pages for reading: a leaderboard, mean +- std by length, the verdicts in words, the limits."""

from typing import Any

import pandas as pd

from rope_spectra import statistics

Definition = dict[str, Any]

_VERDICTS = {
    "better": "is better than {baseline}: the interval excludes no difference and so does the corrected p",
    "worse": "is worse than {baseline}: the interval excludes no difference and so does the corrected p",
    "equivalent": "is equivalent to {baseline} within the declared margin",
    "inconclusive": "cannot be told from {baseline} by these seeds",
}

_PROTOCOLS = {
    "full": "protocol `full`: every block of validation text, the same target tokens at every length",
    "first_chunks": "protocol `first_chunks`, as published: the first chunks of the validation text, other text at each length",
}


def experiment_page(definition: Definition, summary: pd.DataFrame) -> str:
    """summary.md of one experiment."""
    name = definition["experiment"]
    parts = [
        f"# {name}",
        definition["description"],
        _what_was_run(definition),
        *(_protocol_section(summary, protocol) for protocol in _protocols(summary)),
        _verdicts(definition, summary),
        _limits(definition, summary),
        f"Figures: `results/{name}/figures/`. One row per run and length: `results/{name}/runs.csv`. "
        f"All columns: `results/{name}/summary.csv`. Logs: `results/logs/`.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def overall_page(summary: pd.DataFrame) -> str:
    """summary.md over all experiments: one leaderboard for each set of runs that can be compared."""
    parts = ["# Summary"]
    for (dataset, model, training), group in summary.groupby(["dataset", "model", "training"], sort=False):
        parts.append(f"## Dataset {dataset}, model {model}, training {training}")
        parts += [_protocol_section(group, protocol) for protocol in _protocols(group)]
    experiments = ", ".join(f"`results/{name}/`" for name in summary["experiment"].unique())
    parts.append(f"By experiment, with verdicts and figures: {experiments}. Logs: `results/logs/`.")
    return "\n\n".join(parts) + "\n"


def _what_was_run(definition: Definition) -> str:
    seeds = ", ".join(map(str, definition["seeds"]))
    return (
        f"Model {definition['model']} trained on {definition['dataset']} (preset {definition['training']}) "
        f"at {definition['train_length']} tokens; {len(definition['spectra'])} spectra, seeds {seeds}, "
        f"baseline {definition['baseline']}."
    )


def _protocols(summary: pd.DataFrame) -> list[str]:
    return [protocol for protocol in _PROTOCOLS if protocol in set(summary["protocol"])]


def _protocol_section(summary: pd.DataFrame, protocol: str) -> str:
    rows = summary[summary["protocol"] == protocol]
    longest = rows["length"].max()
    title = f"Perplexity, mean ± std over seeds, ranked at {longest} tokens ({_PROTOCOLS[protocol]}):"
    split = "In length and beyond: the mean over positions below the training length, and over those from it on."
    split_shown = rows["ppl_beyond_length"].notna().any()
    return "\n\n".join([title, leaderboard(rows), *([split] if split_shown else [])])


def leaderboard(rows: pd.DataFrame) -> str:
    """Spectra ranked by mean PPL at the longest length, a column per length, that longest split at the training length."""
    lengths = sorted(rows["length"].unique())
    keys = ["experiment", "spectrum", "remap"]
    cells = rows.assign(cell=[_mean_std(row.ppl_mean, row.ppl_std) for row in rows.itertuples()])
    wide = cells.pivot(index=keys, columns="length", values="cell")
    last = rows[rows["length"] == lengths[-1]].sort_values("ppl_mean", kind="stable")
    table = [
        [str(rank), row.experiment, _label(row), str(row.n_seeds), *wide.loc[(row.experiment, row.spectrum, row.remap), lengths]]
        for rank, row in enumerate(last.itertuples(), start=1)
    ]
    header = ["rank", "experiment", "spectrum", "seeds", *map(str, lengths)]
    if last["ppl_beyond_length"].notna().any():
        header += [f"{lengths[-1]}, in length", f"{lengths[-1]}, beyond"]
        parts = last[["ppl_in_length", "ppl_beyond_length"]].to_numpy()
        table = [cells + [_mean_std(value, float("nan")) for value in pair] for cells, pair in zip(table, parts, strict=True)]
    return _table(header, table)


def _label(row: Any) -> str:
    return row.spectrum if row.remap == "none" else f"{row.spectrum} + {row.remap}"


def _mean_std(mean: float, std: float) -> str:
    return f"{mean:.3f}" if pd.isna(std) else f"{mean:.3f} ± {std:.3f}"


def _verdicts(definition: Definition, summary: pd.DataFrame) -> str:
    """The contrasts at the longest length, as a table and in words."""
    protocol = _protocols(summary)[0]
    longest = summary["length"].max()
    rows = summary[(summary["protocol"] == protocol) & (summary["length"] == longest) & (summary["verdict"] != "baseline")]
    if rows.empty:
        return ""
    header = ["spectrum", "PPL ratio", "95 % interval", "p", "p (Holm)", "wins", "verdict"]
    table = [
        [
            _label(row),
            _number(row.ppl_ratio),
            _interval(row),
            _number(row.p_sign_flip),
            _number(row.p_holm),
            _text(row.wins),
            row.verdict,
        ]
        for row in rows.itertuples()
    ]
    words = [
        f"- {_label(row)} {_VERDICTS[row.verdict].format(baseline=definition['baseline'])}{_unpaired(row)}."
        for row in rows.itertuples()
    ]
    title = f"## Against {definition['baseline']} at {longest} tokens, paired by seed (protocol `{protocol}`)"
    return "\n\n".join([title, _table(header, table), "\n".join(words)])


def _interval(row: Any) -> str:
    return "" if pd.isna(row.ppl_ratio_ci95_low) else f"{row.ppl_ratio_ci95_low:.3f} to {row.ppl_ratio_ci95_high:.3f}"


def _unpaired(row: Any) -> str:
    return "" if pd.isna(row.unpaired_seeds) else f" (seeds without a partner: {row.unpaired_seeds})"


def _limits(definition: Definition, summary: pd.DataFrame) -> str:
    """What the numbers cannot show."""
    seeds = int(summary["n_seeds"].max())
    points = [
        "These perplexities measure what unseen positions do to a model on this text. They do not show use of context.",
        f"A verdict rests on {len(definition['contrasts'])} declared contrasts and one equivalence margin of "
        f"{100 * definition['equivalence_margin']:g} % PPL, fixed in the config before the run.",
        "The noise floor, how far repeats of one seed differ, is not measured here: the spread is that of seeds on one machine. "
        "With `deterministic: true` a run repeats to the bit on that machine; another machine or build gives other numbers.",
    ]
    if seeds == 1:
        points.append("One seed has no spread: no interval, no p and no verdict can come from it.")
    elif statistics.smallest_p(seeds) >= statistics.ALPHA:
        smallest = statistics.smallest_p(seeds)
        points.append(
            f"The smallest p that {seeds} seeds can reach is {smallest:g}: with so few, no difference can be significant."
        )
    return "## What this cannot show\n\n" + "\n".join(f"- {point}" for point in points)


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3g}"


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose columns line up as plain text too."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
