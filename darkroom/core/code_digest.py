"""The code of each stage as data of the pipeline: what `data/code/<stage>` holds, written by scan.

DVC re-runs a stage when this file changes, so that dvc.yaml lists no path of the library. It holds
a digest of each module that the stage's script imports, directly or not, and the versions of the
libraries among them that decide bytes; a diff so says why a stage runs.

- Comments, docstrings and layout are no part of a module's digest, nor is the version of Python:
  the syntax tree is written out in a form that is equal on Python 3.11 to 3.13.
- Imports inside functions count. Those for type checking do not, nor those in an `except` block
  that ends in `raise`: what words a refusal decides no byte.
- A data file (a network, a template) belongs to the module that names it in a string, relative to
  the module's own folder or to that of its package; a folder of data files likewise.
"""

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.files import write_text

TARGET = Path("data/code")
STAGES = Path("stages")
LIBRARY = Path(__file__).parents[1]
# These fetch, check or show, and decide no byte of an artifact.
WITHOUT_BYTES = {"aiohttp", "fsspec", "pydantic", "rich", "ruamel", "tqdm", "yarl"}
LONGEST_NAME = 100  # of a data file, in a string
_DATA_NAME = re.compile(r"\w[\w-]*([/.]\w[\w.-]*)*")


class Module(NamedTuple):
    """What one module adds to a stage: its digest, and the names that it imports."""

    digest: str
    imports: frozenset[str]


def write_stage_code(root: Path) -> list[str]:
    """Bring `data/code` up to date with the scripts in `stages/`; return what has changed.

    scan itself has no file: it always runs.
    """
    names = {path.stem for path in (root / STAGES).glob("*.py")} - {"__init__", "scan"}
    code, changed = StageCode(root), []
    for name in sorted(names):
        target = root / TARGET / name
        content = json.dumps(code.describe(f"{STAGES}.{name}"), indent=2) + "\n"
        if not target.exists() or target.read_text() != content:
            write_text(target, content)
            changed.append(name)
    return changed


class StageCode:
    """The modules below a project's root and in the library; each file is read once."""

    def __init__(self, root: Path) -> None:
        """Look for modules in the project at `root`, then in the installed library."""
        self._root = root
        self._modules: dict[Path, Module] = {}
        self._distributions = packages_distributions()

    def describe(self, script: str) -> dict[str, Any]:
        """Return digest, modules and libraries of a script such as `stages.clean`, as for JSON."""
        modules, libraries, waiting = dict[str, str](), set[str](), {script}
        while waiting:
            name = waiting.pop()
            path = self._find(name)
            if path is None:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and not self._is_local(top):
                    libraries.add(top)
            elif name not in modules:
                module = self._read(name, path)
                modules[name] = module.digest
                waiting |= module.imports
        content = {
            "libraries": self._versions(libraries - WITHOUT_BYTES),
            "modules": dict(sorted(modules.items())),
        }
        text = json.dumps(content, sort_keys=True)
        return {"digest": hashlib.sha256(text.encode()).hexdigest()} | content

    def _find(self, name: str) -> Path | None:
        """Return the file of a module of the project or the library, None for anything else."""
        top, _, rest = name.partition(".")
        home = LIBRARY if top == LIBRARY.name else self._root / top
        path = home.joinpath(*rest.split(".")) if rest else home
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
        return None

    def _is_local(self, top: str) -> bool:
        return top == LIBRARY.name or (self._root / top).is_dir()

    def _read(self, name: str, path: Path) -> Module:
        if path not in self._modules:
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            source = _Source(_parse(path))
            digest = hashlib.sha256("".join(source.words).encode("utf-8", "surrogatepass"))
            for file in sorted(_data_files(source.texts, path)):
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
            imports = frozenset(_names(source.imports, package))
            self._modules[path] = Module(digest.hexdigest()[:16], imports)
        return self._modules[path]

    def _versions(self, names: set[str]) -> dict[str, str]:
        found = {one for name in names for one in self._distributions.get(name, [])}
        return {name.lower().replace("_", "-"): version(name) for name in sorted(found)}


def _parse(path: Path) -> ast.AST:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:  # ValueError: a byte of zero
        line = getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else str(path)
        raise UserError(f"{where}: not valid Python: {error}; correct that file") from error


class _Source:
    """One pass over a syntax tree: its canonical form, what it imports, and its short strings.

    The form has no places, comments, docstrings or layout, and leaves out what is absent or empty,
    so that fields which later Pythons add change nothing.
    """

    def __init__(self, tree: ast.AST) -> None:
        self.words: list[str] = []
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.texts: set[str] = set()
        self._visit(tree, runs=True)

    def _visit(self, node: ast.AST, runs: bool) -> None:
        """Write one node; `runs` is false where an import does not count."""
        self.words.append(type(node).__name__)
        if isinstance(node, ast.Constant):
            self.words.append(f"({node.value!r})")
            if isinstance(node.value, str) and len(node.value) < LONGEST_NAME:
                self.texts.add(node.value)
            return
        if runs and isinstance(node, ast.Import | ast.ImportFrom):
            self.imports.append(node)
        words_a_refusal = isinstance(node, ast.ExceptHandler) and isinstance(
            node.body[-1], ast.Raise
        )
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == []:
                continue
            within = runs and not words_a_refusal and not (name == "body" and _is_for_types(node))
            self.words.append(f" {name}=")
            for item in value if isinstance(value, list) else [value]:
                if _is_docstring(item):
                    continue
                if isinstance(item, ast.AST):
                    self._visit(item, within)
                else:
                    self.words.append(repr(item))
                self.words.append(",")
            self.words.append(";")


def _is_docstring(node: Any) -> bool:
    """Return whether a statement is nothing but a string."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _names(imports: list[ast.Import | ast.ImportFrom], package: str) -> Iterator[str]:
    """Yield every name that may be a module which is imported, packages on the way included."""
    for node in imports:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_packages(alias.name)
        else:
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from _with_packages(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _with_packages(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _data_files(texts: set[str], path: Path) -> set[Path]:
    """Return the files, no Python, that strings of the module at `path` name."""
    found = set[Path]()
    for text in texts:
        if not _DATA_NAME.fullmatch(text):
            continue
        found |= {
            file
            for file in (path.parent / text, LIBRARY / text)
            if file.suffix not in {"", ".py"} and file.is_file()
        }
        folder = path.parent / text
        if folder.is_dir() and not (folder / "__init__.py").exists():
            found |= {file for file in folder.iterdir() if file.is_file() and file.suffix != ".pyc"}
    return found
