"""The diagnostics see what they are for."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import diagnostics, problems
from fimlag.integrators._method import Step

OSCILLATOR = problems.HarmonicOscillator()
START, PUSH = jnp.array([1.0]), jnp.array([0.0])


def trajectory(t, energies):
    """Rows of a free particle with these energies."""
    flow = fl.integrate(OSCILLATOR.lagrangian, START, PUSH, t1=1.0, steps=4)
    speeds = jnp.sqrt(2 * energies)[:, None]
    return eqx.tree_at(lambda f: (f.t, f.q, f.v), flow, (t, jnp.zeros_like(speeds), speeds))


def test_energy_drift_recovers_a_line_under_scatter():
    t = jnp.linspace(0, 1000, 4097)
    flow = trajectory(t, 1 + 1e-4 * t + 0.01 * jax.random.normal(jax.random.key(0), t.shape))
    drift = diagnostics.energy_drift(OSCILLATOR.lagrangian, flow)
    assert abs(drift.drift - 1e-4) < 4 * drift.standard_error
    # the standard error of a slope: scatter over root n, over the root mean square of the times
    np.testing.assert_allclose(drift.standard_error, 0.01 / 4097**0.5 / (1000 / 12**0.5), rtol=0.5)


def test_energy_drift_does_not_take_an_oscillation_for_a_line():
    t = jnp.linspace(0, 1000, 4097)
    drift = diagnostics.energy_drift(OSCILLATOR.lagrangian, trajectory(t, 1 + 0.01 * jnp.sin(t)))
    assert abs(drift.drift) * 1000 < 0.05 * 0.01
    np.testing.assert_allclose(drift.oscillation, 0.01, rtol=0.01)


def test_energy_drift_needs_three_rows():
    with pytest.raises(ValueError, match="three rows"):
        diagnostics.energy_drift(
            OSCILLATOR.lagrangian, fl.integrate(OSCILLATOR.lagrangian, START, PUSH, t1=1.0, steps=1)
        )


class ExplicitEuler(fl.StormerVerlet):
    """A method that is not symplectic and of order one."""

    def step(self, equations, t, h, q, p, memory):
        return Step(h * equations.velocity(p), h * equations.force(t, q), memory, jnp.array(True))


def test_symplecticity_defect_sees_explicit_euler():
    defect = diagnostics.symplecticity_defect(ExplicitEuler(), OSCILLATOR.lagrangian, 0.0, START, PUSH, 0.1)
    np.testing.assert_allclose(defect, 0.1**2, rtol=1e-12)  # det J = 1 + h^2


def test_observed_order_of_explicit_euler_is_one():
    fit = jax.jit(
        lambda: diagnostics.observed_order(
            ExplicitEuler(),
            OSCILLATOR.lagrangian,
            START,
            PUSH,
            t1=1.0,
            steps=(256, 512, 1024),
            reference=OSCILLATOR.solution(1.0, START, PUSH),
        )
    )()
    np.testing.assert_allclose(fit.order, 1, atol=0.02)
    assert fit.residual < 0.01


def test_observed_order_leaves_round_off_out():
    method, system = fl.GaussLegendre(3), OSCILLATOR.lagrangian
    fit = jax.jit(lambda: diagnostics.observed_order(method, system, START, PUSH, t1=0.1, steps=(64, 128)))()
    assert np.isnan(fit.order)
