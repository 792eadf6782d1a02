"""Every notebook's script runs, and the executed notebook beside it is its twin."""

import os
import pathlib
import re
import subprocess
import sys

import jupytext
import pytest

ROOT = pathlib.Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))
REFRESH = "jupytext --to notebook NAME.py && jupyter execute --inplace NAME.ipynb"

of_each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def test_scripts_and_notebooks_are_paired():
    notebooks = (ROOT / "notebooks").glob("*.ipynb")
    assert SCRIPTS
    assert {path.stem for path in SCRIPTS} == {path.stem for path in notebooks}


@pytest.mark.slow
@of_each_script
def test_script_runs_and_its_assertions_hold(script, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    run = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    assert "assert " in script.read_text(encoding="utf-8")
    assert not list(tmp_path.iterdir())


@of_each_script
def test_notebook_holds_the_cells_of_its_script(script):
    ours, executed = (_cells(jupytext.read(path)) for path in (script, script.with_suffix(".ipynb")))
    assert ours == executed, f"The notebook is older than its script. In notebooks/: {REFRESH}"


@of_each_script
def test_notebook_was_executed_in_order_without_error_and_shows_its_results(script):
    cells = [cell for cell in jupytext.read(script.with_suffix(".ipynb")).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), REFRESH
    outputs = [output for cell in cells for output in cell.outputs]
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)
    for cell in cells:
        shown = {key for output in cell.outputs for key in (output.get("data") or {"text": None})}
        assert ("print(" not in cell.source) or "text" in shown
        assert ("plt.subplots" not in cell.source) or "image/png" in shown


@of_each_script
def test_notebook_tells_nothing_of_the_machine_that_ran_it(script):
    text = script.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert not re.search(r"[\"' ](/(home|tmp|root|usr|work|Users|private)/|[A-Z]:\\\\)", text)


def _cells(notebook):
    return [(cell.cell_type, cell.source.strip()) for cell in notebook.cells]
