"""The README's code runs as printed, and its test command is the one that CI runs."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def output():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    run = subprocess.run([sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.slow
def test_script_prints_the_action_the_index_and_a_landing(output):
    action, index, *landing = output[0].replace("[", " ").replace("]", " ").split()
    assert abs(float(action) - 3.412318101185) < 1e-9
    assert index == "0"
    # implicit midpoint with 256 steps: error of order h^2
    assert max(abs(float(x)) for x in landing) < 1e-3


@pytest.mark.slow
def test_failing_member_is_reported_alone(output):
    assert output[1].replace("[", "").replace("]", "").split() == ["True", "True", "False"]
    assert len(output[2].replace("[", "").replace("]", "").split()) == 2


def test_ci_runs_the_readmes_test_command():
    commands = re.findall(r"^pip install .* && (pytest .*)$", README, re.MULTILINE)
    assert len(commands) == 1
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
