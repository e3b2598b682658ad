"""Find Dagster definitions where `dagster` finds them, and load them in this process."""

import importlib
import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg

from traceprop_dagster.errors import CodeLocationError

_WORKSPACE = "workspace.yaml"
_PROJECT = "pyproject.toml"
_DEFAULT = "definitions.py"
# What importing the module of somebody else may end in.
_LOAD_FAILURES = (
    ImportError,
    SyntaxError,
    AttributeError,
    NameError,
    TypeError,
    ValueError,
    LookupError,
    RuntimeError,
    OSError,
    dg.DagsterError,
)


def load_definitions(file: Path | None, module: str | None) -> dg.Definitions:
    """Return the definitions of a file or a module, else those that the working directory names.

    That is the first code location of ``workspace.yaml``, the module that ``[tool.dagster]`` in
    ``pyproject.toml`` names, or ``definitions.py``.

    Raises:
        CodeLocationError: There is none, or it cannot be loaded.
    """
    where = Path.cwd()
    if file is None and module is None:
        file, module = _from_workspace(where) or _from_project(where) or _default(where)
    if file is not None:
        return _definitions(_load(str(file), lambda: _module_of_file(file)))
    assert module is not None  # noqa: S101 (one of the two was found)
    return _definitions(_load(module, lambda: importlib.import_module(module)))


def _load(name: str, load: Any) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return load()
    except _LOAD_FAILURES as error:
        raise CodeLocationError(name, f"{type(error).__name__}: {error}") from error


def _module_of_file(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ImportError(f"{file} is no Python file")
    made = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = made
    spec.loader.exec_module(made)
    return made


def _definitions(module: ModuleType) -> dg.Definitions:
    found = [each for each in vars(module).values() if isinstance(each, dg.Definitions)]
    return found[0] if found else dg.Definitions(assets=dg.load_assets_from_modules([module]))


def _from_workspace(where: Path) -> tuple[Path | None, str | None] | None:
    path = where / _WORKSPACE
    if not path.is_file():
        return None
    targets = dg.config_from_files([str(path)]).get("load_from", [])
    for target in targets:
        for key, value in target.items():
            if key == "python_file":
                named = value if isinstance(value, str) else value["relative_path"]
                return where / named, None
            if key in {"python_module", "python_package"}:
                return None, value if isinstance(value, str) else value["module_name"]
    raise CodeLocationError(str(path), "it names neither a Python file nor a module")


def _from_project(where: Path) -> tuple[Path | None, str | None] | None:
    path = where / _PROJECT
    if not path.is_file():
        return None
    tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    module = tools.get("dagster", {}).get("module_name")
    return None if module is None else (None, str(module))


def _default(where: Path) -> tuple[Path | None, str | None]:
    path = where / _DEFAULT
    if path.is_file():
        return path, None
    raise CodeLocationError(str(where), f"there is no {_WORKSPACE} and no {_DEFAULT}")
