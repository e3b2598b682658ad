"""Dagster definitions are found where they are named, and code that fails is named in one line."""

import sys

import dagster as dg
import pytest

from traceprop_dagster.code_locations import load_definitions
from traceprop_dagster.errors import CodeLocationError

ASSET = "import dagster as dg\n@dg.asset\ndef found(): ...\n"
EAGER = f"{ASSET}defs = dg.Definitions(assets=[found])\n"
LAZY = f"{ASSET}@dg.definitions\ndef defs(): return dg.Definitions([found], resources={{'r': 1}})\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory; nothing stays imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    before = {*sys.modules}
    yield tmp_path
    for name in {*sys.modules} - before:
        if name.startswith("code_of_test"):
            del sys.modules[name]


def names(definitions):
    return [each.key.to_user_string() for each in definitions.resolve_all_asset_specs()]


@pytest.mark.parametrize("code", [ASSET, EAGER, LAZY])
def test_assets_are_found_loose_in_an_object_and_in_a_function(here, code):
    (here / "code_of_test.py").write_text(code)
    for file, module in ((here / "code_of_test.py", None), (None, "code_of_test")):
        assert names(load_definitions(file, module)) == ["found"]


def test_definitions_made_by_a_function_bring_their_resources(here):
    (here / "code_of_test.py").write_text(LAZY)
    assert load_definitions(here / "code_of_test.py", None).resources == {"r": 1}


@pytest.mark.parametrize(
    ("code", "words"),
    {
        "def f(:": "SyntaxError: invalid syntax",
        "assert 1 == 2": "AssertionError;",
        "1 / 0": "ZeroDivisionError: division by zero;",
        "import sys; sys.exit('set A first')": "SystemExit: set A first;",
        "class Own(Exception): ...\nraise Own('one.\\ntwo')": "Own: one;",
        "import dagster as dg; dg.Definitions(assets=3)": "ParameterCheckError: Param",
        f"{EAGER}more = dg.Definitions()": "more than one object with definitions: defs, more;",
        EAGER.replace("[found]", "[found, dg.asset(name='found')(lambda: 1)]"): "Duplicate asset",
        EAGER.replace("asset\n", "asset(required_resource_keys={'gone'})\n"): "'gone' required",
        LAZY.replace("return dg", "return 1 or dg"): "must return a Definitions",
    }.items(),
)
def test_definitions_that_fail_are_told_in_one_line(here, code, words):
    (here / "code_of_test.py").write_text(code)
    with pytest.raises(CodeLocationError, match=words) as caught:
        load_definitions(here / "code_of_test.py", None)
    assert "\n" not in str(caught.value)
    assert "name a file with -f" in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "python_file: code_of_test.py",
        "python_file: {relative_path: code_of_test.py}",
        "python_module: code_of_test",
        "python_module: {module_name: code_of_test}",
        "python_package: code_of_test",
        "python_package: {package_name: code_of_test}",
    ],
)
def test_every_kind_of_target_in_a_workspace_is_found(here, target):
    (here / "code_of_test.py").write_text(EAGER)
    (here / "workspace.yaml").write_text(
        f"load_from:\n  - grpc_server: {{port: 1}}\n  - {target}\n"
    )
    assert names(load_definitions(None, None)) == ["found"]


def test_the_working_directory_of_a_target_is_where_it_imports_from(here):
    (here / "src").mkdir()
    (here / "src" / "code_of_test_assets.py").write_text(ASSET)
    (here / "src" / "code_of_test.py").write_text(
        "from code_of_test_assets import dg, found\ndefs = dg.Definitions([found])"
    )
    (here / "workspace.yaml").write_text(
        "load_from:\n  - python_file:\n      relative_path: src/code_of_test.py\n"
        "      working_directory: src\n"
    )
    assert names(load_definitions(None, None)) == ["found"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "load_from: 3",
        "load_from: {python_file: a.py}",
        "load_from: [python_file: {x: 1}]",
    ],
)
def test_a_workspace_that_names_nothing_is_refused(here, text):
    (here / "workspace.yaml").write_text(text)
    with pytest.raises(CodeLocationError, match="neither a Python file nor a module"):
        load_definitions(None, None)


def test_files_that_cannot_be_read_as_what_they_are_are_refused(here):
    for text in ("load_from: [", "- 1"):
        (here / "workspace.yaml").write_text(text)
        with pytest.raises(CodeLocationError, match=r"workspace\.yaml: it is no YAML of a work"):
            load_definitions(None, None)
    (here / "workspace.yaml").unlink()
    (here / "pyproject.toml").write_text("[tool.dagster")
    with pytest.raises(CodeLocationError, match=r"pyproject\.toml: it is no TOML"):
        load_definitions(None, None)
    (here / "pyproject.toml").write_text("[tool]\ndagster = 3")
    with pytest.raises(CodeLocationError, match=r"no workspace\.yaml and no definitions\.py"):
        load_definitions(None, None)


def test_definitions_are_those_that_dagster_would_load(here):
    (here / "code_of_test.py").write_text(LAZY)
    loaded = load_definitions(here / "code_of_test.py", None)
    assert isinstance(loaded, dg.Definitions)
    assert loaded.resolve_assets_def("found").key == dg.AssetKey("found")
