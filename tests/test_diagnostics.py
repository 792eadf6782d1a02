"""The diagnostics see what they are for."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import diagnostics, problems
from fimlag.integrators._method import Step
from fimlag.integrators._splitting import Splitting, composed_leapfrog

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


class Lying(fl.StormerVerlet):
    """A method that declares what leapfrog declares, and steps as explicit Euler does."""

    def step(self, equations, t, h, q, p, memory):
        return Step(h * equations.velocity(p), h * equations.force(t, q), memory, jnp.array(True))


def test_verification_sees_a_method_that_declares_too_much():
    report = fl.verify(Lying(), throw=False)
    assert not report.held
    assert [finding.name for finding in report.findings if finding.held] == []
    assert "NOT HELD" in str(report)


class Misprinted(fl.Yoshida4):
    """A triple jump with its weights off in the third digit: symmetric, symplectic, of order 2."""

    splitting: ClassVar[Splitting] = composed_leapfrog((1.36, -1.72, 1.36))


class OneSided(fl.SymplecticEuler):
    """A method of order 1 that declares itself symmetric."""

    symmetric: ClassVar[bool] = True


class Curling(fl.StormerVerlet):
    """Drift, kick, drift, with a share of the force that no potential has, even in the step: symmetric, of order 2."""

    def step(self, equations, t, h, q, p, memory):
        middle = q + h / 2 * equations.velocity(p)
        force = equations.force(t + h / 2, middle)
        dp = h * (force + h**2 * jnp.stack([-force[1], force[0]]))
        return Step(h * equations.velocity(p + dp / 2), dp, force, jnp.array(True))


class Dragged(fl.StormerVerlet):
    """Leapfrog that loses momentum, by no more than its own error in a step."""

    def step(self, equations, t, h, q, p, memory):
        dq, dp, memory, converged = super().step(equations, t, h, q, p, memory)
        return Step(dq, dp - h**3 * p, memory, converged)


MUTANTS = {
    Misprinted: {"order"},
    OneSided: {"reversal"},
    Curling: {"structure", "energy", "charge 0"},
    Dragged: {"structure", "reversal", "energy", "charge 0"},
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_verification_names_exactly_what_a_method_does_not_keep(mutant):
    report = fl.verify(mutant(), throw=False)
    assert {finding.name for finding in report.findings if not finding.held} == MUTANTS[mutant], str(report)


def test_a_report_prints_a_line_for_every_declaration():
    report = fl.verify(fl.StormerVerlet())
    first, *lines = str(report).splitlines()
    assert first == "StormerVerlet() on NaturalLagrangian"
    assert [line.split("  ")[1] for line in lines] == ["order", "structure", "reversal", "energy", "charge 0"]
    assert all(line.rstrip().endswith(" held") for line in lines)
    assert "2 declared, 2.0" in lines[0]


def aged(t, q, v):
    return v @ v / 2 - (1 + 0.1 * t) * (1 - jnp.cos(q[0])) - q @ q


def test_what_a_system_does_not_conserve_is_not_held_against_the_method():
    report = fl.verify(
        fl.StormerVerlet(),
        fl.Separable(aged),
        START,
        PUSH,
        t1=2.0,
        spans=5,
        generators=(lambda t, q: jnp.ones_like(q),),
    )
    assert report.held
    assert [bool(report[name].applies) for name in ("order", "energy", "charge 0")] == [True, False, False]
    assert str(report).count("not conserved by this system") == 2


def test_single_precision_is_verified_within_its_own_round_off():
    case = problems.Kepler(jnp.float32(1))
    q0, v0 = (each.astype(jnp.float32) for each in case.start(0.3))
    report = fl.verify(fl.StormerVerlet(), case.lagrangian, q0, v0, t1=3.0)
    assert report.held, report
    assert report.order.errors.dtype == jnp.float32


def test_a_failed_run_is_reported_and_raised():
    arguments = (fl.ImplicitMidpoint(), problems.DoublePendulum(), 20.0 * jnp.ones(2), 1e6 * jnp.ones(2))
    options = {"t1": 100.0, "steps": (4, 8), "spans": 2, "reference": jnp.zeros(2)}
    report = fl.verify(*arguments, **options, throw=False)
    assert report.result == fl.RESULTS.implicit_step_failed
    assert not report.held
    with pytest.raises(RuntimeError, match="more steps"):
        fl.verify(*arguments, **options)


def test_a_system_to_verify_on_needs_a_start_and_an_end():
    with pytest.raises(ValueError, match="needs its start"):
        fl.verify(fl.StormerVerlet(), OSCILLATOR.lagrangian)
