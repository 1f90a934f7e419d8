"""The command freeze for settings of any length (rule experiment_config)."""

from pathlib import Path

from rope_spectra.artifacts import files

job = snakemake  # noqa: F821 - Snakemake puts it before the script
files.write_text(Path(job.output[0]), f"{job.params.text}\n")
