"""Every method, and what follows motions, lowers for devices that are not at hand."""

import jax
import jax.numpy as jnp
import pytest

import fimlag as fl
from fimlag.diagnostics._cases import textbook_cases

METHODS = {
    "separable": (
        fl.KahanLi8(),
        fl.Composition(fl.StormerVerlet("dkd"), 4),
        fl.TimeTransformedLeapfrog(),
        fl.ReversibleAdaptive(),
    ),
    "not separable": (fl.GaussLegendre(2), fl.Tao(10.0), fl.GeneralisedLeapfrog(), fl.Variational(fl.Galerkin(2))),
    "constrained": (fl.Rattle(),),
    "nonholonomic": (fl.NonholonomicLeapfrog(),),
    "contact": (fl.ContactLeapfrog(),),
}
SWINGING = fl.problems.DoublePendulum()
AWAY, PUSH = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.3])
SOLVERS = {
    "crossings": lambda **k: fl.crossings(SWINGING, AWAY, PUSH, lambda t, q, v: q[0], count=2, throw=False, **k).t,
    "monodromy": lambda **k: fl.monodromy(SWINGING, AWAY, PUSH, throw=False, **k).matrix,
    "lyapunov_exponents": lambda **k: (
        fl.lyapunov_exponents(SWINGING, AWAY, PUSH, renormalise_every=2, throw=False, **k).exponents
    ),
    "dense_output": lambda **k: fl.dense_output(SWINGING, fl.integrate(SWINGING, AWAY, PUSH, throw=False, **k))(0.3),
}


def lowered(function):
    return jax.jit(function).trace(1.0).lower(lowering_platforms=("cuda", "tpu")).as_text()


@pytest.mark.parametrize(("kind", "method"), [(kind, method) for kind in METHODS for method in METHODS[kind]], ids=repr)
def test_a_method_lowers_without_the_device(kind, method):
    case = textbook_cases()[kind]

    def run(t1):
        return fl.integrate(case.system, case.q0, case.v0, t1=t1, steps=4, method=method, throw=False).q

    assert "stablehlo" in lowered(run)


@pytest.mark.parametrize("name", SOLVERS)
def test_what_follows_a_motion_lowers_without_the_device(name):
    assert "stablehlo" in lowered(lambda t1: SOLVERS[name](t1=t1, steps=4))


def test_projection_onto_constraints_lowers_without_the_device():
    ring = fl.Constrained(fl.NaturalLagrangian(fl.EuclideanMetric(1.0)), lambda q: q @ q - 1)

    def project(t):
        return fl.project_onto_constraints(ring, t, 1.1 * AWAY, PUSH, throw=False).q

    assert "stablehlo" in lowered(project)
