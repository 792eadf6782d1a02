"""Every method keeps the order, symplecticity, symmetry and energy that it declares."""

import jax
import jax.numpy as jnp
import pytest

import fimlag as fl
from fimlag import diagnostics, problems

EXPLICIT = [fl.StormerVerlet(), fl.StormerVerlet("dkd"), fl.Yoshida4()]
IMPLICIT = [fl.ImplicitMidpoint(), *(fl.GaussLegendre(stages) for stages in (1, 2, 3))]

KEPLER, OSCILLATOR = problems.Kepler(), problems.HarmonicOscillator(1.3, 0.7)
NORMAL, PENDULUM = problems.NormalFisher(), problems.DoublePendulum()
AWAY, PUSH = jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])
STANDARD, TILT = jnp.array([0.0, 1.0]), jnp.array([1.0, 0.3])

PROBLEMS = {
    "kepler": (KEPLER.lagrangian, *KEPLER.start(0.6), 3.0, KEPLER.solution(3.0, 0.6)),
    "oscillator": (OSCILLATOR.lagrangian, AWAY, PUSH, 6.0, OSCILLATOR.solution(6.0, AWAY, PUSH)),
    "pendulum": (PENDULUM, AWAY, jnp.array([0.0, 0.3]), 3.0, None),
    "normal": (NORMAL.lagrangian, STANDARD, TILT, 4.0, NORMAL.geodesic(4.0, STANDARD, TILT)),
}
FITS = [
    (name, method)
    for name in PROBLEMS
    for method in EXPLICIT + IMPLICIT
    if not method.explicit or name in ("kepler", "oscillator")
]


def case_name(value):
    return value if isinstance(value, str) else repr(value)


@pytest.mark.parametrize(("name", "method"), FITS, ids=case_name)
def test_the_order_fitted_is_the_order_declared(name, method):
    lagrangian, q0, v0, t1, reference = PROBLEMS[name]
    # Steps in the asymptotic range of each problem; Kepler's perihelion needs more.
    coarsest = {"kepler": 128, "oscillator": 16, "pendulum": 48, "normal": 16}[name] * (2 if method.explicit else 1)
    steps = [coarsest * share // 2 for share in (2, 3, 4, 6, 8)]
    fit = jax.jit(
        lambda: diagnostics.observed_order(method, lagrangian, q0, v0, t1=t1, steps=steps, reference=reference)
    )()
    assert abs(fit.order - method.order) < 0.15


@pytest.mark.parametrize(("name", "method"), [fit for fit in FITS if fit[0] != "oscillator"], ids=case_name)
def test_a_step_is_symplectic_to_round_off(name, method):
    assert method.symplectic
    lagrangian, q0, v0, *_ = PROBLEMS[name]
    defect = jax.jit(lambda: diagnostics.symplecticity_defect(method, lagrangian, 0.0, q0, v0, 0.05))()
    assert defect < 1e-13  # round-off of products of entries below ten


@pytest.mark.parametrize("method", EXPLICIT + IMPLICIT, ids=repr)
def test_energy_does_not_drift_over_many_steps(method):
    steps, rows = 100_000, 1000
    flow = fl.integrate(
        KEPLER.lagrangian,
        *KEPLER.start(0.3),
        t1=6000.0,
        steps=steps,
        save_every=steps // rows,
        method=method,
    )
    # Rows are 6.0 apart and orbits 2 pi: every phase of the oscillation is sampled.
    drift = diagnostics.energy_drift(KEPLER.lagrangian, flow)
    assert abs(drift.drift) * flow.t[-1] < drift.oscillation + 1e-12


@pytest.mark.parametrize("method", [fl.ImplicitMidpoint(), fl.GaussLegendre(2)], ids=repr)
def test_energy_of_a_chaotic_pendulum_does_not_drift(method):
    steps = 100_000
    flow = fl.integrate(PENDULUM, AWAY, PUSH, t1=5000.0, steps=steps, save_every=100, method=method)
    drift = diagnostics.energy_drift(PENDULUM, flow)
    assert abs(drift.drift) * flow.t[-1] < drift.oscillation


@pytest.mark.parametrize("method", EXPLICIT + IMPLICIT, ids=repr)
def test_every_method_declares_its_source(method):
    assert method.symmetric
    assert method.reference
