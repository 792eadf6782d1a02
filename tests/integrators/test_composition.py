"""Symmetric methods composed to higher order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems

KEPLER, PENDULUM = problems.Kepler(), problems.DoublePendulum()
START, PUSH = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.3])
PAIRS = [(4, fl.Suzuki4()), (6, fl.KahanLi6()), (8, fl.KahanLi8())]


@pytest.mark.parametrize(("order", "product"), PAIRS, ids=repr)
def test_a_composed_leapfrog_is_the_product_of_its_kicks_and_drifts(order, product):
    composed = fl.Composition(fl.StormerVerlet(), order)
    flows = [
        fl.integrate(KEPLER.lagrangian, *KEPLER.start(0.4), t1=6.0, steps=80, save_every=80, method=method)
        for method in (composed, product)
    ]
    np.testing.assert_allclose(flows[0].q[-1], flows[1].q[-1], atol=1e-12)  # round-off of 80 steps
    assert (composed.order, composed.structure, composed.explicit) == (order, product.structure, True)


@pytest.mark.slow
def test_a_composed_implicit_method_has_the_order_asked_and_turns_back():
    method, (q0, v0) = fl.Composition(fl.ImplicitMidpoint(), 6), KEPLER.start(0.4)
    end = KEPLER.solution(6.0, 0.4)

    @jax.jit
    def measured():
        fit = fl.observed_order(method, KEPLER.lagrangian, q0, v0, t1=6.0, steps=(120, 150, 180, 210), reference=end)
        return fit.order, fl.symplecticity_defect(method, KEPLER.lagrangian, 0.0, q0, v0, 0.1)

    order, defect = measured()
    assert abs(order - 6) < 0.15
    assert defect < 1e-13  # round-off
    there = fl.integrate(KEPLER.lagrangian, q0, v0, t1=6.0, steps=60, method=method)
    back = fl.integrate(KEPLER.lagrangian, there.q[-1], there.v[-1], t0=6.0, t1=0.0, steps=60, method=method)
    np.testing.assert_allclose(back.q[-1], q0, atol=1e-12)  # round-off of 1080 steps, stretched by the motion


@pytest.mark.slow
def test_a_composed_step_that_fails_stays_in_its_member():
    speeds = jnp.stack([PUSH, 30 * PUSH + 20, jnp.nan * PUSH])
    method = fl.Composition(fl.GaussLegendre(2), 6)
    flows = jax.vmap(
        lambda v0: fl.integrate(PENDULUM, START, v0, t1=6.0, steps=12, method=method, throw=False),
    )(speeds)
    assert flows.succeeded.tolist() == [True, False, False]
    assert (flows.result == fl.RESULTS.implicit_step_failed).tolist() == [False, True, False]
    assert (flows.result == fl.RESULTS.nonfinite).tolist() == [False, False, True]
    assert np.isfinite(flows.q).all(axis=(1, 2)).tolist() == [True, False, False]


def test_a_composition_keeps_single_precision():
    start = [x.astype(jnp.float32) for x in KEPLER.start(0.4)]
    lagrangian = problems.Kepler(jnp.float32(1)).lagrangian
    flow = fl.integrate(lagrangian, *start, t1=6.0, steps=40, method=fl.Composition(fl.StormerVerlet(), 8))
    assert flow.q.dtype == jnp.float32
    np.testing.assert_allclose(flow.q[-1], KEPLER.solution(6.0, 0.4), atol=2e-4)  # round-off of 680 kicks


@pytest.mark.parametrize(
    ("method", "order", "words"),
    [
        (fl.SymplecticEuler(), 4, "not symmetric"),
        (fl.StormerVerlet(), 5, "4, 6 or 8"),
        (fl.GaussLegendre(3), 6, "order 6 already"),
    ],
)
def test_what_cannot_be_composed_is_refused(method, order, words):
    with pytest.raises((TypeError, ValueError), match=words):
        fl.Composition(method, order)
