"""What a user installs, and what importing it loads."""

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = ("dagster", "torch", "jax", "sklearn", "pydantic")


def test_importing_any_module_of_the_engine_loads_no_framework():
    code = (
        "import pkgutil, sys, importlib, traceprop_engine as e\n"
        "for m in pkgutil.walk_packages(e.__path__, 'traceprop_engine.'):\n"
        "    if not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        f"print([n for n in {HEAVY!r} if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_the_wheel_holds_both_packages_their_types_pages_and_licence(tmp_path):
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"traceprop_engine/py.typed", "traceprop_dagster/py.typed"} <= names
    assert any(name.endswith(".jinja") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "traceprop_engine",
        "traceprop_dagster",
    }


def test_the_console_script_and_its_dagster_command_are_declared():
    scripts = {e.name: e.value for e in entry_points(group="console_scripts")}
    assert scripts["traceprop"] == "traceprop_engine.cli:main"
    commands = {e.name: e.load() for e in entry_points(group="traceprop.commands")}
    assert commands["demo"].name == "demo"


def test_nothing_in_pyproject_hides_the_workspace_from_dagster():
    assert not {"dagster", "dg"} & set(PROJECT["tool"])


def test_the_installed_version_is_the_declared_one():
    assert version("traceprop-dagster") == PROJECT["project"]["version"]


def test_users_get_no_upper_bound_on_torch_and_developers_do():
    extras = PROJECT["project"]["optional-dependencies"]
    assert not any("torch" in r and "<" in r for r in [*extras["torch"], *extras["all"]])
    assert "torch<2.14" in extras["dev"]
