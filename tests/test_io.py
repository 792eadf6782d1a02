"""Saved and loaded, a value is the same; nothing half-written is left."""

import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fimlag import io
from fimlag._charts import CoordinatewiseChart
from fimlag._results import RESULTS
from fimlag.fitting import maximum_likelihood
from fimlag.geometry import EuclideanMetric
from fimlag.information import families
from fimlag.integrators import AbstractMethod, GaussLegendre, Yoshida4, integrate
from fimlag.mechanics import NaturalLagrangian
from fimlag.paths import Path, least_action_path


def _oscillator(t, q, v):
    return (v["x"] ** 2 - q["x"] ** 2 + jnp.sum(v["y"] ** 2 - 2 * q["y"] ** 2)) / 2


START = {"x": jnp.array(1.0), "y": jnp.array([0.5, 0.0])}
END = {"x": jnp.array(0.0), "y": jnp.array([0.0, 0.5])}


@pytest.fixture(scope="module")
def solution():
    return least_action_path(_oscillator, START, END, elements=2, degree=6)


def _trajectory(method=None):
    free = NaturalLagrangian(EuclideanMetric(1.0))
    return integrate(free, START, END, t1=1.0, steps=4, method=method)


def _assert_same(loaded, saved):
    assert type(loaded) is type(saved)
    assert jax.tree_util.tree_structure(loaded) == jax.tree_util.tree_structure(saved)
    for one, other in zip(jax.tree_util.tree_leaves(loaded), jax.tree_util.tree_leaves(saved), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def _round_trip(tmp_path, value):
    file = tmp_path / "saved.npz"
    io.save(file, value)
    assert os.listdir(tmp_path) == ["saved.npz"]
    return io.load(file)


def test_a_solution_comes_back_with_its_path_in_the_structure_of_the_caller(tmp_path, solution):
    loaded = _round_trip(tmp_path, solution)
    _assert_same(loaded, solution)
    np.testing.assert_array_equal(loaded.path(0.3)["y"], solution.path(0.3)["y"])
    assert bool(loaded.result == solution.result)


def test_a_failed_solution_comes_back_failed(tmp_path):
    failed = least_action_path(_oscillator, START, START, t1=10.0, elements=2, degree=3, throw=False)
    assert not bool(failed.succeeded)
    _assert_same(_round_trip(tmp_path, failed), failed)


def test_a_path_comes_back_in_single_precision(tmp_path):
    path = Path.from_nodes(jnp.array([[0.0, 1.0], [2.0, 3.0]], jnp.float32))
    _assert_same(_round_trip(tmp_path, path), path)


def test_paths_of_format_one_come_back_with_equal_elements(tmp_path):
    path = jax.vmap(lambda start: Path.from_nodes(jnp.stack([start, 2 * start, start]), t1=3.0))(jnp.eye(2))
    io.save(tmp_path / "saved.npz", path)
    with np.load(tmp_path / "saved.npz") as archive:
        arrays = dict(archive)
    older = str(arrays.pop("fimlag")).replace('"format": 2', '"format": 1')
    older = older.replace('"knots": {"array": "knots"}', '"t0": {"array": "t0"}, "t1": {"array": "t1"}')
    knots = arrays.pop("knots")
    np.savez(tmp_path / "saved.npz", fimlag=np.array(older), t0=knots[:, 0], t1=knots[:, -1], **arrays)
    _assert_same(io.load(tmp_path / "saved.npz"), path)


def test_a_path_of_unequal_elements_comes_back(tmp_path):
    path = Path.from_nodes(jnp.eye(3), knots=jnp.array([0.0, 0.1, 2.0]))
    _assert_same(_round_trip(tmp_path, path), path)


def test_a_path_in_free_coordinates_comes_back_with_its_chart(tmp_path):
    chart, offsets = CoordinatewiseChart((-np.inf, 0.0)), jnp.array([[0.0, 0.0], [1.0, np.log(2.0)]])
    structure = Path.from_nodes(offsets).structure
    path = Path(jnp.array([0.0, 1.0]), jnp.zeros(2), offsets, 1, structure, chart)
    loaded = _round_trip(tmp_path, path)
    _assert_same(loaded, path)
    np.testing.assert_allclose(loaded(1.0), [1.0, 2.0], rtol=1e-15)
    np.testing.assert_allclose(loaded.velocity(1.0), [1.0, 2.0 * np.log(2.0)], rtol=1e-15)
    np.testing.assert_allclose(loaded.nodes, [[0.0, 1.0], [1.0, 2.0]], rtol=1e-15)


def test_a_path_and_a_motion_of_complex_coordinates_come_back_complex(tmp_path):
    path = Path.from_nodes(jnp.array([[1.0 + 2.0j], [3.0 - 1.0j]]))
    loaded = _round_trip(tmp_path, path)
    _assert_same(loaded, path)
    np.testing.assert_allclose(loaded(0.5), [2.0 + 0.5j], rtol=1e-15)  # round-off
    motion = integrate(NaturalLagrangian(EuclideanMetric(1.0)), jnp.array(1j), jnp.array(1.0 + 0.0j), t1=1.0, steps=4)
    np.testing.assert_allclose(motion.q, 1j + np.asarray(motion.t), rtol=1e-14)  # round-off of four steps
    _assert_same(_round_trip(tmp_path, motion), motion)


@pytest.mark.parametrize("method", [None, Yoshida4(), GaussLegendre(2, max_iterations=20)])
def test_a_trajectory_comes_back_with_its_method(tmp_path, method):
    trajectory = _trajectory(method)
    loaded = _round_trip(tmp_path, trajectory)
    _assert_same(loaded, trajectory)
    assert loaded.method == trajectory.method


def test_an_estimate_comes_back(tmp_path):
    fit = maximum_likelihood(families.Normal().model, jnp.array([1.0, 2.0, 6.0]), jnp.array([0.0, 1.0]))
    _assert_same(_round_trip(tmp_path, fit), fit)


def test_a_batch_comes_back_with_the_result_of_each_member(tmp_path):
    def motion(speed):
        free = NaturalLagrangian(EuclideanMetric(1.0))
        return integrate(free, jnp.zeros(2), speed * jnp.ones(2), t1=1.0, steps=2, throw=False)

    batch = jax.vmap(motion)(jnp.array([1.0, jnp.nan]))
    loaded = _round_trip(tmp_path, batch)
    _assert_same(loaded, batch)
    np.testing.assert_array_equal(loaded.result == RESULTS.nonfinite, [False, True])


def test_numpy_alone_reads_the_arrays_by_name(tmp_path, solution):
    io.save(tmp_path / "saved.npz", solution)
    with np.load(tmp_path / "saved.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["path.offsets"], solution.path.offsets)
        assert str(archive["result"]) == "successful"


def test_keys_that_look_alike_keep_their_own_arrays(tmp_path):
    rows = {"a": {"b": jnp.zeros(2)}, "a.b": jnp.ones(2)}
    alike = eqx.tree_at(lambda t: (t.q, t.v, t.p), _trajectory(), (rows, rows, rows))
    _assert_same(_round_trip(tmp_path, alike), alike)


def test_saving_replaces_an_older_file_whole(tmp_path, solution):
    file = tmp_path / "saved.npz"
    io.save(file, _trajectory())
    io.save(file, solution.path)
    _assert_same(io.load(file), solution.path)


def test_a_failed_save_leaves_the_older_file_and_nothing_else(tmp_path, solution, monkeypatch):
    file = tmp_path / "saved.npz"
    io.save(file, solution.path)
    before = file.read_bytes()

    def full(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        io.save(file, solution)
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["saved.npz"]


class _OwnMethod(Yoshida4):
    pass


def test_what_cannot_be_rebuilt_is_refused_before_anything_is_written(tmp_path, solution):
    foreign = object.__new__(_OwnMethod)
    assert isinstance(foreign, AbstractMethod)
    with pytest.raises(TypeError, match="fimlag's own"):
        io.save(tmp_path / "saved.npz", eqx.tree_at(lambda t: t.method, _trajectory(), foreign))
    with pytest.raises(TypeError, match="dicts with string keys"):
        io.save(tmp_path / "saved.npz", Path.from_function(lambda t: {1: t}, elements=1, degree=1))
    with pytest.raises(TypeError, match="can be saved"):
        io.save(tmp_path / "saved.npz", solution.action)
    half = eqx.tree_at(lambda p: p.start, solution.path, solution.path.start.astype(jnp.bfloat16))
    with pytest.raises(TypeError, match="bfloat16"):
        io.save(tmp_path / "saved.npz", half)
    assert os.listdir(tmp_path) == []


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "other.npz"
    with pytest.raises(FileNotFoundError):
        io.load(file)
    file.write_text("not an archive")
    with pytest.raises(ValueError, match="not a file that fimlag"):
        io.load(file)
    np.savez(file, q=np.zeros(2))
    with pytest.raises(ValueError, match="not a file that fimlag"):
        io.load(file)
    np.savez(file, fimlag=np.array('{"format": 2, "body": {"module": "Path", "fields": {}}}'))
    with pytest.raises(ValueError, match="not a file that fimlag"):
        io.load(file)
    np.savez(file, fimlag=np.array('{"format": 1, "body": {"module": "LeastActionSolution", "fields": {}}}'))
    with pytest.raises(ValueError, match="format 1 and holds less"):
        io.load(file)
    np.savez(file, fimlag=np.array('{"format": 99, "body": null}'))
    with pytest.raises(ValueError, match="format 99"):
        io.load(file)


def test_double_precision_is_never_rounded_silently(tmp_path, solution):
    io.save(tmp_path / "saved.npz", solution)
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        io.load(tmp_path / "saved.npz")
