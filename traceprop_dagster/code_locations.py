"""Find Dagster definitions where `dagster` finds them, and load them in this process."""

import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
from dagster.components.definitions import LazyDefinitions

from traceprop_dagster.errors import CodeLocationError
from traceprop_engine.errors.foreign import Attempt, told

_WORKSPACE = "workspace.yaml"
_PROJECT = "pyproject.toml"
_DEFAULT = "definitions.py"
_NAMED_BY = {
    "python_file": "relative_path",
    "python_module": "module_name",
    "python_package": "package_name",
}


@dataclass(frozen=True)
class _Location:
    """A file or a module with definitions, and where it expects to be imported."""

    directory: Path
    file: Path | None = None
    module: str = ""

    def __str__(self) -> str:
        return str(self.file or self.module)

    def load(self) -> ModuleType:
        here = str(self.directory)
        if here not in sys.path:
            sys.path.insert(0, here)
        return importlib.import_module(self.module) if self.file is None else _imported(self.file)


def load_definitions(file: Path | None, module: str | None) -> dg.Definitions:
    """Return the definitions of a file or a module, else those that the working directory names.

    That is the first code location of ``workspace.yaml``, the module that ``[tool.dagster]`` in
    ``pyproject.toml`` names, or ``definitions.py``.

    Raises:
        CodeLocationError: There is none, or it cannot be loaded.
    """
    here = Path.cwd()
    if file is not None:
        location = _Location(here, file)
    elif module is not None:
        location = _Location(here, module=module)
    else:
        location = _from_workspace(here) or _from_project(here) or _default(here)
    with Attempt() as attempt:
        definitions = _definitions(location.load())
        # Dagster looks into definitions when it needs to; what is wrong with them shows here.
        dg.Definitions.validate_loadable(definitions)
        return definitions
    assert attempt.error is not None  # noqa: S101 (nothing else leaves the block)
    raise CodeLocationError(str(location), told(attempt.error)) from attempt.error


def _imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ImportError(f"{file} is no Python file")
    made = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = made
    spec.loader.exec_module(made)
    return made


def _definitions(module: ModuleType) -> dg.Definitions:
    """Return the one object with definitions, made now if it is a function; else all assets."""
    members = vars(module).items()
    for kind in (LazyDefinitions, dg.Definitions):
        found = {name: each for name, each in members if isinstance(each, kind)}
        if len(found) > 1:
            raise ValueError(f"it has more than one object with definitions: {', '.join(found)}")
        for each in found.values():
            return each() if isinstance(each, LazyDefinitions) else each
    return dg.Definitions(assets=dg.load_assets_from_modules([module]))


def _from_workspace(where: Path) -> _Location | None:
    path = where / _WORKSPACE
    if not path.is_file():
        return None
    config: object = None
    with Attempt() as attempt:  # Dagster's own errors here have no public class in common
        config = dg.config_from_files([str(path)])
    if attempt.error is not None:
        raise CodeLocationError(str(path), "it is no YAML of a workspace") from attempt.error
    for kind, value in _targets(config):
        facts = _table(value)
        named = facts.get(_NAMED_BY[kind]) if facts else value
        if isinstance(named, str):
            directory = where / str(facts.get("working_directory", ""))
            if kind == "python_file":
                return _Location(directory, where / named)
            return _Location(directory, module=named)
    raise CodeLocationError(str(path), "it names neither a Python file nor a module")


def _targets(config: object) -> Iterator[tuple[str, object]]:
    listed = _table(config).get("load_from")
    for each in listed if isinstance(listed, list) else []:
        yield from ((kind, value) for kind, value in _table(each).items() if kind in _NAMED_BY)


def _from_project(where: Path) -> _Location | None:
    path = where / _PROJECT
    if not path.is_file():
        return None
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CodeLocationError(str(path), f"it is no TOML ({error})") from error
    module = _table(_table(project.get("tool")).get("dagster")).get("module_name")
    return None if module is None else _Location(where, module=str(module))


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _default(where: Path) -> _Location:
    path = where / _DEFAULT
    if path.is_file():
        return _Location(where, path)
    raise CodeLocationError(str(where), f"there is no {_WORKSPACE} and no {_DEFAULT}")
