"""Motions in chunks: the same motion, told of on the way, kept when interrupted; rows beyond memory refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems
from fimlag.integrators import _memory

START = problems.Kepler().start(0.3)


def planet(t, q, v):
    return v @ v / 2 + 1 / jnp.sqrt(q @ q)


@pytest.mark.parametrize(("steps", "save_every", "chunks"), [(1030, 10, 103), (999, 333, 102), (50, 50, 50), (7, 1, 7)])
def test_a_motion_in_chunks_is_the_motion(steps, save_every, chunks):
    told = []
    options = {"t1": 6.0, "steps": steps, "save_every": save_every}
    whole = fl.integrate(planet, *START, **options)
    pieces = fl.integrate(planet, *START, **options, progress=lambda done, all: told.append((done, all)))
    assert len(told) == chunks
    assert told[-1] == (steps, steps)
    np.testing.assert_array_equal(pieces.t, whole.t)
    # Steps that are joined within a row round otherwise: a unit or two each, on numbers of size one.
    np.testing.assert_allclose(pieces.q, whole.q, rtol=0, atol=2 * steps * np.finfo(float).eps)
    np.testing.assert_allclose(pieces.v, whole.v, rtol=0, atol=2 * steps * np.finfo(float).eps)


def test_compensated_sums_and_guesses_go_over_from_chunk_to_chunk():
    options = {"t1": 6.0, "steps": 400, "method": fl.GaussLegendre(2), "compensated": True}
    whole = fl.integrate(planet, *START, **options)
    pieces = fl.integrate(planet, *START, **options, progress=lambda done, all: None)
    np.testing.assert_allclose(pieces.q, whole.q, rtol=0, atol=8 * np.finfo(float).eps)


@pytest.mark.parametrize(("save_every", "rows"), [(10, 43), (1000, 2)])
def test_an_interruption_keeps_what_was_reached(save_every, rows):
    def interrupt(done, steps):
        if done >= 420:
            raise KeyboardInterrupt

    flow = fl.integrate(planet, *START, t1=10.0, steps=1000, save_every=save_every, progress=interrupt)
    assert flow.result == fl.RESULTS.interrupted
    assert flow.t.shape == (rows,)
    assert flow.t[-1] == pytest.approx(4.2)
    # Leapfrog with a hundredth of the unit of time errs by some 1e-4.
    np.testing.assert_allclose(flow.q[-1], problems.Kepler().solution(flow.t[-1], 0.3), atol=1e-3)


def test_an_interruption_before_the_first_chunk_keeps_the_start(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fimlag.integrators._long_run._advanced", interrupt)
    flow = fl.integrate(planet, *START, t1=1.0, steps=10, progress=lambda *_: None)
    assert flow.result == fl.RESULTS.interrupted
    np.testing.assert_array_equal(flow.q, [START[0], START[0]])


def test_a_failure_in_chunks_is_raised():
    with pytest.raises(RuntimeError, match="NaN or infinity"):
        fl.integrate(
            lambda t, q, v: v @ v / 2 + q[0] ** 4, jnp.ones(1), jnp.ones(1), t1=50.0, steps=50, progress=lambda *_: None
        )


def test_the_meter_counts_steps(capfd):
    pytest.importorskip("tqdm")
    fl.integrate(planet, *START, t1=1.0, steps=200, progress=True)
    assert "200/200" in capfd.readouterr().err


def test_progress_under_a_transformation_is_refused():
    def end(q):
        return fl.integrate(planet, q, START[1], t1=1.0, steps=10, progress=True).q[-1, 0]

    for transformed in (jax.jit(end), jax.grad(end)):
        with pytest.raises(ValueError, match="under jit, vmap or a derivative"):
            transformed(START[0])


def test_rows_beyond_memory_are_refused_before_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(_memory, "_free_bytes", lambda: 2**24)
    with pytest.raises(MemoryError, match=r"1000000 rows of 2 coordinates .* save_every, 6 times"):
        fl.integrate(planet, *START, t1=1.0, steps=1_000_000)
    assert fl.integrate(planet, *START, t1=1.0, steps=1000).succeeded


def test_the_free_memory_is_known_here():
    free = _memory._free_bytes()
    assert free is None or 2**20 < free < 2**60
