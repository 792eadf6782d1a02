"""The command line does the main job, and says in one line why it cannot."""

import math
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from fimlag import datasets, io
from fimlag.__main__ import main
from fimlag._command import _passage, _puromycin
from fimlag._results import RESULTS
from fimlag.information import families
from fimlag.paths import Path

MODELS = """
import jax
import jax.numpy as jnp
import numpy as np

def normal(theta, x):
    return jax.scipy.stats.norm.logpdf(x, theta[0], theta[1])

def bernoulli(theta, x):
    return jnp.log(jnp.where(x == 1, theta[0], 1.0 - theta[0]))

def exponential(theta, x):
    return jnp.log(theta[0]) - theta[0] * x

def redundant(theta, x):
    return bernoulli(theta[:1] + theta[1:], x)

def vector(theta, x):
    return theta * x

def integer(theta, x):
    return 1

def host(theta, x):
    return float(theta[0]) * x

NUMBER = 3.0
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder to work in, with a file of models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text(MODELS)
    return tmp_path


def _files(folder):
    """The names of the files in a folder, but for what importing leaves."""
    return sorted(set(os.listdir(folder)) - {"__pycache__"})


def _value(text, label):
    """The number printed beside a label."""
    found = re.search(rf"^\s*{re.escape(label)}\s+(\S+)", text, re.MULTILINE)
    assert found, f"{label} is not in:\n{text}"
    return float(found[1])


def _refusal(capsys, arguments, status):
    """The one line on stderr of a command that fails."""
    assert main(arguments) == status
    captured = capsys.readouterr()
    assert captured.err.startswith("fimlag: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.slow
def test_python_m_fimlag_finds_the_published_estimate_and_the_path_to_it(tmp_path, record_property):
    began = time.perf_counter()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-m", "fimlag", "--no-plot"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    record_property("wall_seconds", time.perf_counter() - began)
    assert (done.returncode, done.stderr, os.listdir(tmp_path)) == (0, "", [])
    estimate = re.search(r"estimate +(\S+) +(\S+) +(\S+)", done.stdout)
    assert estimate is not None
    # The least-squares fit of R's documentation, and sigma = 10.93 sqrt(10 / 12): six digits are printed.
    np.testing.assert_allclose([float(x) for x in estimate.groups()], [212.6837, 0.0641213, 9.981], rtol=1e-4)
    assert _value(done.stdout, "residual standard error") == pytest.approx(10.93, abs=0.005)
    assert _value(done.stdout, "Morse index") == 0
    assert _value(done.stdout, "error estimate") < 1e-9
    assert _value(done.stdout, "misses the end by") < 1e-6
    assert _value(done.stdout, "range of the energy") < 1e-10
    assert _value(done.stdout, "metric against information") < 1e-10  # the quadrature's own error
    length = _value(done.stdout, "Fisher-Rao distance")
    assert length**2 / 2 == pytest.approx(_value(done.stdout, "action"), rel=1e-5)


def _study():
    """What the study of the published data finds, with a straight path."""
    start, end = _puromycin.FIRST_GUESS, np.array([212.683743, 0.0641212817, 9.98101871])
    information = np.array([[0.0599637514, -38.4879348, 0.0], [-38.4879348, 42202.9219, 0.0], [0.0, 0.0, 0.240913702]])
    path = Path.from_nodes(jnp.asarray(np.stack([start, end])))

    solution = SimpleNamespace(path=path)
    passage = _passage.Passage(start, end, np.stack([information] * 2), solution, None, None, 1.0, 0.0)
    return _puromycin.Study(datasets.puromycin(), SimpleNamespace(theta=jnp.asarray(end)), passage, 1.0, 0.0)


def test_the_figure_is_written_where_asked(models, monkeypatch, capsys):
    monkeypatch.setattr(_puromycin, "run", _study)
    assert main(["--plot", "figure.png"]) == 0
    assert "Wrote figure.png" in capsys.readouterr().out
    assert (models / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert _files(models) == ["figure.png", "models.py"]


def test_without_matplotlib_the_study_is_done_and_the_missing_figure_is_named(models, monkeypatch, capsys):
    monkeypatch.setattr(_puromycin, "run", _study)
    for module in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    assert main([]) == 0
    assert "No figure was drawn: matplotlib is not installed" in capsys.readouterr().out
    assert _files(models) == ["models.py"]
    trace = ["trace", "models.py:bernoulli", "--start", "0.1", "--end", "0.9", "--support", "0,1", "--plot", "f.png"]
    assert "--plot needs matplotlib" in _refusal(capsys, trace, 1)


def test_tracing_a_discrete_model_gives_the_closed_distance_and_files(models, capsys):
    ends = ["--start", "0.2", "--end", "0.7"]
    files = ["--out", "path.npz", "--plot", "path.svg"]
    assert main(["trace", "models.py:bernoulli", *ends, "--support", "0:1", *files]) == 0
    text = capsys.readouterr().out
    distance = 2 * abs(math.asin(math.sqrt(0.7)) - math.asin(math.sqrt(0.2)))
    assert _value(text, "length") == pytest.approx(distance, rel=1e-5)  # six digits are printed
    assert _value(text, "misses the end by") < 1e-8
    assert "exact sum over 2 outcomes, 0 to 1" in text
    solution = io.load("path.npz")
    assert float(solution.action) == pytest.approx(distance**2 / 2, rel=1e-12)  # 8 elements of degree 8
    assert "<svg" in (models / "path.svg").read_text()
    assert _files(models) == ["models.py", "path.npz", "path.svg"]


def test_tracing_a_density_on_the_line_gives_the_closed_distance(models, capsys):
    placed = ["--location", "@0", "--scale", "@1"]
    assert main(["trace", "models:normal", "--start", "-1,1", "--end", "2,0.5", *placed]) == 0
    text = capsys.readouterr().out
    distance = families.Normal().distance(jnp.array([-1.0, 1.0]), jnp.array([2.0, 0.5]))
    assert _value(text, "length") == pytest.approx(float(distance), rel=1e-5)  # six digits are printed
    assert "quadrature on (-inf, inf), 200 nodes, location theta[0], scale theta[1]" in text


def test_tracing_with_samples_takes_the_empirical_information(models, capsys):
    np.savetxt("data.csv", [0.5, 1.0, 3.0])
    arguments = ["trace", "models.py:exponential", "--start", "1", "--end", "2", "--samples", "data.csv"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "mean over 3 observations: the empirical Fisher information" in text
    scores = 1 / np.array([[1.0], [2.0]]) - np.array([0.5, 1.0, 3.0])
    printed = [float(x) for x in re.findall(r"^ +theta\[0\] +([\d.]+)$", text, re.MULTILINE)]
    np.testing.assert_allclose(printed, np.mean(scores**2, axis=1), rtol=1e-5)  # six digits are printed


BERNOULLI = ["models.py:bernoulli", "--support", "0,1"]
ENDS = ["--start", "0.2", "--end", "0.7"]
TWO = ["--start", "0,1", "--end", "1,2"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.py:f", *ENDS], "missing.py does not exist"),
        (["no_such_module:f", *ENDS], "no_such_module cannot be imported: ModuleNotFoundError"),
        (["broken.py:f", *ENDS], "broken.py cannot be imported: SyntaxError"),
        (["models.py:nothing", *ENDS], "no function 'nothing'. It defines: bernoulli, exponential"),
        (["models.py:NUMBER", *ENDS], "no function 'NUMBER'"),
        (["models.py", *ENDS], "names no function"),
        ([*BERNOULLI, "--start", "0.2,0.3", "--end", "0.7"], "--start has 2 numbers and --end 1"),
        ([*BERNOULLI, "--start", "a", "--end", "0.7"], "--start 'a' is no list of numbers"),
        ([*BERNOULLI, "--start", "nan", "--end", "0.7"], "must hold finite numbers"),
        ([*BERNOULLI, "--start", "0.2", "--end", "0.2"], "the same point"),
        ([*BERNOULLI, *ENDS, "--nodes", "9"], "--nodes, --support cannot be combined"),
        (["models.py:bernoulli", *ENDS, "--support", "0,x"], "neither a list"),
        (["models.py:bernoulli", *ENDS, "--support", "0,0"], "every outcome once"),
        (["models.py:bernoulli", *ENDS, "--support", "5:0"], "every outcome once"),
        (["models.py:bernoulli", *ENDS, "--samples", "none.csv"], "none.csv: the file does not exist"),
        (["models.py:bernoulli", *ENDS, "--samples", "words.txt"], "words.txt cannot be read"),
        (["models.py:bernoulli", *ENDS, "--samples", "nan.txt"], "must hold finite numbers"),
        (["models.py:normal", "--start", "1", "--end", "2"], "asks for a parameter or an outcome that is not there"),
        (["models.py:vector", *TWO], "returned an array of shape (2,)"),
        (["models.py:integer", *TWO], "it must return its log-density"),
        (["models.py:host", *TWO], "fails for theta of shape (2,)"),
        (["models.py:normal", *TWO, "--lower", "2", "--upper", "1"], "lower must be less than upper"),
        (["models.py:normal", *TWO, "--location", "@2"], "the index of a parameter, 0 to 1"),
        (["models.py:normal", *TWO, "--scale", "wide"], "--scale 'wide' is no list of numbers"),
        (["models.py:normal", *TWO, "--scale", "1,2"], "must be ONE number"),
        (["models.py:normal", *TWO, "--upper", "0"], "The weights of the expectation rule do not sum to one"),
        (["models.py:exponential", "--lower", "0", "--start", "-1", "--end", "2"], "--start cannot be computed"),
        (["models.py:redundant", "--support", "0,1", "--start", ".1,.2", "--end", ".2,.5"], "is not positive definite"),
        ([*BERNOULLI, *ENDS, "--out", "nowhere/path.npz"], "nowhere does not exist"),
        ([*BERNOULLI, *ENDS, "--out", "."], "cannot be written"),
        ([*BERNOULLI, *ENDS, "--plot", "path.xyz"], "must end in one of ."),
        ([*BERNOULLI, *ENDS, "--elements", "1", "--degree", "1"], "leaves no node between the ends"),
    ],
)
def test_a_wrong_trace_is_refused_in_one_line_and_leaves_no_file(models, capsys, arguments, told):
    (models / "broken.py").write_text("def f(:")
    (models / "words.txt").write_text("one\n")
    (models / "nan.txt").write_text("nan\n")
    before = _files(models)
    files = [] if "--out" in arguments or "--plot" in arguments else ["--out", "path.npz", "--plot", "path.png"]
    assert told in _refusal(capsys, ["trace", *arguments, *files], 1)
    assert _files(models) == before


def test_a_path_that_is_not_resolved_is_refused_with_the_option_that_helps(models, capsys):
    coarse = ["--elements", "1", "--degree", "2", "--out", "path.npz"]
    line = _refusal(capsys, ["trace", *BERNOULLI, "--start", "0.01", "--end", "0.99", *coarse], 1)
    assert "no path of least action was found" in line
    assert "Raise --elements or --degree" in line
    assert not (models / "path.npz").exists()


def test_every_result_that_names_an_option_names_it_as_it_is_typed():
    with pytest.raises(_passage.CommandError, match="pass --stationary for a path of any index"):
        _passage.refuse_failure(RESULTS.not_a_minimum, "no path")
    with pytest.raises(_passage.CommandError, match="Raise --nodes, give --location and --scale"):
        _passage.refuse_failure(RESULTS.poor_quadrature, "no information")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trace"], "required: FILE.py:FUNCTION, --start, --end"),
        (["travel"], "invalid choice: 'travel'"),
        (["--colour=red"], "unrecognized arguments: --colour"),
        (["trace", *BERNOULLI, *ENDS, "--elements", "many"], "'many' is not a positive integer"),
        (["trace", *BERNOULLI, *ENDS, "--lower", "nan"], "'nan' is neither a number nor inf"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line_that_points_to_the_help(models, capsys, arguments, told):
    line = _refusal(capsys, arguments, 2)
    assert told in line
    assert "--help" in line


def test_a_place_for_the_figure_that_does_not_exist_is_refused_before_the_study(models, monkeypatch, capsys):
    monkeypatch.setattr(_puromycin, "run", lambda: pytest.fail("the study was begun"))
    assert "does not exist" in _refusal(capsys, ["--plot", "nowhere/figure.png"], 1)
    assert "must end in one of" in _refusal(capsys, ["--plot", "figure"], 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--version"], "fimlag "), (["--help"], "Puromycin"), (["trace", "--help"], "log_likelihood(theta, x)")],
)
def test_version_and_help_are_printed(capsys, arguments, told):
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    assert told in capsys.readouterr().out
