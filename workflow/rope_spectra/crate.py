"""Describe the files of a finished experiment as an RO-Crate (rule crate).

    python -m rope_spectra.crate --experiment results/demo \\
        --output results/demo/ro-crate-metadata.json

Needs the package rocrate. The folder is then a crate: archives and search engines read from its
ro-crate-metadata.json what each file is, and which training made it with which code. Weights and
exports are left out, as they are when results are published.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rope_spectra.artifacts import files, layout, seal
from rope_spectra.config.design import Design
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import CONFIG, read_run

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

FORMATS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".npz": "application/zip",
    ".svg": "image/svg+xml",
}
SUMMARY = Path(layout.EXPERIMENT_SUMMARY_MD).name
LICENSE = "Not stated; ask the authors before you use these results."


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser, experiment="folder of the experiment", output="where to write the metadata"
    )
    parser.add_argument(
        "--license", default=LICENSE, metavar="URL", help="license of the results, as they say it"
    )
    args = cli.parse(parser)

    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise UserError(
            "rocrate: not installed, and it writes the crate;"
            " pip install -c envs/constraints.txt -r envs/requirements-crate.txt"
        ) from None
    folder = args.experiment
    design = seal.load_settings(folder / Path(layout.EXPERIMENT).name, Design)
    if not (folder / SUMMARY).exists():
        raise UserError(f"{folder / SUMMARY}: is not there; run snakemake for the experiment first")
    crate = ROCrate(version="1.2")
    crate.name = f"Experiment {design.experiment} of rope-spectra"
    crate.description = design.description or f"Results of the experiment {design.experiment}."
    crate.license = args.license
    entities = {
        path: crate.add_file(path, str(path.relative_to(folder)), properties=_properties(path))
        for path in _described(folder)
    }
    for spectrum, seed in design.runs:
        run = folder / spectrum / f"seed{seed}"
        _add_run(crate, run, {p.name: entity for p, entity in entities.items() if p.parent == run})
    crate.mainEntity = entities[folder / SUMMARY]
    files.write_json(args.output, crate.metadata.generate())


def _described(folder: Path) -> list[Path]:
    """The files of an experiment that its crate tells of, in the order of their names."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in FORMATS
        and path.name != Path(layout.CRATE).name
        and Path(layout.HF).name not in path.relative_to(folder).parts
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _properties(path: Path) -> dict[str, str]:
    return {
        "name": path.name,
        "encodingFormat": FORMATS[path.suffix],
        "contentSize": str(path.stat().st_size),
        "sha256": files.sha256(path),
    }


def _add_run(crate: "ROCrate", run: Path, entities: dict[str, "Entity"]) -> None:
    """Adds the training and evaluation of one run: its code, its settings, and what it left.

    entities: those of the files in the folder of the run, by name.
    """
    from rocrate.model.contextentity import ContextEntity

    record = read_run(run)
    commit = record.parts[-1].commit if record.parts else None
    code = {"@type": "SoftwareApplication", "name": "rope-spectra"}
    if commit:
        code["softwareVersion"] = commit
    action = crate.add_action(
        crate.add(ContextEntity(crate, f"#rope-spectra-{commit or 'unknown'}", code)),
        f"#{run.parent.name}-{run.name}",
        object=entities[CONFIG],
        result=[entity for name, entity in entities.items() if name != CONFIG],
        properties={"name": f"Training and evaluation of {run.parent.name}, {run.name}"},
    )
    if record.finished:
        action["endTime"] = record.finished


if __name__ == "__main__":
    cli.run(main)
