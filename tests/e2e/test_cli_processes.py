"""The command as a process: subcommands of other packages, pipes, signals, other processes."""

import json
import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.recorded_store import record_pipeline

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_pipeline(tmp_path_factory.mktemp("recorded"))


def environment(*folders, **more):
    path = os.pathsep.join(map(str, [ROOT, *folders]))
    return os.environ | {"PYTHONPATH": path, "NO_COLOR": "", **more}


def traceprop(*args, folders=(), **more):
    return subprocess.run(
        [sys.executable, "-m", "traceprop_engine.cli", *map(str, args)],
        env=environment(*folders, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def other_package(tmp_path):
    """A folder on the path with three subcommands of another package, one of them sound."""
    (tmp_path / "other_sound.py").write_text(
        "import pathlib, click\n"
        "pathlib.Path(__file__).with_name('imported').touch()\n"
        "@click.command(short_help='Says hello.')\n"
        "@click.option('--fail', is_flag=True)\n"
        "def hello(fail):\n"
        "    from traceprop_engine.errors import EmptyTableError\n"
        "    if fail:\n"
        "        raise EmptyTableError('greet')\n"
        "    click.echo('hello')\n"
    )
    (tmp_path / "other_broken.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "other_odd.py").write_text("thing = 3\n")
    facts = tmp_path / "other-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[traceprop.commands]\n"
        "hello = other_sound:hello\n"
        "broken = other_broken:command\n"
        "odd = other_odd:thing\n"
        "gone = other_sound:nothing\n"
        "store = other_odd:thing\n"
    )
    return tmp_path


def test_subcommands_of_other_packages_are_listed_and_run(other_package):
    listed = traceprop("--help", folders=[other_package])
    assert (listed.returncode, listed.stderr) == (0, "")
    assert re.search(r"hello +Says hello\.", listed.stdout)
    assert re.search(r"store +Count, check", listed.stdout)
    said = traceprop("hello", folders=[other_package])
    assert (said.returncode, said.stdout) == (0, "hello\n")
    failed = traceprop("hello", "--fail", folders=[other_package])
    assert failed.returncode == 2
    assert failed.stderr.startswith("traceprop: error: The table has no rows")


def test_a_broken_subcommand_breaks_no_other(other_package):
    listed = traceprop("--help", folders=[other_package])
    shown = " ".join(listed.stdout.split())
    assert "broken (cannot be loaded: ModuleNotFoundError: No module named" in shown
    assert "odd (cannot be loaded: other_odd:thing is no click command)" in shown
    assert "gone (cannot be loaded: AttributeError" in shown
    called = traceprop("broken", "--any", "thing", folders=[other_package])
    assert (called.returncode, called.stdout) == (2, "")
    (line,) = called.stderr.splitlines()
    assert line.startswith("traceprop: error: The command 'broken' cannot be loaded")


def test_a_subcommand_is_imported_only_when_it_is_called(other_package, recorded):
    result = traceprop("store", "info", "--store", recorded.directory, folders=[other_package])
    assert result.returncode == 0
    assert not (other_package / "imported").exists()
    traceprop("hello", folders=[other_package])
    assert (other_package / "imported").exists()


def test_importing_the_command_adds_nothing_heavy_to_the_engine():
    code = (
        "import sys, traceprop_engine\n"
        "before = set(sys.modules)\n"
        "import traceprop_engine.cli\n"
        "heavy = {'pandas', 'numpy', 'scipy', 'pyarrow', 'duckdb', 'jinja2', 'http.server'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))\n"
        "print(sorted({'dagster', 'torch', 'jax', 'sklearn'} & set(sys.modules)))"
    )
    run = [sys.executable, "-c", code]
    result = subprocess.run(run, env=environment(), capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n[]\n"


def test_no_command_of_the_engine_imports_dagster(recorded):
    code = (
        "import sys\nfrom traceprop_engine.cli import main\n"
        "main(['explain', '--row', '1', '--json'], standalone_mode=False)\n"
        "assert 'dagster' not in sys.modules and 'torch' not in sys.modules\n"
    )
    env = environment(TRACEPROP_STORE=recorded.directory)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout)["prediction"]["row"] == 1


def test_a_reader_that_goes_away_leaves_no_traceback(recorded):
    command = f"{sys.executable} -m traceprop_engine.cli trace training_table 3 --json | head -c 1"
    env = environment(TRACEPROP_STORE=recorded.directory)
    result = subprocess.run(
        ["/bin/sh", "-c", command], env=env, capture_output=True, text=True, check=True
    )
    assert result.stdout == "{"
    assert "Traceback" not in result.stderr


def test_output_that_is_no_terminal_has_neither_colour_nor_progress(recorded):
    result = traceprop("explain", "--row", 2, TRACEPROP_STORE=recorded.directory)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert "Why this prediction?" in result.stdout


def in_a_terminal(*args, **more):
    """Run the command with a terminal for all its streams, and return what stands on it."""
    parent, child = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "traceprop_engine.cli", *map(str, args)],
        env=environment(COLUMNS="100", **more),
        stdin=child,
        stdout=child,
        stderr=child,
    )
    os.close(child)
    chunks = []
    while True:
        try:
            chunk = os.read(parent, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(parent)
    return process.wait(timeout=60), b"".join(chunks).decode()


def test_a_terminal_gets_colour_and_progress_unless_it_declines(recorded):
    code, shown = in_a_terminal("explain", "--row", 2, TRACEPROP_STORE=recorded.directory)
    assert code == 0
    assert "Scoring the training rows …" in shown
    assert "\x1b[1mWhy this prediction?" in shown
    where = {"TRACEPROP_STORE": recorded.directory, "NO_COLOR": "1"}
    code, plain = in_a_terminal("explain", "--row", 2, **where)
    assert code == 0
    assert "\x1b" not in plain
    assert "Why this prediction?" in plain


def test_pages_are_served_until_ctrl_c(recorded):
    process = subprocess.Popen(
        [sys.executable, "-m", "traceprop_engine.cli", "serve", "--port", "0"],
        env=environment(TRACEPROP_STORE=recorded.directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.stderr.readline()
        assert said.startswith(f"Serving {recorded.directory} at http://127.0.0.1:")
        port = int(said.split("127.0.0.1:")[1].split("/")[0])
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")
        assert b"training_table" in connection.getresponse().read()
        connection.close()
        taken = traceprop("serve", "--port", port, TRACEPROP_STORE=recorded.directory)
        assert taken.returncode == 2
        (line,) = taken.stderr.splitlines()
        assert line.startswith(f"traceprop: error: Cannot serve at 127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "Stopped\n")


HOLD = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_questions_are_answered_while_a_duckdb_shell_holds_the_index(recorded):
    before = traceprop("trace", "training_table", 3, "--json", TRACEPROP_STORE=recorded.directory)
    index = Path(recorded.directory) / "traceprop.duckdb"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(index)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        asked = traceprop(
            "trace", "training_table", 3, "--json", TRACEPROP_STORE=recorded.directory
        )
        examined = traceprop("doctor", "--json", TRACEPROP_STORE=recorded.directory)
    finally:
        holder.kill()
        holder.communicate()
    assert (asked.returncode, asked.stdout) == (0, before.stdout)
    assert examined.returncode == 0
    (index,) = [f for f in json.loads(examined.stdout)["findings"] if f["subject"] == "index"]
    assert index["level"] == "note"
    assert f"process {holder.pid}" in index["text"]


def test_an_interrupted_command_ends_quietly(other_package):
    (other_package / "other_sound.py").write_text(
        "import click, time\n"
        "@click.command()\n"
        "def hello():\n"
        "    click.echo('waiting')\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "traceprop_engine.cli", "hello"],
        env=environment(other_package, PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_the_help_loads_no_command_and_no_library_of_numbers():
    code = (
        "import sys\nfrom traceprop_engine.cli import main\nmain(['--help'], prog_name='traceprop')"
    )
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click" in loaded
    assert "check-lineage" in done.stdout
    heavy = {"dagster", "duckdb", "numpy", "pandas", "pyarrow", "scipy"}
    assert not heavy & loaded
    assert not [name for name in loaded if name.endswith(("_command", "_commands"))]
