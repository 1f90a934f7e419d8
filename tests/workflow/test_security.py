"""Hostile names, file names and configurations at every entry point; code that runs no data."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rope_spectra.artifacts import layout
from rope_spectra.config import frozen
from rope_spectra.config import schema as config_schema
from rope_spectra.config.design import Design
from rope_spectra.config.load import load
from rope_spectra.runtime import names
from rope_spectra.runtime.errors import UserError
from support import small_experiment as small
from support.checkout import PACKAGE, ROOT, snakemake

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "a/../b",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "-rf",
    "--help",
    ".hidden",
    "_x",
    "a..b",
    "a b",
    "a\n",
    "a\nb",
    "a\r",
    "a\tb",
    "a\0b",
    "a\x1b[31m",
    "a\x7f",
    "é",
    "a\u2215b",  # division slash
    "a\u2024\u2024b",  # one dot leaders
    "a\u202eb",  # right to left
    "a\u200b",  # zero width
    "\uff41",  # full width a
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned",
    "a|b",
    "a>b",
    "a*",
    "a{b}",
    "~root",
    "a'b",
    'a"b',
    "x" * 101,
]
DESIGN = frozen.design(load(small.EXPERIMENT), "small").content()
SECTIONS = ("experiments", "datasets", "models", "training", "evaluation", "spectra")


# --- names ----------------------------------------------------------------------------------------


def test_the_schema_and_the_steps_check_the_same_pattern() -> None:
    made = config_schema.json_schema()
    for section in SECTIONS:
        assert list(made["properties"][section]["patternProperties"]) == [names.PATTERN]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_refused_wherever_a_name_can_come_in(name: str) -> None:
    with pytest.raises(UserError, match="cannot be a name") as caught:
        names.check(name, "here")
    assert "\n" not in str(caught.value)
    for part in ("experiment", "spectrum", "seed"):
        with pytest.raises(UserError, match=f"{part}: .* cannot be a name"):
            layout.fill(
                layout.RUN, **({"experiment": "a", "spectrum": "b", "seed": "1"} | {part: name})
            )
    for section in SECTIONS:
        changed = json.loads(json.dumps(small.EXPERIMENT))
        changed[section][name] = next(iter(changed[section].values()))
        with pytest.raises(UserError, match=f"^{section}: .* cannot be a name") as caught:
            load(changed)
        assert "\n" not in str(caught.value)
    for key in ("experiment", "dataset", "model", "training"):
        with pytest.raises(ValidationError, match=rf"Design\n{key}\n"):
            Design.model_validate(DESIGN | {key: name})
    spectrum = DESIGN["spectra"][0] | {"name": name}
    with pytest.raises(ValidationError, match=r"\nspectra\.0\.name\n"):
        Design.model_validate(DESIGN | {"spectra": [spectrum]})


@given(st.text())
def test_a_name_that_passes_is_one_part_of_a_path(name: str) -> None:
    try:
        names.check(name, "here")
    except UserError:
        return
    assert Path("results", name).parent == Path("results")
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)


@pytest.mark.parametrize(
    "name", ["geo_500k", "anchpoly_p3.9_omf0.3_t500k", "350m_final", "a", "x" * 100]
)
def test_ordinary_names_pass(name: str) -> None:
    assert names.check(name, "here") == name


@pytest.mark.parametrize("seeds", [["1"], [-1], [1.5], [None], ["../1"], {"1": 2}, "1"], ids=str)
def test_seeds_of_a_design_are_whole_numbers(seeds: Any) -> None:
    with pytest.raises(ValidationError, match=r"Design\nseeds"):
        Design.model_validate(DESIGN | {"seeds": seeds})


@pytest.mark.parametrize("module", ["aggregate", "figures", "noise_floor", "page", "interactive"])
@pytest.mark.parametrize(
    "name", ["../../x", "/tmp/x", "-x", "a\nb"], ids=["up", "absolute", "dash", "newline"]
)
def test_steps_by_hand_refuse_a_hostile_name_in_their_design(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {
        "aggregate": ["--runs", "r.csv", "--csv", "s.csv"],
        "figures": ["--output", "figures"],
        "noise_floor": ["--csv", "n.csv"],
        "page": ["--summary", "s.csv", "--output", "s.md"],
        "interactive": ["--runs", "r.csv", "--summary", "s.csv", "--output", "i.html"],
    }[module]
    spectrum = DESIGN["spectra"][0] | {"name": name}
    for key, value in (("experiment", name), ("spectra", [spectrum])):
        path = small.freeze(tmp_path / "design.json", DESIGN | {key: value})
        status, lines = small.step(module, "--definition", path, *options)
        assert status == 1
        assert len(lines) == 1
        assert re.match(rf"error: {path}: {key}.*; delete it", lines[0])
    assert [file.name for file in tmp_path.iterdir()] == ["design.json"]


@pytest.mark.parametrize("experiment", ["../350m_final", "/etc", "-x", "350m_final\n"])
def test_published_takes_known_experiments_only(tmp_path: Path, experiment: str) -> None:
    arguments = [
        "--runs",
        tmp_path / "r.csv",
        "--csv",
        tmp_path / "p.csv",
        "--figure",
        tmp_path / "p.svg",
    ]
    status, lines = small.step("published", f"--experiment={experiment}", *arguments)
    assert status == 1
    assert "has no published counterpart" in lines[-1]


TARGETS = [
    "results/../../x",
    "results/demo/../../../x/seed1/config.json",
    "results/demo/geo_500k/seed../config.json",
    "results/demo/geo_500k/seed-1/config.json",
    "results/demo/geo_500k/seed99999999999999999999/config.json",
    "results/demo/geo_500k/seed1 $(touch pwned)/config.json",
    "results/demo/geo_500k;touch pwned/seed1/config.json",
    "/tmp/rope-spectra-pwned/seed1/config.json",
]


@pytest.mark.slow
def test_targets_on_the_command_line_cannot_leave_the_known_names(fresh: Path) -> None:
    """No rule makes them and no shell sees them; a good target still works."""
    before = {path for path in fresh.rglob("*") if ".snakemake" not in path.parts}
    for target in TARGETS:
        done = snakemake(fresh, "-n", "--", target, ok=False)
        assert done.returncode == 1, target
        said = done.stdout + done.stderr  # a dry run says it on standard output
        assert "MissingRuleException" in said, target
        assert "Traceback" not in said
    mistyped = {
        "results/nosuch/options.json": "unknown experiment 'nosuch'",
        "results/data/../x/train.config.json": "unknown experiment 'x'",
        "results/demo/geo_50k/seed1/eval.csv": "unknown spectrum 'geo_50k'",
    }
    for target, mistake in mistyped.items():
        done = snakemake(fresh, "-n", target, ok=False)
        assert done.returncode == 1
        assert mistake in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stdout + done.stderr
    assert {path for path in fresh.rglob("*") if ".snakemake" not in path.parts} == before
    assert snakemake(fresh, "-n", "results/demo/geo_500k/seed1/config.json").returncode == 0


# --- the user's file names ------------------------------------------------------------------------


FILES = [
    "-n $(touch pwned1) `touch pwned2` 'q\" ;touch pwned3.bin",
    "two\nlines; touch pwned4 # &.bin",
]


def test_file_names_of_the_user_are_never_read_by_the_shell(fresh: Path) -> None:
    """Raw tokens under such names go through Snakemake's own shell line to the cache."""
    for name, count in zip(FILES, (5000, 700), strict=True):
        (np.arange(count) ** 2 % 97).astype("<u2").tofile(fresh / name)
    raw = {"source": "tokens", "train": FILES[0], "validation": FILES[1], "vocab_size": 128}
    (fresh / "hostile.yaml").write_text(yaml.safe_dump({"datasets": {"hostile": raw}}))
    try:
        targets = [f"results/data/hostile/{split}.npy" for split in ("train", "validation")]
        snakemake(fresh, *targets, "--configfile", "hostile.yaml")
        assert [len(np.load(fresh / target, mmap_mode="r")) for target in targets] == [5000, 700]
        assert not list(fresh.rglob("*pwned[0-9]"))
    finally:
        for name in (*FILES, "hostile.yaml"):
            (fresh / name).unlink()


def test_braces_in_a_file_name_are_refused_because_snakemake_would_read_them(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = json.loads(json.dumps(small.EXPERIMENT))
    for name in ("train {split}.bin", "validation.bin"):
        np.zeros(400, "<u2").tofile(tmp_path / name)
    raw = {
        "source": "tokens",
        "train": "train {split}.bin",
        "validation": "validation.bin",
        "vocab_size": 128,
    }
    changed["datasets"]["toy"] = raw
    with pytest.raises(
        UserError, match=r"^datasets.toy.train: 'train \{split\}.bin' has a brace in its name"
    ):
        load(changed)


# --- malformed configurations through Snakemake ---------------------------------------------------

MALFORMED = {
    "unknown-key": (
        "training: {tiny: {learning_rte: 1.0}}",
        "training.tiny: unknown key 'learning_rte'",
    ),
    "text-for-a-number": (
        "training: {tiny: {learning_rate: 6e-4}}",
        "training.tiny.learning_rate: '6e-4' is text, not a number",
    ),
    "unknown-spectrum": (
        "experiments: {demo: {spectra: [geo_500]}}",
        "experiments.demo.spectra: unknown spectrum 'geo_500'",
    ),
    "hostile-name": (
        "spectra: {../x: {family: geometric, theta: 7}}",
        "spectra: '../x' cannot be a name",
    ),
    "a-list-at-the-top": ("models: []", "models: a list is given, not a mapping of keys to values"),
    "object-tag": (
        "run: !!python/object/apply:os.system ['touch pwned9']",
        "config.yaml:1: the tag 'tag:yaml.org,2002:python/",
    ),
    "template": (
        "__use_yte__: true\nrun: [demo]",
        "config.yaml:1: __use_yte__ would let this file run code; remove it",
    ),
    "bomb": (
        "a: &a {x: 1}\n"
        + "".join(
            f"{name}: &{name} {{{', '.join(f'k{i}: *{before}' for i in range(9))}}}\n"
            for before, name in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "config.yaml:7: stands for more than 1,000,000 values; use fewer aliases",
    ),
    "key-twice": ("run: [demo]\nrun: [demo]", "bad.yaml:2: run is given twice"),
    "not-utf8": (b"run: [d\xe9mo]", "config.yaml: not UTF-8 at byte 7"),
}
# Snakemake itself refuses a --configfile that it cannot parse, so these are tried as config.yaml.
AS_MAIN = ("object-tag", "template", "bomb", "not-utf8")


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_configuration_is_one_line_from_snakemake_too(fresh: Path, name: str) -> None:
    text, expected = MALFORMED[name]
    file = fresh / ("config.yaml" if name in AS_MAIN else "bad.yaml")
    whole = file.read_bytes() if file.exists() else None
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = {path for path in fresh.rglob("*") if ".snakemake" not in path.parts}
    try:
        done = snakemake(
            fresh, "-n", *([] if name in AS_MAIN else ["--configfile", "bad.yaml"]), ok=False
        )
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert len([line for line in done.stderr.splitlines() if expected in line]) == 1, (
            done.stderr
        )
        assert {path for path in fresh.rglob("*") if ".snakemake" not in path.parts} == before
    finally:
        file.write_bytes(whole) if whole is not None else file.unlink()


# --- the code -------------------------------------------------------------------------------------


def python_files() -> list[Path]:
    return [
        path
        for folder in (PACKAGE, ROOT / "benchmarks", ROOT / "scripts")
        for path in sorted(folder.rglob("*.py"))
    ]


def calls(tree: ast.AST) -> Iterator[tuple[str, dict[str, Any]]]:
    """(dotted name, constant keyword arguments) of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = {
                word.arg: getattr(word.value, "value", word.value)
                for word in node.keywords
                if word.arg
            }
            yield ast.unparse(node.func), given


def violations(source: str) -> list[str]:
    """The forbidden calls and imports: running what is read, unpickling, a shell."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [
            f"import {name}"
            for name in modules
            if name.split(".")[0] in ("pickle", "dill", "cloudpickle", "marshal", "shelve")
        ]
    for name, arguments in calls(tree):
        last = name.split(".")[-1]
        if name in (
            "eval",
            "exec",
            "compile",
            "os.system",
            "os.popen",
            "yaml.unsafe_load",
            "yaml.full_load",
        ):
            found.append(name)
        if name == "torch.load" and arguments.get("weights_only") is not True:
            found.append("torch.load without weights_only=True")
        if name in ("np.load", "numpy.load") and arguments.get("allow_pickle") is not False:
            found.append("np.load without allow_pickle=False")
        loader = arguments.get("Loader")
        if name == "yaml.load" and not (
            # BaseLoader makes nothing but text, lists and mappings.
            isinstance(loader, ast.AST) and re.search(r"Safe|\bBaseLoader$", ast.unparse(loader))
        ):
            found.append("yaml.load without a safe loader")
        if arguments.get("shell") is True or arguments.get("trust_remote_code") not in (
            None,
            False,
        ):
            found.append(f"{last} with a shell or remote code")
    return found


def test_nothing_runs_what_it_reads() -> None:
    found = {
        str(path.relative_to(ROOT)): violations(path.read_text(encoding="utf-8"))
        for path in python_files()
    }
    assert len(found) > 30
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "exec(text)",
        "import os; os.system('ls')",
        "import torch; torch.load(path)",
        "import torch; torch.load(path, weights_only=False)",
        "import numpy as np; np.load(path)",
        "import numpy as np; np.load(path, allow_pickle=True)",
        "import yaml; yaml.load(text, Loader=yaml.Loader)",
        "import yaml; yaml.unsafe_load(text)",
        "import subprocess; subprocess.run(text, shell=True)",
        "from transformers import AutoModel as M; M.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_search_for_it_finds_it(source: str) -> None:
    assert violations(source)


def test_what_a_rule_puts_into_its_shell_line_is_safe_or_quoted() -> None:
    """Settings and the user's own paths are quoted; all else are known names and our own paths."""
    free_text = {"params.text", "input.shards"}
    for path in sorted((PACKAGE / "rules").glob("*.smk")):
        shells = re.findall(
            r"^    shell:\n((?:        \".*\"\n)+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        for shell in shells:
            used = re.findall(r"\{([a-z_.]+)(:q)?\}", shell)
            assert used
            assert not [name for name, quoted in used if name in free_text and not quoted], (
                path.name
            )


def test_a_pickle_in_place_of_an_array_is_refused(tmp_path: Path) -> None:
    from rope_spectra import evaluate

    sizes = tmp_path / "sizes.npy"
    contents: list[Any] = [np.array([{"run": "me"}], dtype=object), np.ones(2), np.ones((3, 1))]
    for content in contents:
        np.save(sizes, content)
        with pytest.raises(UserError, match="not the sizes of 3 tokens"):
            evaluate.read_token_bytes(sizes, vocab_size=3)
    for text in ("", "sizes"):
        sizes.write_text(text)
        with pytest.raises(UserError, match="not the sizes of 3 tokens"):
            evaluate.read_token_bytes(sizes, vocab_size=3)


def test_weights_are_kept_in_safetensors_only() -> None:
    """torch.save writes only the state of an unfinished training, read with weights_only."""
    using = [
        path.name
        for path in (PACKAGE / "rope_spectra").rglob("*.py")
        if "torch.save(" in path.read_text(encoding="utf-8")
    ]
    assert using == ["checkpoint.py"]
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True
    ).stdout.splitlines()
    assert not [
        name
        for name in tracked
        if name.endswith((".pt", ".pth", ".bin", ".pkl", ".safetensors", ".npy"))
    ]
