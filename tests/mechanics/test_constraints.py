"""Accelerations and multipliers under constraints against closed forms and free coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems

RNG = np.random.default_rng(8)
TIMES = np.linspace(-1, 2, 30)


def test_the_tension_of_the_spherical_pendulum():
    mass, length, gravity = 1.3, 0.8, 9.81
    system = fl.Constrained(
        fl.NaturalLagrangian(fl.EuclideanMetric(mass), lambda q: mass * gravity * q[2]),
        lambda q: jnp.linalg.norm(q) - length,
    )
    q, v = RNG.normal(size=(2, 30, 3))
    q *= length / np.linalg.norm(q, axis=1, keepdims=True)
    v -= q * np.sum(q * v, axis=1, keepdims=True) / length**2
    a, multipliers = jax.jit(jax.vmap(lambda q, v: fl.constrained_acceleration(system, 0.0, q, v)))(q, v)
    tension = mass * (np.sum(v**2, axis=1) - gravity * q[:, 2]) / length
    np.testing.assert_allclose(-multipliers[:, 0], tension, rtol=1e-12)  # round-off
    np.testing.assert_allclose(
        a, -tension[:, None] * q / length / mass - np.array([0, 0, gravity]), rtol=1e-11, atol=1e-12
    )


def test_the_tension_is_differentiable_in_the_mass():
    def tension(mass):
        falling = fl.NaturalLagrangian(fl.EuclideanMetric(mass), lambda q: mass * 9.81 * q[1])
        system = fl.Constrained(falling, lambda q: jnp.linalg.norm(q) - 1.0)
        _, multipliers = fl.constrained_acceleration(system, 0.0, jnp.array([0.0, -1.0]), jnp.array([2.0, 0.0]))
        return -multipliers[0]

    np.testing.assert_allclose(jax.jit(jax.grad(tension))(2.0), 9.81 + 4, rtol=1e-13)  # round-off


def relativistic(t, x, w):
    """Nonseparable, with magnetic terms and explicit time."""
    return -jnp.sqrt(1 + x[2] ** 2 - w @ w / 50) * jnp.exp(0.2 * t) + x[0] * w[1] - x[2] * w[0] - jnp.cos(t) * x @ x


def drag(t, x, w):
    return -0.3 * w + jnp.stack([x[1], -t * x[0], w[0] * w[1]])


def test_any_lagrangian_moves_on_a_surface_as_in_its_coordinates():
    def point(u):
        return jnp.stack([u[0], u[1], jnp.sin(u[0]) * u[1] + u[1] ** 2 / 2])

    def lifted(u, w):
        return jax.jvp(point, (u,), (w,))

    def surface(x):
        return jnp.sin(x[0]) * x[1] + x[1] ** 2 / 2 - x[2]

    free = fl.Forced(
        lambda t, u, w: relativistic(t, *lifted(u, w)),
        lambda t, u, w: jax.jacfwd(point)(u).T @ drag(t, *lifted(u, w)),
    )
    # Forces may stand inside and outside the mark of the constraint.
    inner = fl.Constrained(fl.Forced(relativistic, lambda *state: 0.3 * drag(*state)), surface)
    system = fl.Forced(inner, lambda *state: 0.7 * drag(*state))

    @jax.jit
    @jax.vmap
    def both(t, u, w):
        b = fl.acceleration(free, t, u, w)
        return fl.acceleration(system, t, *lifted(u, w)), jax.jvp(lambda u, w: lifted(u, w)[1], (u, w), (w, b))[1]

    found, expected = both(TIMES, *RNG.normal(size=(2, 30, 2)))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)  # round-off times the condition of the saddle


def test_nested_constraints_make_a_double_pendulum():
    pendulum = problems.DoublePendulum(masses=(1.5, 0.7), lengths=(1.2, 0.8), gravity=9.81)

    def points(u):
        rods = jnp.asarray([1.2, 0.8])[:, None] * jnp.stack([jnp.sin(u), -jnp.cos(u)], axis=1)
        return {"first": rods[0], "second": rods[0] + rods[1]}

    def falling(t, x, w):
        first, second = w["first"], w["second"]
        height = 1.5 * x["first"][1] + 0.7 * x["second"][1]
        return 1.5 * first @ first / 2 + 0.7 * second @ second / 2 - 9.81 * height

    upper = fl.Constrained(falling, lambda x: x["first"] @ x["first"] - 1.2**2)
    system = fl.Constrained(upper, lambda x: jnp.sum((x["second"] - x["first"]) ** 2) - 0.8**2)

    @jax.jit
    @jax.vmap
    def both(u, w):
        b = pendulum.acceleration(u, w)

        def velocity(u, w):
            return jax.jvp(points, (u,), (w,))[1]

        found, multipliers = fl.constrained_acceleration(system, 0.0, points(u), velocity(u, w))
        defects = fl.constraint_defect(system, points(u), velocity(u, w))
        return found, jax.jvp(velocity, (u, w), (w, b))[1], multipliers, defects

    found, expected, multipliers, defects = both(*RNG.normal(size=(2, 30, 2)))
    assert multipliers.shape == (30, 2)
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-11, atol=1e-11)  # round-off
    np.testing.assert_allclose(defects, 0, atol=1e-14)


SLEIGH = {"mass": 1.4, "inertia": 0.3, "arm": 0.6}


def sleigh(t, q, v):
    """Chaplygin's sleigh: the blade at (x, y), the centre of mass an arm ahead."""
    speed = v[:2] + SLEIGH["arm"] * v[2] * jnp.stack([-jnp.sin(q[2]), jnp.cos(q[2])])
    return SLEIGH["mass"] * speed @ speed / 2 + SLEIGH["inertia"] * v[2] ** 2 / 2


def blade(q):
    return jnp.stack([-jnp.sin(q[2]), jnp.cos(q[2]), 0 * q[2]])[None]


def test_the_chaplygin_sleigh_follows_its_closed_form():
    # u = U tanh kt, omega = W sech kt with k = m a U / J, J U'^2 = m: the sleigh turns until it runs straight.
    mass, arm = SLEIGH["mass"], SLEIGH["arm"]
    moment = SLEIGH["inertia"] + mass * arm**2
    turn = 0.9
    speed = turn * np.sqrt(moment / mass)
    k = mass * arm * speed / moment

    def velocity(t):
        heading = 2 * turn / k * jnp.arctan(jnp.tanh(k * t / 2))
        along = speed * jnp.tanh(k * t)
        return heading, jnp.stack([along * jnp.cos(heading), along * jnp.sin(heading), turn / jnp.cosh(k * t)])

    @jax.jit
    @jax.vmap
    def each(t):
        (heading, v), (_, a) = jax.jvp(velocity, (t,), (jnp.ones_like(t),))
        q = jnp.stack([1.0 + t, 2.0 - t, heading])
        along = v[0] * jnp.cos(heading) + v[1] * jnp.sin(heading)
        lateral = mass * (along * v[2] + arm * a[2])
        return a, lateral, fl.constrained_acceleration(fl.Nonholonomic(sleigh, blade), 0.0, q, v)

    a, lateral, (found, multipliers) = each(3 * TIMES)
    np.testing.assert_allclose(found, a, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(multipliers[:, 0], lateral, rtol=1e-11, atol=1e-13)


def falling_disk(t, q, v):
    """The falling rolling disk in (x, y, heading, tilt, roll), Bloch (2003), section 1.5."""
    _, _, heading, tilt, _ = q
    radius, mass, spin, diameter, gravity = 0.7, 1.2, 0.5, 0.3, 9.81
    turning, tilting, rolling = v[2], v[3], v[4]
    along = v[0] * jnp.cos(heading) + v[1] * jnp.sin(heading) + radius * rolling
    across = -v[0] * jnp.sin(heading) + v[1] * jnp.cos(heading)
    axial = turning * jnp.sin(tilt) + rolling
    translation = (
        (along - radius * axial) ** 2
        + across**2 * jnp.sin(tilt) ** 2
        + (across * jnp.cos(tilt) + radius * tilting) ** 2
    )
    rotation = diameter * (tilting**2 + turning**2 * jnp.cos(tilt) ** 2) + spin * axial**2
    return (mass * translation + rotation) / 2 - mass * gravity * radius * jnp.cos(tilt)


def rolling(q):
    heading, radius = q[2], 0.7
    zero, one = 0 * heading, 1 + 0 * heading
    return jnp.stack(
        [
            jnp.stack([one, zero, zero, zero, radius * jnp.cos(heading)]),
            jnp.stack([zero, one, zero, zero, radius * jnp.sin(heading)]),
        ]
    )


def test_a_rolling_disk_keeps_its_energy_and_its_constraints():
    system = fl.Nonholonomic(falling_disk, rolling)

    @jax.jit
    @jax.vmap
    def each(q, v):
        v = v.at[:2].set(-0.7 * v[4] * jnp.stack([jnp.cos(q[2]), jnp.sin(q[2])]))
        a = fl.acceleration(system, 0.0, q, v)
        rate = jax.jvp(lambda q, v: fl.energy(system, 0.0, q, v), (q, v), (v, a))[1]
        slip = jax.jvp(lambda q, v: rolling(q) @ v, (q, v), (v, a))[1]
        return rate, slip, a

    rate, slip, a = each(*RNG.normal(size=(2, 30, 5)))
    np.testing.assert_allclose(rate, 0, atol=1e-10)  # round-off of terms up to 1e3
    np.testing.assert_allclose(slip, 0, atol=1e-11)
    assert np.min(np.abs(a[:, 3])) > 1e-3


def test_a_massless_coordinate_follows_its_constraint():
    system = fl.Constrained(lambda t, q, v: v[0] ** 2 / 2 - q[1], lambda q: q[1] - q[0] ** 2 / 2)
    # On the surface L = v^2 / 2 - x^2 / 2.
    a, multipliers = jax.jit(lambda q, v: fl.constrained_acceleration(system, 0.0, q, v))(
        jnp.array([3.0, 4.5]), jnp.array([2.0, 6.0])
    )
    np.testing.assert_allclose([*a, *multipliers], [-3, 4 - 9, 1], rtol=1e-13)


def test_dependent_constraints_give_nan():
    rows = RNG.normal(size=(200, 3, 5))
    rows[:, 2] = (rows[:, 0] - 3 * rows[:, 1]) * 10.0 ** RNG.uniform(-4, 4, size=(200, 1))

    def acceleration(rows, q, v):
        system = fl.Constrained(lambda t, q, v: (1 + q @ q) * (v @ v) / 2 + q[0] * v[1], lambda q: rows @ q)
        return fl.constrained_acceleration(system, 0.0, q, v)

    q, v = RNG.normal(size=(2, 200, 5))
    both = jax.jit(jax.vmap(acceleration))
    assert np.all(np.isnan(both(rows, q, v)[0]))
    rows[:, 2] += 1e-4 * rows[:, 2, ::-1]
    assert np.all(np.isfinite(both(rows, q, v)[0]))


def free(t, q, v):
    return v @ v / 2


def test_wrong_constraints_are_refused():
    q = jnp.ones(2)
    with pytest.raises(ValueError, match="no constraints"):
        jax.eval_shape(lambda q: fl.constrained_acceleration(free, 0.0, q, q), q)
    with pytest.raises(ValueError, match="3 constraints on 2 coordinates"):
        jax.eval_shape(
            lambda q: fl.acceleration(fl.Constrained(free, lambda q: jnp.stack([q[0], q[1], q @ q])), 0.0, q, q), q
        )
    with pytest.raises(ValueError, match=r"one_forms\(q\) must have shape \(m, 2\)"):
        jax.eval_shape(lambda q: fl.acceleration(fl.Nonholonomic(free, lambda q: q), 0.0, q, q), q)


def test_constrained_functions_keep_structure_and_precision():
    state = {"x": jnp.array([0.6, 0.8], jnp.float32), "y": jnp.float32(1)}
    velocity = {"x": jnp.array([0.8, -0.6], jnp.float32), "y": jnp.float32(2)}
    system = fl.Constrained(lambda t, q, v: v["x"] @ v["x"] / 2 + v["y"] ** 2 - q["y"], lambda q: q["x"] @ q["x"] - 1)

    @jax.jit
    def each(q, v):
        return fl.constrained_acceleration(system, 0.0, q, v), fl.constraint_defect(system, q, v)

    (a, multipliers), defects = each(state, velocity)
    assert {leaf.dtype.name for leaf in jax.tree.leaves((a, multipliers, defects))} == {"float32"}
    np.testing.assert_allclose([*a["x"], a["y"], *multipliers], [-0.6, -0.8, -0.5, -0.5], rtol=1e-6)
