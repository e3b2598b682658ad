"""What the README shows runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.e2e


@pytest.fixture
def project(tmp_path):
    """A project with the code of the README, and the two files that it reads."""
    (code,) = re.findall(r"```python\n(import dagster.*?)```", README, re.DOTALL)
    (tmp_path / "pipeline.py").write_text(code)
    ages = [20 + 3 * i % 47 for i in range(40)]
    left = [int(age + 10 * (i % 3) > 50) for i, age in enumerate(ages)]
    customers = [f"{i},{ages[i]},{left[i]}" for i in range(40)]
    claims = [f"{i % 40},{(i * 37) % 90}.25" for i in range(120)]
    (tmp_path / "customers.csv").write_text("\n".join(["customer,age,left", *customers]) + "\n")
    (tmp_path / "claims.csv").write_text("\n".join(["customer,amount", *claims]) + "\n")
    return tmp_path


def run(project, *command):
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=project, capture_output=True, text=True, check=False
    )


def test_the_quick_start_is_short_and_answers_the_questions_below_it(project):
    (code,) = re.findall(r"```python\n(import dagster.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    made = run(
        project, "dagster", "asset", "materialize", "-f", "pipeline.py", "--select", "*",
        "--config-json", '{"execution": {"config": {"in_process": {}}}}',
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-2000:]
    (commands,) = re.findall(r"```sh\n(traceprop explain.*?)```", README, re.DOTALL)
    asked = [line.split("#")[0].strip() for line in commands.splitlines() if "#" in line]
    for command in asked:
        if command == "traceprop serve":
            continue
        words = re.findall(r'"[^"]*"|\S+', command)
        words = [word.strip('"') for word in words[1:]]
        answer = run(project, "traceprop_engine.cli", *words)
        assert answer.returncode == 0, (command, answer.stderr)
        assert ".csv" in answer.stdout
