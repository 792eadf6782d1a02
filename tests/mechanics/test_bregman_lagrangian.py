"""The Bregman Lagrangian: its equations as published, Nesterov's closed form, its rates and its invariance."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import fimlag as fl

POINT, VELOCITY = jnp.array([0.4, 0.7]), jnp.array([0.3, -0.9])
EPS = float(np.finfo(float).eps)


def objective(x):
    return jnp.log(jnp.cosh(x[0] - 2 * x[1])) + 0.1 * jnp.log(jnp.cosh(x[0] + x[1]))


def potential(x):
    return jnp.sum(jnp.exp(x)) + x[0] * x[1] / 3


def half_plane(q):
    return jnp.diag(jnp.stack([1 / q[1] ** 2, 2 / q[1] ** 2]))


METRIC = fl.Metric(half_plane)
acceleration = jax.jit(fl.acceleration)
GEOMETRIES = {"euclidean": None, "mirror": potential, "metric": METRIC}


@pytest.mark.parametrize("p", [2.0, 3.0])
def test_polynomial_family_has_the_published_equation_of_motion(p):
    t, C = 1.3, 0.6
    for geometry in (None, potential):
        found = acceleration(fl.BregmanLagrangian.polynomial(objective, p, C, geometry), t, POINT, VELOCITY)
        ahead = POINT + t / p * VELOCITY
        hessian = np.eye(2) if geometry is None else np.diag(np.exp(ahead)) + (1 - np.eye(2)) / 3
        pull = np.linalg.solve(hessian, jax.grad(objective)(POINT))
        expected = -(p + 1) / t * VELOCITY - C * p**2 * t ** (p - 2) * pull
        np.testing.assert_allclose(found, expected, rtol=1e-12)  # round-off of a 2 by 2 solve


def test_motion_in_a_metric_is_a_damped_geodesic_that_is_pulled_downhill():
    t, p, C, distortion = 1.3, 3.0, 0.6, 1.4
    L = fl.BregmanLagrangian.polynomial(objective, p, C, METRIC, distortion=distortion)
    y, (u, w) = POINT[1], VELOCITY
    # Christoffel symbols of (dx^2 + 2 dy^2) / y^2
    geodesic = np.array([2 * u * w / y, -(u**2) / (2 * y) + w**2 / y])
    pull = np.linalg.solve(half_plane(POINT), jax.grad(objective)(POINT))
    expected = geodesic - (distortion * p + 1) / t * VELOCITY - C * p**2 * t ** (p - 2) * pull
    np.testing.assert_allclose(acceleration(L, t, POINT, VELOCITY), expected, rtol=1e-12)


def test_exponential_family_has_the_published_equation_of_motion():
    t, c = 0.7, 1.6
    L = fl.BregmanLagrangian.exponential(objective, c, potential)
    ahead = POINT + VELOCITY / c
    pull = np.linalg.solve(np.diag(np.exp(ahead)) + (1 - np.eye(2)) / 3, jax.grad(objective)(POINT))
    expected = -c * VELOCITY - c**2 * np.exp(c * t) * pull
    np.testing.assert_allclose(acceleration(L, t, POINT, VELOCITY), expected, rtol=1e-12)


def test_a_model_stands_for_its_fisher_metric():
    normal = fl.families.Normal()
    by_model, by_metric = (
        fl.BregmanLagrangian.polynomial(objective, 2, 0.25, geometry) for geometry in (normal, fl.Metric(normal.fisher))
    )
    np.testing.assert_allclose(by_model(1.1, POINT, VELOCITY), by_metric(1.1, POINT, VELOCITY), rtol=8 * EPS)


@pytest.mark.parametrize("p", [2.0, 4.0])
def test_motion_on_a_quadratic_is_the_bessel_function(p):
    # x(t) = x0 J_1(s) / (s / 2), s = 2 sqrt(C curvature) t^(p / 2): for p = 2, C = 1/4 that of Su, Boyd & Candes.
    C, curvatures, begin = 0.25, np.array([1.0, 9.0]), np.array([1.0, -2.0])
    L = fl.BregmanLagrangian.polynomial(lambda x: x @ (jnp.asarray(curvatures) * x) / 2, p, C).dilated(jnp.exp)
    t0, t1 = np.log(1e-3) * 2 / p, np.log(5.0) * 2 / p
    # From a state right to e^(2 beta), 2e-13 here; six orders in h omega = 0.16 p at the end give 1e-10.
    flow = fl.integrate(
        L, *L.start(jnp.asarray(begin), t0), t0=t0, t1=t1, steps=800, save_every=40, method=fl.GaussLegendre(3)
    )
    s = 2 * np.sqrt(C * curvatures) * np.exp(np.asarray(flow.t))[:, None] ** (p / 2)
    np.testing.assert_allclose(flow.q, begin * scipy.special.j1(s) / (s / 2), atol=2e-10)


def test_motion_is_that_of_an_adaptive_solver_of_the_published_equation():
    L, start, t0, t1 = fl.BregmanLagrangian.polynomial(objective, 3, 0.2), jnp.array([2.0, -1.0]), 0.5, 6.0
    flow = fl.integrate(L, start, 0 * start, t0=t0, t1=t1, steps=1200, save_every=1200, method=fl.GaussLegendre(3))

    def field(t, state, _):
        x, v = state
        return v, -4 / t * v - 0.2 * 9 * t * jax.grad(objective)(x)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Dopri8(), t0, t1, 1e-3, (start, 0 * start),
        stepsize_controller=diffrax.PIDController(rtol=1e-11, atol=1e-12), max_steps=100_000,
    )  # fmt: skip
    np.testing.assert_allclose(flow.q[-1], solution.ys[0][-1], atol=1e-9)  # the adaptive solver's, over some 100 steps


@pytest.fixture(scope="module")
def descents():
    """Motions of p = 2, 3, 4 down a flat bowl and a valley, by one program, in the logarithm of the time."""

    def motion(p, f, begin):
        L = fl.BregmanLagrangian.polynomial(f, p, 1.0)
        slow = L.dilated(jnp.exp)
        flow = fl.integrate(
            slow, *slow.start(begin, -6.0 / p), t0=-6.0 / p, t1=9.0 / p, steps=3000, save_every=10,
            method=fl.ImplicitMidpoint(), throw=False,
        )  # fmt: skip
        times = jnp.exp(flow.t)
        lyapunov = jax.vmap(lambda *state: slow.lyapunov(*state, jnp.zeros(2)))(flow.t, flow.q, flow.v)
        return times, jax.vmap(f)(flow.q), lyapunov, flow.succeeded

    powers = jnp.array([2.0, 3.0, 4.0])
    return {
        name: jax.jit(jax.vmap(lambda p, f=f: motion(p, f, jnp.array([1.1, 0.6]))))(powers)
        for name, f in (("bowl", lambda x: jnp.sum(x**2) ** 4), ("valley", objective))
    }


def test_the_gap_closes_as_the_power_of_time(descents):
    # On |x|^r with r = 8 every motion tends to x ~ t^(-p / (r - 2)), so that f ~ t^(-p r / (r - 2)).
    times, values, _, succeeded = descents["bowl"]
    assert bool(jnp.all(succeeded))
    late = slice(-100, None)
    slopes = [np.polyfit(np.log(t[late]), np.log(f[late]), 1)[0] for t, f in zip(times, values, strict=True)]
    np.testing.assert_allclose(slopes, [-p * 8 / 6 for p in (2, 3, 4)], rtol=0.02)


@pytest.mark.parametrize("name", ["bowl", "valley"])
def test_the_lyapunov_function_never_increases_and_bounds_the_gap(descents, name):
    times, values, lyapunov, succeeded = descents[name]
    assert bool(jnp.all(succeeded))
    # The midpoint rule's own error, h^2 = 2.5e-5 at h = 15 / 3000.
    assert float(jnp.max(lyapunov[:, 1:] / lyapunov[:, :-1])) < 1 + 1e-4
    powers = jnp.array([2.0, 3.0, 4.0])[:, None]
    assert bool(jnp.all(values * times**powers <= lyapunov[:, :1] * (1 + 1e-4)))
    for p, t, f in zip((2, 3, 4), times, values, strict=True):
        assert np.polyfit(np.log(t[100:]), np.log(f[100:]), 1)[0] < -p


@pytest.mark.slow
def test_the_lyapunov_function_of_a_mirror_geometry_never_increases():
    L = fl.BregmanLagrangian.polynomial(lambda x: jnp.sum((x - 1) ** 2) / 2, 2, 0.25, potential)
    flow = fl.integrate(L, *L.start(jnp.array([-1.0, 2.0]), 0.05), t0=0.05, t1=8.0, steps=800, save_every=20)
    lyapunov = jax.vmap(lambda *state: L.lyapunov(*state, jnp.ones(2)))(flow.t, flow.q, flow.v)
    assert float(jnp.max(jnp.diff(lyapunov))) < 1e-4  # h^2
    assert float(lyapunov[-1]) < 0.5 * float(lyapunov[0])


def test_ideal_scaling_is_told_from_other_scalings():
    for family in (
        fl.BregmanLagrangian.polynomial(objective, 3, 0.5),
        fl.BregmanLagrangian.exponential(objective, 0.8),
        fl.BregmanLagrangian.polynomial(objective, 3, 0.5).dilated(lambda t: t**2 + t),
    ):
        np.testing.assert_allclose(family.scaling_defect(1.7), [0.0, 0.0], atol=16 * EPS)
    # x'' + (r / t) x' + grad f = 0 with r = 5: alpha = log (r - 1) / t, beta = 2 log t / (r - 1), rate below e^alpha
    slow = fl.BregmanLagrangian(
        objective, lambda t: jnp.log(4 / t), lambda t: 2 * jnp.log(t / 4), lambda t: 4 * jnp.log(t)
    )
    np.testing.assert_allclose(slow.scaling_defect(2.0), [-1.0, 0.0], atol=16 * EPS)
    expected = -5 / 2.0 * VELOCITY - jax.grad(objective)(POINT)
    np.testing.assert_allclose(acceleration(slow, 2.0, POINT, VELOCITY), expected, rtol=1e-12)
    curved = fl.BregmanLagrangian.polynomial(objective, 2, 0.5, METRIC, distortion=1.5)
    np.testing.assert_allclose(curved.scaling_defect(2.0), [0.0, 0.5], atol=16 * EPS)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_curve_at_another_speed_solves_the_dilated_lagrangian(geometry):
    L = fl.BregmanLagrangian(objective, lambda t: t / 3, lambda t: t**2 / 2, lambda t: jnp.sin(t), geometry)

    def clock(t):
        return t + t**3 / 5

    t = jnp.asarray(0.9)
    pace, bend = jax.grad(clock)(t), jax.grad(jax.grad(clock))(t)
    there = acceleration(L, clock(t), POINT, VELOCITY / pace)
    found = acceleration(L.dilated(clock), t, POINT, VELOCITY)
    np.testing.assert_allclose(found, there * pace**2 + VELOCITY / pace * bend, rtol=1e-10)


def test_polynomial_families_are_one_curve_at_different_speeds():
    two, three = (fl.BregmanLagrangian.polynomial(objective, p, 0.4, potential) for p in (2, 3))
    found = two.dilated(lambda t: t**1.5)(1.7, POINT, VELOCITY)
    np.testing.assert_allclose(found, three(1.7, POINT, VELOCITY), rtol=1e-13)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_start_solves_the_equation_of_motion_to_its_order(geometry):
    L = fl.BregmanLagrangian.polynomial(objective, 2, 0.25, geometry)

    def defect(t):
        q, v = L.start(POINT, t)
        return jnp.linalg.norm(acceleration(L, t, q, v) - v / t)  # x - x0 = -a t^2 w: its acceleration is v / t

    early, late = defect(0.01), defect(0.1)
    np.testing.assert_allclose(np.log10(late / early), 2 if geometry is not potential else 1.99, atol=0.1)


def test_mirror_geometry_keeps_its_digits_for_short_steps():
    # e^-alpha = 1e-9: as a difference D_h would have lost all of them.
    L = fl.BregmanLagrangian(lambda x: 0.0 * x[0], lambda t: 9 * jnp.log(10.0), lambda t: t, lambda t: t, potential)
    mass = jax.jit(fl.mass_matrix)(L, 0.0, POINT, VELOCITY)
    np.testing.assert_allclose(mass, 1e-9 * jax.hessian(potential)(POINT), rtol=1e-6)
    np.testing.assert_allclose(L(0.0, POINT, VELOCITY), VELOCITY @ mass @ VELOCITY / 2, rtol=1e-6)


def test_energy_is_the_bregman_hamiltonian():
    L = fl.BregmanLagrangian.polynomial(objective, 2, 0.25)
    p = fl.momentum(L, 1.5, POINT, VELOCITY)
    expected = 2 / 1.5**3 * (p @ p) / 2 + 2 * 0.25 * 1.5**3 * objective(POINT)
    np.testing.assert_allclose(fl.energy(L, 1.5, POINT, VELOCITY), expected, rtol=1e-13)
    np.testing.assert_allclose(fl.hamiltonian(L)(1.5, POINT, p), expected, rtol=1e-13)


@pytest.mark.slow
def test_pytrees_single_precision_and_derivatives():
    def split(x):
        return {"a": x[0], "b": x[1]}

    def tree(f):
        return lambda x: f(jnp.stack([x["a"], x["b"]]))

    for geometry in (None, potential):
        flat = fl.BregmanLagrangian.polynomial(objective, 2, 0.25, geometry)
        folded = fl.BregmanLagrangian.polynomial(tree(objective), 2, 0.25, None if geometry is None else tree(geometry))
        np.testing.assert_allclose(
            folded(1.2, split(POINT), split(VELOCITY)), flat(1.2, POINT, VELOCITY), rtol=16 * EPS
        )
        q, v = (x.astype(jnp.float32) for x in (POINT, VELOCITY))
        assert flat(1.2, q, v).dtype == flat.lyapunov(1.2, q, v, 0 * q).dtype == jnp.float32
        assert {x.dtype for x in flat.start(q, 0.1)} == {jnp.dtype(jnp.float32)}
    slope = jax.grad(lambda C: fl.BregmanLagrangian.polynomial(objective, 2, C)(1.2, POINT, VELOCITY))(0.25)
    np.testing.assert_allclose(slope, -2 * 1.2**3 * objective(POINT), rtol=1e-13)


def test_what_is_not_known_is_refused():
    with pytest.raises(TypeError, match="potential"):
        fl.BregmanLagrangian.polynomial(objective, 2, 0.25, METRIC).lyapunov(1.0, POINT, VELOCITY, POINT)
    with pytest.raises(ValueError, match="scalar"):
        fl.acceleration(fl.BregmanLagrangian.polynomial(lambda x: x, 2, 0.25), 1.0, POINT, VELOCITY)
