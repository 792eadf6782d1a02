"""Every benchmark runs, asks its question and prints ratios with their setting."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
BENCHMARKS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if not path.name.startswith("_"))


def test_there_are_benchmarks():
    assert {path.stem for path in BENCHMARKS} >= {"fisher", "paths", "integrators"}


@pytest.mark.slow
@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmark_prints_its_question_its_setting_and_finite_ratios(script):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, str(script), "--quick"], capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stderr
    question, setting, *rows = run.stdout.splitlines()
    assert question == script.read_text().splitlines()[0].removeprefix('"""')
    assert question.endswith("?")
    assert re.fullmatch(r"device .+, jax [\d.]+, float(32|64)", setting)
    ratios = [float(found) for row in rows for found in re.findall(r"  ratio (\S+)", row)]
    assert len(ratios) > 5
    assert all(0 < ratio < float("inf") for ratio in ratios)
    assert any(row.startswith("  compile: ") for row in rows)
    assert any("error" in row for row in rows)
    assert "nan" not in run.stdout
