"""Every method keeps the order, structure, symmetry, energy and charges that it declares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import fimlag as fl
from fimlag import problems
from fimlag.diagnostics._cases import textbook_cases

EXPLICIT = [
    fl.SymplecticEuler(),
    fl.StormerVerlet(),
    fl.StormerVerlet("dkd"),
    fl.Yoshida4(),
    fl.Suzuki4(),
    fl.McLachlan4(),
    fl.BlanesMoan4(),
    fl.BlanesMoanNystrom4(),
    fl.Yoshida6(),
    fl.KahanLi6(),
    fl.BlanesMoan6(),
    fl.BlanesMoanNystrom6(),
    fl.BlanesMoanNystrom6(11),
    fl.Yoshida8(),
    fl.KahanLi8(),
    fl.Composition(fl.StormerVerlet(), 6),
    fl.TimeTransformedLeapfrog(),
    fl.ReversibleAdaptive(),
]
ANY_LAGRANGIAN = [
    fl.ImplicitMidpoint(),
    fl.GaussLegendre(3),
    fl.Tao(10.0),
    fl.GeneralisedLeapfrog(),
    fl.Variational(fl.Galerkin(2)),
]
VARIANTS = [fl.Composition(fl.ImplicitMidpoint(), 4), fl.Variational(fl.Trapezoidal())]
CASES = [
    *((method, "separable", 1000) for method in EXPLICIT),
    *((method, "not separable", 50) for method in ANY_LAGRANGIAN),
    *(pytest.param(method, "not separable", 200, marks=pytest.mark.slow) for method in VARIANTS),
    (fl.Rattle(), "constrained", 50),
    (fl.NonholonomicLeapfrog(), "nonholonomic", 5),
    (fl.ContactLeapfrog(), "contact", 1),
    pytest.param(fl.GaussLegendre(2), "contact", 1, marks=pytest.mark.slow),
]
EXAMPLES = {type(case[0]): case[0] for case in CASES if type(case) is tuple}


def final_methods(interface=fl.AbstractMethod):
    """The methods of the library, found by their class."""
    for method in interface.__subclasses__():
        yield from final_methods(method)
        if method.__module__.startswith("fimlag.") and not method.__name__.startswith("Abstract"):
            yield method


def case_name(value):
    return repr(value)


def test_every_method_that_exists_is_verified():
    missing = {method.__name__ for method in final_methods()} - {method.__name__ for method in EXAMPLES}
    assert not missing


def test_every_method_names_its_source():
    for method in EXAMPLES.values():
        assert any(character.isdigit() for character in method.reference), method  # a year


@pytest.mark.parametrize(("method", "kind", "spans"), CASES, ids=case_name)
def test_a_method_keeps_what_it_declares(method, kind, spans):
    case = textbook_cases()[kind]
    report = fl.verify(
        method,
        case.system,
        case.q0,
        case.v0,
        t1=case.t1,
        spans=spans,
        reference=case.reference,
        generators=case.generators,
        throw=False,
    )
    assert report.succeeded
    assert report.held, report
    assert ("reversal" in report) == method.symmetric
    assert ("structure" in report) == (method.structure is not None and (kind != "contact" or method.explicit))
    assert ("energy" in report) == (kind != "contact")
    if not isinstance(method, fl.Tao):  # a coupling of two copies that is not invariant
        for charge in report.charges:  # linear symmetries: round-off, which wanders with the root of the steps
            assert charge.oscillation < 1e-14 * (spans * 91) ** 0.5


def pendulum_rate(t, state):
    q, v = np.split(state, 2)
    return np.concatenate([v, ACCELERATION(q, v)])


PENDULUM, AWAY, PUSH = problems.DoublePendulum(), jnp.array([1.0, 2.0]), jnp.array([0.0, 0.3])
ACCELERATION = jax.jit(lambda q, v: PENDULUM.acceleration(q, v))


def test_gauss_keeps_what_it_declares_on_a_chaotic_pendulum():
    exact = scipy.integrate.solve_ivp(pendulum_rate, (0, 3), [*AWAY, *PUSH], "DOP853", rtol=3e-14, atol=1e-14)
    end = jnp.asarray(exact.y[:2, -1])
    report = fl.verify(fl.GaussLegendre(2), PENDULUM, AWAY, PUSH, t1=3.0, spans=200, reference=end, throw=False)
    assert report.held, report
    assert {"order", "structure", "reversal", "energy"} == {finding.name for finding in report.findings}
