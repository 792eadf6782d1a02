"""What `integrate` returns, refuses and reports."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings, strategies as st
from scipy.integrate import solve_ivp

import fimlag as fl
from fimlag import problems
from fimlag.integrators._implicit import gauss_tableau

KEPLER = problems.Kepler()
PENDULUM = problems.DoublePendulum()
START, PUSH = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.3])
METHODS = [
    fl.StormerVerlet(),
    fl.StormerVerlet("dkd"),
    fl.Yoshida4(),
    fl.ImplicitMidpoint(),
    fl.GaussLegendre(3),
]


def magnetic(t, q, v):
    """Constant mass and a constant velocity-linear term, so separable; forced in time."""
    return v @ v + jnp.array([0.3, -0.4]) @ v - (q @ q) * (1 + 0.2 * jnp.sin(t))


@pytest.mark.parametrize("stages", range(1, 9))
def test_gauss_tableau_meets_its_order_conditions_to_round_off(stages):
    tableau = gauss_tableau(stages)
    a, b, c = tableau.a, tableau.b, tableau.c
    for k in range(1, stages + 1):
        np.testing.assert_allclose(a @ c ** (k - 1), c**k / k, atol=4e-15)
    for k in range(1, 2 * stages + 1):
        np.testing.assert_allclose(b @ c ** (k - 1), 1 / k, rtol=1e-14)
    weighted = b[:, None] * a
    np.testing.assert_allclose(weighted + weighted.T, np.outer(b, b), atol=1e-16)  # symplecticity
    values = c ** (stages - 1)
    # the polynomial through the stages, extended by one step: round-off times its growth
    np.testing.assert_allclose(tableau.ahead @ values, (1 + c) ** (stages - 1), atol=1e-11)


@pytest.mark.parametrize("stages", [1, 2, 4, 8])
def test_many_stages_solve_kepler(stages):
    case = KEPLER.start(0.3)
    flow = fl.integrate(KEPLER.lagrangian, *case, t1=3.0, steps=64, method=fl.GaussLegendre(stages))
    # c h^2s for the lower orders (h = 0.05), round-off for the higher
    bound = {1: 2e-2, 2: 5e-6, 4: 1e-12, 8: 1e-13}[stages]
    np.testing.assert_allclose(flow.q[-1], KEPLER.solution(3.0, 0.3), atol=bound)


def test_rows_hold_the_start_and_every_saved_step():
    full = fl.integrate(PENDULUM, START, PUSH, t0=1.0, t1=2.0, steps=12)
    some = fl.integrate(PENDULUM, START, PUSH, t0=1.0, t1=2.0, steps=12, save_every=4)
    assert full.t.shape == (13,)
    assert some.q.shape == some.v.shape == some.p.shape == (4, 2)
    np.testing.assert_allclose(full.t, np.linspace(1, 2, 13), rtol=1e-15)
    for saved, every in ((some.q, full.q), (some.v, full.v), (some.p, full.p)):
        np.testing.assert_allclose(saved, every[::4], rtol=1e-13)  # round-off of another loop
    assert np.array_equal(full.q[0], START)
    assert np.array_equal(full.v[0], PUSH)


def test_momenta_and_velocities_belong_together():
    flow = fl.integrate(PENDULUM, START, PUSH, t1=2.0, steps=20, method=fl.GaussLegendre(2))
    momenta = jax.vmap(lambda t, q, v: fl.momentum(PENDULUM, t, q, v))(flow.t, flow.q, flow.v)
    np.testing.assert_allclose(flow.p, momenta, rtol=1e-13, atol=1e-14)


def test_the_default_method_follows_separability():
    explicit = fl.integrate(KEPLER.lagrangian, *KEPLER.start(0.3), t1=0.1, steps=1)
    vouched = fl.integrate(fl.Separable(magnetic), START, PUSH, t1=0.1, steps=1)
    unknown = fl.integrate(PENDULUM, START, PUSH, t1=0.1, steps=1)
    assert explicit.method == vouched.method == fl.StormerVerlet()
    assert unknown.method == fl.ImplicitMidpoint()


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_explicit_and_implicit_methods_agree_on_a_vouched_lagrangian(method):
    system = fl.Separable(magnetic)
    exact = fl.integrate(magnetic, START, PUSH, t1=2.0, steps=40, method=fl.GaussLegendre(4))
    flow = fl.integrate(system, START, PUSH, t1=2.0, steps=400, method=method)
    bound = 1e-4 if method.order == 2 else 1e-8  # c h^p with h = 0.005
    np.testing.assert_allclose(flow.q[-1], exact.q[-1], atol=bound)
    np.testing.assert_allclose(flow.v[-1], exact.v[-1], atol=bound)


@settings(max_examples=10)
@given(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from(METHODS))
def test_time_reversal_returns_to_the_start(x, y, method):
    system = fl.Separable(magnetic)
    push = jnp.array([x, y])
    there = fl.integrate(system, START, push, t0=0.5, t1=2.5, steps=50, method=method)
    back = fl.integrate(system, there.q[-1], there.v[-1], t0=2.5, t1=0.5, steps=50, method=method)
    np.testing.assert_allclose(back.q[-1], START, atol=1e-13)  # round-off of a hundred steps
    np.testing.assert_allclose(back.v[-1], push, atol=1e-13)


def test_a_nonseparable_motion_reverses_too():
    method = fl.GaussLegendre(2)
    there = fl.integrate(PENDULUM, START, PUSH, t1=3.0, steps=60, method=method)
    back = fl.integrate(PENDULUM, there.q[-1], there.v[-1], t0=3.0, t1=0.0, steps=60, method=method)
    np.testing.assert_allclose(back.q[-1], START, atol=1e-12)  # round-off, stretched by the motion
    np.testing.assert_allclose(back.v[-1], PUSH, atol=1e-12)


@pytest.mark.parametrize("system", [fl.Separable(magnetic), magnetic], ids=["explicit", "implicit"])
def test_jit_eager_vmap_and_loop_agree(system):
    starts = jnp.stack([START, 2 * START, -START])

    def end(q0):
        return fl.integrate(system, q0, PUSH, t1=1.0, steps=20, save_every=5, throw=False).q

    eager = jnp.stack([end(q0) for q0 in starts])
    np.testing.assert_allclose(jax.jit(end)(START), eager[0], rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(jax.vmap(end)(starts), eager, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(jax.jit(jax.vmap(end))(starts), eager, rtol=1e-13, atol=1e-14)


def test_pytree_coordinates_are_stacked_in_their_structure():
    lagrangian = fl.Separable(lambda t, q, v: v["x"] ** 2 / 2 + v["y"] @ v["y"] / 2 - q["x"] * q["y"][0])
    q0, v0 = {"x": 1.0, "y": jnp.array([0.0, 1.0])}, {"x": 0, "y": jnp.array([1, 2])}
    flow = fl.integrate(lagrangian, q0, v0, t1=1.0, steps=4)
    assert jax.tree.map(jnp.shape, (flow.q, flow.v, flow.p)) == ({"x": (5,), "y": (5, 2)},) * 3
    np.testing.assert_allclose(flow.q["y"][:, 1], 1 + 2 * flow.t, rtol=1e-14)


def test_masses_may_be_a_number_a_vector_or_a_matrix():
    diagonal = jnp.array([2.0, 1.0])
    ends = []
    for mass in (diagonal, jnp.diag(diagonal)):
        system = fl.NaturalLagrangian(fl.EuclideanMetric(mass), lambda q: q @ q)
        ends.append(fl.integrate(system, START, PUSH, t1=1.0, steps=10).q[-1])
    np.testing.assert_allclose(*ends, rtol=1e-14)


def test_a_full_mass_matrix_gives_its_normal_modes():
    mass = np.array([[2.0, 0.5], [0.5, 1.0]])
    system = fl.NaturalLagrangian(fl.EuclideanMetric(jnp.asarray(mass)), lambda q: q @ q / 2)
    flow = fl.integrate(system, START, PUSH, t1=1.0, steps=200, method=fl.Yoshida4())
    squares, modes = scipy.linalg.eigh(np.eye(2), mass)
    omega = np.sqrt(squares)
    start, push = modes.T @ mass @ START, modes.T @ mass @ PUSH
    exact = modes @ (np.cos(omega) * start + np.sin(omega) / omega * push)
    np.testing.assert_allclose(flow.q[-1], exact, atol=1e-9)  # c h^4 with h = 0.005


@pytest.mark.parametrize("method", [fl.StormerVerlet(), fl.Yoshida4(), fl.GaussLegendre(2)], ids=repr)
def test_float32_stays_float32(method):
    start, push = START.astype(jnp.float32), PUSH.astype(jnp.float32)
    flow = fl.integrate(fl.Separable(magnetic32), start, push, t1=1.0, steps=64, method=method)
    assert {leaf.dtype for leaf in (flow.t, flow.q, flow.v, flow.p)} == {jnp.dtype("float32")}
    exact = fl.integrate(fl.Separable(magnetic32), START, PUSH, t1=1.0, steps=64, method=method)
    np.testing.assert_allclose(flow.q[-1], exact.q[-1], rtol=3e-5)  # round-off of 64 steps in single precision


def magnetic32(t, q, v):
    return v @ v + 0.3 * v[0] - (q @ q) * (1 + 0.2 * jnp.sin(t))


def test_a_lorentzian_mass_is_integrated():
    system = fl.NaturalLagrangian(fl.Metric(lambda q: jnp.diag(jnp.array([-1.0, 1.0])) * (1 + q[1] ** 2)))
    flow = fl.integrate(system, START, PUSH + 1, t1=1.0, steps=20, method=fl.GaussLegendre(3))
    energies = jax.vmap(lambda t, q, v: fl.energy(system, t, q, v))(flow.t, flow.q, flow.v)
    np.testing.assert_allclose(energies, energies[0], rtol=1e-7)  # c h^6


def test_standing_at_an_equilibrium_converges():
    flow = fl.integrate(PENDULUM, jnp.array([np.pi, np.pi]), jnp.zeros(2), t1=1.0, steps=50)
    np.testing.assert_allclose(flow.q[-1], np.pi, rtol=1e-14)


def test_no_time_passes_when_the_end_is_the_start():
    for system in (magnetic, fl.Separable(magnetic)):
        flow = fl.integrate(system, jnp.zeros(2), PUSH, t1=0.0, steps=3)
        assert np.array_equal(flow.q[-1], np.zeros(2))


def test_explicit_methods_refuse_what_is_not_separable():
    for system, words in ((problems.NormalFisher().lagrangian, "is not separable"), (PENDULUM, "not known")):
        with pytest.raises(ValueError, match=words) as error:
            fl.integrate(system, START, PUSH, t1=1.0, steps=4, method=fl.Yoshida4())
        for cure in ("ImplicitMidpoint()", "GaussLegendre(stages)", "Separable(L)"):
            assert cure in str(error.value)


@pytest.mark.parametrize("method", [fl.StormerVerlet(), fl.Composition(fl.StormerVerlet()), fl.ReversibleAdaptive()])
@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (lambda inner: fl.Forced(inner, lambda t, q, v: -v), "takes no forces"),
        (lambda inner: fl.Constrained(inner, lambda q: q[0] - 1.0), "Use Rattle"),
        (lambda inner: fl.Nonholonomic(inner, lambda q: jnp.array([[0.0, 1.0]])), "Use NonholonomicLeapfrog"),
    ],
    ids=["force", "surface", "wheel"],
)
def test_explicit_methods_drop_no_mark_that_separable_hides(method, mark, words):
    inner = mark(fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: q @ q))
    for system in (inner, fl.Separable(inner)):
        with pytest.raises(ValueError, match=words):
            fl.integrate(system, START, PUSH, t1=1.0, steps=4, method=method)


def test_the_default_method_keeps_a_force_that_separable_hides():
    damped = fl.Separable(fl.Forced(lambda t, q, v: v**2 / 2, lambda t, q, v: -v))
    flow = fl.integrate(damped, 0.0, 1.0, t1=1.0, steps=200)
    np.testing.assert_allclose(flow.v[-1], np.exp(-1.0), rtol=0.005**2)  # c h^2, c = 1/12


def test_marks_around_a_contact_system_are_refused():
    contact = fl.Herglotz.linear(KEPLER.lagrangian, 0.1)
    for system in (fl.Forced(contact, lambda t, q, v: v), fl.Constrained(contact, lambda q: q), fl.Separable(contact)):
        with pytest.raises(ValueError, match=f"takes no marks, but carries {type(system).__name__}"):
            fl.integrate(system, START, PUSH, t1=1.0, steps=4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "positive integer"),
        ({"steps": 10, "save_every": 3}, "divisible"),
        ({"v0": jnp.ones(3)}, "structure"),
        ({"steps": 9, "adjoint": fl.CheckpointedAdjoint(2)}, "divide"),
    ],
)
def test_mistakes_are_refused_while_tracing(changes, words):
    arguments = {"q0": START, "v0": PUSH, "t1": 1.0, "steps": 4} | changes
    with pytest.raises(ValueError, match=words):
        fl.integrate(PENDULUM, **arguments)


def test_options_are_checked():
    with pytest.raises((TypeError, ValueError), match="variant"):
        fl.StormerVerlet("kick")
    with pytest.raises(ValueError, match="stages"):
        fl.GaussLegendre(0)
    with pytest.raises(ValueError, match="segments"):
        fl.CheckpointedAdjoint(0)


@pytest.mark.parametrize("system", [fl.Separable(magnetic), magnetic], ids=["explicit", "implicit"])
def test_a_nan_member_stays_alone_and_is_reported(system):
    starts = jnp.stack([START, START * jnp.nan, 2 * START])
    flows = jax.vmap(lambda q0: fl.integrate(system, q0, PUSH, t1=1.0, steps=20, save_every=5, throw=False))(starts)
    assert flows.succeeded.tolist() == [True, False, True]
    assert (flows.result == fl.RESULTS.nonfinite).tolist() == [False, True, False]
    assert np.isfinite(flows.q).all(axis=(1, 2)).tolist() == [True, False, True]


def test_a_step_too_long_is_reported_and_its_rows_are_nan():
    flow = fl.integrate(PENDULUM, START, 30 * PUSH + 20, t1=60.0, steps=12, throw=False)
    assert flow.result == fl.RESULTS.implicit_step_failed
    assert np.isnan(flow.q[-1]).all()
    with pytest.raises(RuntimeError, match="more steps"):
        fl.integrate(PENDULUM, START, 30 * PUSH + 20, t1=60.0, steps=12)


@pytest.mark.parametrize("method", [fl.StormerVerlet(), fl.ImplicitMidpoint(), fl.Tao(5.0)], ids=repr)
def test_a_singular_mass_is_reported(method):
    system = fl.Separable(lambda t, q, v: (v[0] + v[1]) ** 2 - q @ q)
    flow = fl.integrate(system, START, PUSH, t1=1.0, steps=4, method=method, throw=False)
    assert flow.result == fl.RESULTS.singular_mass


@pytest.mark.parametrize(
    "false",
    [
        PENDULUM,
        lambda t, q, v: v @ v / 2 + q[0] * v[1],
        lambda t, q, v: v @ v + (v @ v) ** 2 - q @ q,
    ],
    ids=["mass", "magnetic", "quartic"],
)
def test_a_false_vouching_is_reported(false):
    flow = fl.integrate(fl.Separable(false), START, PUSH, t1=1.0, steps=20, throw=False)
    assert flow.result == fl.RESULTS.not_separable


def test_a_closed_orbit_cannot_hide_a_false_vouching():
    def swinging(t, q, v):
        return (1 + 0.1 * jnp.sin(2 * jnp.pi * t)) * (v @ v) / 2

    # the mass at every row, and at the end, is that at the start
    for t1, steps, save_every in ((1.0, 16, 1), (1.0, 16, 16), (20.0, 320, 16)):
        options = {"t1": t1, "steps": steps, "save_every": save_every, "throw": False}
        flow = fl.integrate(fl.Separable(swinging), START, PUSH, **options)
        assert flow.result == fl.RESULTS.not_separable
    options = {"t1": 1.0, "steps": 16, "throw": False}
    assert fl.monodromy(fl.Separable(swinging), START, PUSH, **options).result == flow.result
    options |= {"renormalise_every": 2}
    assert fl.lyapunov_exponents(fl.Separable(swinging), START, PUSH, **options).result == flow.result


def test_a_section_cannot_hide_a_false_vouching():
    def slower(t, q, v):
        return (1 + 0.1 * q[0] ** 2) * (v @ v) / 2 - q @ q / 2

    start = jnp.array([0.0, 0.3]), jnp.array([1.0, 0.0])  # on the section, where the mass is that of the start
    options = {"count": 1, "t1": 8.0, "steps": 100, "throw": False}
    points = fl.poincare_section(fl.Separable(slower), *start, lambda t, q, v: q[0], **options)
    assert points.result == fl.RESULTS.not_separable


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("system", [KEPLER.lagrangian, magnetic32], ids=["explicit", "implicit"])
def test_integrate_lowers_for_other_platforms(platform, system):
    def run(q0, v0):
        return fl.integrate(system, q0, v0, t1=1.0, steps=4, throw=False)

    assert jax.jit(run).trace(START, PUSH).lower(lowering_platforms=(platform,)).as_text()


def predator_and_prey():
    """Lotka-Volterra in the coordinates (prey, predators), with the symplectic form dx dy / (x y)."""

    def one_form(t, q):
        return jnp.stack([jnp.log(q[1]) / q[0], jnp.zeros_like(q[0])])

    return fl.PhaseSpaceLagrangian(one_form, lambda t, q: q[0] - jnp.log(q[0]) + q[1] - 2 * jnp.log(q[1]))


def test_a_lagrangian_linear_in_the_velocity_moves_by_its_first_order_equations():
    flow = fl.integrate(predator_and_prey(), START, None, t1=10.0, steps=400, method=fl.GaussLegendre(3))
    exact = solve_ivp(
        lambda t, q: [q[0] * (2 - q[1]), q[1] * (q[0] - 1)], (0, 10), START, method="DOP853", rtol=1e-13, atol=1e-13
    ).y[:, -1]
    np.testing.assert_allclose(flow.q[-1], exact, rtol=1e-10)  # c h^6 with h = 0.025
    np.testing.assert_allclose(flow.p[:, 0], jnp.log(flow.q[:, 1]) / flow.q[:, 0], rtol=1e-14)


def test_the_start_of_a_motion_holds_what_its_order_needs():
    with pytest.raises(ValueError, match="determine its velocity"):
        fl.integrate(predator_and_prey(), START, PUSH, t1=1.0, steps=4)
    with pytest.raises(ValueError, match="needs an initial velocity"):
        fl.integrate(PENDULUM, START, None, t1=1.0, steps=4)


@pytest.mark.parametrize("method", [fl.ImplicitMidpoint(), fl.GaussLegendre(3)], ids=repr)
def test_the_damped_oscillator_is_one_motion_three_ways(method):
    rate, spring = 0.2, fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: 0.845 * (q @ q))
    dragged = fl.Forced(spring, fl.rayleigh(lambda t, q, v: rate * (v @ v) / 2))
    contact = fl.Herglotz.linear(spring, rate)

    def growing(t, q, v):
        return jnp.exp(rate * t) * spring(t, q, v)

    times = np.linspace(0, 5, 11)
    fast = np.sqrt(1.69 - 0.01)
    swing = np.outer(np.cos(fast * times), START) + np.outer(np.sin(fast * times), PUSH + 0.1 * START) / fast
    exact = np.exp(-0.1 * times)[:, None] * swing
    bound = 3e-3 if method.order == 2 else 1e-10  # c h^p with h = 0.05
    for system in (dragged, growing, contact):
        flow = fl.integrate(system, START, PUSH, t1=5.0, steps=100, save_every=10, method=method)
        np.testing.assert_allclose(flow.q, exact, atol=bound)
    # The action of the contact motion: s' = L - rate s.
    action = solve_ivp(
        lambda t, y: [
            *y[2:4],
            *(-1.69 * y[:2] - rate * y[2:4]),
            y[2:4] @ y[2:4] / 2 - 0.845 * y[:2] @ y[:2] - rate * y[4],
        ],
        (0, 5),
        [*START, *PUSH, 0.7],
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
    ).y[4, -1]
    flow = fl.integrate(contact, START, PUSH, t1=5.0, steps=100, method=method, s0=0.7)
    np.testing.assert_allclose(flow.s[-1], action, atol=bound)


def test_compensation_takes_round_off_from_a_long_sum():
    drift = fl.NaturalLagrangian(fl.EuclideanMetric(1.0))
    start, push = jnp.array([1.0], jnp.float32), jnp.array([0.1], jnp.float32)
    plain, compensated = (
        fl.integrate(drift, start, push, t1=1.0, steps=2**16, compensated=flag).q[-1] for flag in (False, True)
    )
    assert abs(compensated - 1.1) < 1.2e-7  # a unit of round-off
    assert abs(plain - 1.1) > 1e-4  # each increment of 1.5e-6 is rounded to units of 1.2e-7
