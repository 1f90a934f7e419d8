"""The two laws of the package, and the habits that its text keeps; CONTRIBUTING.md says why."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from support.checkout import PACKAGE, ROOT

HOME = PACKAGE / "rope_spectra"
# A folder imports only folders before it. Commands lie next to the folders; nobody imports them.
ORDER = (
    "runtime",
    "rope",
    "artifacts",
    "data",
    "model",
    "config",
    "training",
    "evaluation",
    "analysis",
    "search",
    "report",
    "planning",
    "monitor",
    "api",
)
MODULES = sorted(HOME.rglob("*.py"))
# Pages that the steps write, not documents of the repository.
WRITTEN = {"summary.md", "README.md"}
HEAVY = {"torch", "transformers", "datasets", "pandas", "numpy", "scipy", "matplotlib"}


def name_of(path: Path) -> str:
    """`rope_spectra.data.cache` for that module's file; an __init__.py has its folder's name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


NAMES = {name_of(path): path for path in MODULES}


def imports(path: Path) -> Iterator[str]:
    """Every module of the package that a file imports, at its top or inside a function."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            # Both `from folder import module` and `from module import name` import a module.
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in NAMES else str(node.module) for name in full]
        else:
            continue
        yield from (name for name in found if name in NAMES)


def folder_of(name: str) -> str | None:
    """The folder of a module, or the command it is; None for the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def test_the_order_names_every_folder_and_contributing_shows_it() -> None:
    assert sorted(ORDER) == sorted(
        path.name for path in HOME.iterdir() if (path / "__init__.py").exists()
    )
    shown = re.findall(r"^  ([a-z]+)/ ", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert tuple(shown) == ORDER


def test_nobody_imports_a_command() -> None:
    commands = {name_of(path) for path in HOME.glob("*.py")} - {"rope_spectra"}
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in MODULES
        for name in imports(path)
        if name in commands
    ]
    assert wrong == []


def test_a_folder_imports_only_folders_before_it() -> None:
    floor = {folder: number for number, folder in enumerate(ORDER)}
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in MODULES
        if path.parent != HOME
        for name in imports(path)
        if folder_of(name) is not None
        and floor.get(folder_of(name), len(ORDER)) > floor[path.parent.name]
    ]
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        name: {other for other in imports(path) if other != name} for name, path in NAMES.items()
    }
    TopologicalSorter(graph).prepare()


def test_a_folder_says_what_it_is_for_and_holds_no_code_of_its_own() -> None:
    for folder in ORDER:
        body = tree(HOME / folder / "__init__.py").body
        assert [type(node) for node in body] == [ast.Expr], folder
        assert ast.get_docstring(tree(HOME / folder / "__init__.py")), folder


def test_what_the_snakefile_imports_is_light() -> None:
    text = "\n".join(
        path.read_text() for path in [ROOT / "Snakefile", *(PACKAGE / "rules").glob("*.smk")]
    )
    lines = re.findall(
        r"^(?:from rope_spectra|import rope_spectra)\b.*(?:\([^)]*\))?", text, re.MULTILINE
    )
    assert lines
    program = "\n".join(
        [*lines, "import json, sys", f"print(json.dumps(sorted({HEAVY!r} & sys.modules.keys())))"]
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_settings_and_records_have_types() -> None:
    found = {name: path.read_text().count("dict[str, Any]") for name, path in NAMES.items()}
    assert sum(found.values()) <= 25, {name: count for name, count in found.items() if count}


def docstrings() -> Iterator[tuple[str, str]]:
    """Every docstring of the package, with the name of what it describes."""
    described = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for module, path in NAMES.items():
        for node in ast.walk(tree(path)):
            text = ast.get_docstring(node) if isinstance(node, described) else None
            if text is not None:
                yield f"{module}:{getattr(node, 'name', '')}", text


def test_docstrings_open_with_a_noun_or_a_verb() -> None:
    questions = re.compile(r"(What|How|Whether|Where|Which)\b")
    wrong = [f"{name}: {text:.70}" for name, text in docstrings() if questions.match(text)]
    assert wrong == []


def test_docstrings_cite_documents_of_the_repository() -> None:
    wrong = [
        f"{name} cites {document}"
        for name, text in docstrings()
        for document in re.findall(r"[\w./-]+\.md\b(?!\.j2)", text)
        if not (document.startswith("results/") or document in WRITTEN)
        if not (ROOT / document).is_file()
    ]
    assert wrong == []
