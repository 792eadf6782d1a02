"""Lagrangians linear in the velocity against the first-order equations they are known to give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

RNG = np.random.default_rng(7)
TIMES = np.linspace(-1, 2, 30)


def pair_energy(t, z):
    """A Hamiltonian of two degrees of freedom that depends on the time."""
    q, p = z["q"], z["p"]
    return jnp.exp(0.1 * q[0]) * p @ p / 2 + p[0] * q[1] ** 2 + jnp.cos(t) * q @ q


ONE_FORMS = {
    "p dq": lambda t, z: {"q": z["p"], "p": 0 * z["q"]},
    "-q dp": lambda t, z: {"q": 0 * z["p"], "p": -z["q"]},
    "half of each, and a gradient": lambda t, z: {"q": z["p"] / 2 + 3 * z["q"] ** 2, "p": -z["q"] / 2 + z["p"]},
}


def test_canonical_one_forms_give_the_equations_of_hamilton():
    systems = [fl.PhaseSpaceLagrangian(one_form, pair_energy) for one_form in ONE_FORMS.values()]

    @jax.jit
    @jax.vmap
    def each(t, z):
        by = jax.grad(pair_energy, argnums=1)(t, z)
        velocities = [fl.phase_velocity(system, t, z) for system in systems]
        return {"q": by["p"], "p": jax.tree.map(jnp.negative, by["q"])}, velocities

    z = {"q": RNG.normal(size=(30, 2)), "p": RNG.normal(size=(30, 2))}
    expected, velocities = each(TIMES, z)
    for found in velocities:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14), found, expected)


def test_the_form_of_p_dq_and_the_energy():
    z = {"p": jnp.array([0.3]), "q": jnp.array([0.5])}
    system = fl.PhaseSpaceLagrangian(ONE_FORMS["p dq"], lambda t, z: z["p"][0] ** 2)
    # Leaves come in the order of their names, p first.
    form, energy = jax.jit(lambda z: (fl.symplectic_form(system, 0.0, z), fl.energy(system, 0.0, z, z)))(z)
    np.testing.assert_array_equal(form, [[0, 1], [-1, 0]])
    np.testing.assert_allclose(energy, 0.3**2, rtol=1e-15)


def test_a_one_form_that_depends_on_the_time():
    # e^t p q' - H: e^t q' = H_p and (e^t p)' = -H_q.
    def lagrangian(t, z, w):
        return jnp.exp(t) * z[1] * w[0] - z[1] ** 2 * z[0]

    t, q, p = 0.4, 0.7, -1.2
    found = jax.jit(lambda t, z: fl.phase_velocity(lagrangian, t, z))(t, jnp.array([q, p]))
    np.testing.assert_allclose(found, [2 * p * q * np.exp(-t), -p - np.exp(-t) * p**2], rtol=1e-14)


def test_lotka_volterra_has_a_logarithmic_form():
    def one_form(t, z):
        return jnp.stack([jnp.log(z[1]) / z[0], 0 * z[0]])

    def hamiltonian(t, z):
        return 1.1 * jnp.log(z[1]) - 0.4 * z[1] + 0.4 * jnp.log(z[0]) - 0.1 * z[0]

    system = fl.PhaseSpaceLagrangian(one_form, hamiltonian)

    @jax.jit
    @jax.vmap
    def both(z):
        a = fl.acceleration(system, 0.0, z, field(z))
        return fl.phase_velocity(system, 0.0, z), fl.symplectic_form(system, 0.0, z), a

    def field(z):
        return jnp.stack([z[0] * (1.1 - 0.4 * z[1]), z[1] * (0.1 * z[0] - 0.4)])

    z = np.exp(RNG.normal(size=(30, 2)))
    velocity, form, acceleration = both(z)
    expected = jax.vmap(field)(z)
    np.testing.assert_allclose(velocity, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(form[:, 0, 1], -1 / z.prod(axis=1), rtol=1e-14)
    second = jax.vmap(lambda z: jax.jvp(field, (z,), (field(z),))[1])(z)
    np.testing.assert_allclose(acceleration, second, rtol=1e-11, atol=1e-12)


STRENGTHS = np.array([1.0, -0.7, 2.0, 0.4])


def vortices(t, z, w):
    """Kirchhoff's Lagrangian of point vortices, z of shape (n, 2)."""
    strengths = jnp.asarray(STRENGTHS, z.dtype)
    area = strengths @ (z[:, 1] * w[:, 0] - z[:, 0] * w[:, 1]) / 2
    i, j = np.triu_indices(len(STRENGTHS), 1)
    gaps = jnp.sum((z[i] - z[j]) ** 2, axis=1)
    return area + (strengths[i] * strengths[j]) @ jnp.log(gaps) / (4 * np.pi)


def test_point_vortices_move_by_the_law_of_helmholtz():
    points = RNG.normal(size=(20, 4, 2))
    found = jax.jit(jax.vmap(lambda z: fl.phase_velocity(vortices, 0.0, z)))(points)
    z = points[..., 0] + 1j * points[..., 1]
    gaps = z[:, :, None] - z[:, None, :] + np.where(np.eye(4), np.inf, 0)
    expected = np.conj(np.sum(STRENGTHS / gaps, axis=-1) / (2j * np.pi))
    np.testing.assert_allclose(np.asarray(found) @ [1, 1j], expected, rtol=1e-12)  # round-off over small gaps


def potential(x):
    return jnp.sin(x[0]) + x[0] * x[1] ** 2 + 0.3 * x[2] ** 2


def vector_potential(x):
    return jnp.stack([-0.5 * x[1] * (2 + x[2]), 0.5 * x[0] * (2 + 0.1 * x[1]), 0.2 * jnp.cos(x[0])])


def curl(field, x):
    jacobian = jax.jacfwd(field)(x)
    return jnp.stack(
        [jacobian[2, 1] - jacobian[1, 2], jacobian[0, 2] - jacobian[2, 0], jacobian[1, 0] - jacobian[0, 1]]
    )


def test_a_massless_charge_drifts_along_e_cross_b():
    def lagrangian(t, x, w):
        return 0.5 * (1 + x @ x) * (x[0] * w[1] - x[1] * w[0]) - jnp.sin(x[0]) * x[1]

    x = jnp.array([0.4, -0.8])
    magnetic = 1 + 2 * x @ x
    electric = -np.array([np.cos(x[0]) * x[1], np.sin(x[0])])
    drift = np.array([electric[1], -electric[0]]) / magnetic
    np.testing.assert_allclose(jax.jit(lambda x: fl.phase_velocity(lagrangian, 0.0, x))(x), drift, rtol=1e-13)


def test_a_guiding_centre_moves_by_the_equations_of_littlejohn():
    moment = 0.3

    def strength(x):
        return jnp.linalg.norm(curl(vector_potential, x))

    def direction(x):
        return curl(vector_potential, x) / strength(x)

    def hamiltonian(t, z):
        return z["u"] ** 2 / 2 + moment * strength(z["x"]) + potential(z["x"])

    def one_form(t, z):
        return {"x": vector_potential(z["x"]) + z["u"] * direction(z["x"]), "u": 0 * z["u"]}

    @jax.jit
    @jax.vmap
    def both(x, u):
        velocity = fl.phase_velocity(fl.PhaseSpaceLagrangian(one_form, hamiltonian), 0.0, {"x": x, "u": u})
        effective = curl(lambda x: vector_potential(x) + u * direction(x), x)
        slope = jax.grad(lambda x: moment * strength(x) + potential(x))(x)
        parallel = effective @ direction(x)
        expected = (u * effective + jnp.cross(direction(x), slope)) / parallel, -effective @ slope / parallel
        return (velocity["x"], velocity["u"]), expected

    found, expected = both(RNG.normal(size=(20, 3)), RNG.normal(size=20))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-11)  # round-off times the condition of the form


def test_friction_turns_the_drift_as_thiele_says():
    gyration, friction, pull = 1.5, 0.4, np.array([0.3, -0.7])

    def lagrangian(t, x, w):
        return gyration * x[1] * w[0] + pull @ x

    def drag(t, x, w):
        return -friction * w

    def curved(t, x, w):
        return drag(t, x, w) * (w @ w)

    @jax.jit
    def both(x):
        report = fl.phase_space_report(fl.Forced(lagrangian, curved), 0.0, x, throw=False)
        return fl.phase_velocity(fl.Forced(lagrangian, drag), 0.0, x), report

    found, report = both(jnp.ones(2))
    expected = np.linalg.solve([[friction, gyration], [-gyration, friction]], pull)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert report.result == fl.RESULTS.not_first_order
    assert np.all(np.isnan(report.velocity))


def test_a_degenerate_form_is_reported_with_its_direction():
    def lagrangian(t, z, w):
        """The form binds x + y to p alone: x - y and the idle coordinate are null."""
        return z["p"] * (w["x"] + w["y"]) - z["p"] ** 2 - (z["x"] - z["y"]) ** 2

    @jax.jit
    def report(x):
        z = {"p": 0.5, "x": x, "y": 1.0, "idle": 3.0}
        return fl.phase_space_report(lagrangian, 0.0, z, throw=False), fl.phase_velocity(lagrangian, 0.0, z)

    (off, velocity), (on, _) = report(2.0), report(1.0)
    assert np.all(np.isnan(jax.tree.leaves(velocity)))
    for each in (off, on):
        assert each.result == fl.RESULTS.degenerate_form
        assert each.nullity == 2
        direction = each.null_direction
        np.testing.assert_allclose([direction["p"], direction["x"] + direction["y"]], 0, atol=1e-15)
    # The gradient (4 - 2, -2) lies along x - y.
    np.testing.assert_allclose([off.obstruction, on.obstruction], [2 * np.sqrt(2), 0], atol=1e-14)
    with pytest.raises(RuntimeError, match="symplectic form is singular"):
        fl._results.raise_unless_successful(off, throw=True)


def test_what_is_not_linear_in_the_velocity_is_refused():
    def lagrangian(t, z, w):
        return z[1] * w[0] - z @ z + 1e-9 * w[0] ** 3

    @jax.jit
    def each(z):
        report = fl.phase_space_report(lagrangian, 0.0, z, throw=False)
        return fl.phase_velocity(lagrangian, 0.0, z), fl.symplectic_form(lagrangian, 0.0, z), report

    velocity, form, report = each(jnp.ones(2))
    assert np.all(np.isnan(velocity))
    assert np.all(np.isnan(form))
    assert report.result == fl.RESULTS.not_first_order
    with pytest.raises(ValueError, match="quadratic in the velocity"):
        fl.phase_velocity(fl.NaturalLagrangian(fl.EuclideanMetric(1.0)), 0.0, jnp.ones(2))


def test_an_odd_number_of_coordinates_is_refused():
    with pytest.raises(ValueError, match="even number of coordinates"):
        jax.eval_shape(lambda z: fl.phase_velocity(lambda t, z, w: z[1] * w[0] - z @ z, 0.0, z), jnp.ones(3))


def test_wrong_parts_of_a_phase_space_are_refused():
    def traced(one_form, hamiltonian):
        system = fl.PhaseSpaceLagrangian(one_form, hamiltonian)
        return jax.eval_shape(lambda z: fl.phase_velocity(system, 0.0, z), jnp.ones(2))

    with pytest.raises(ValueError, match="one_form has structure"):
        traced(lambda t, z: z[0], lambda t, z: z @ z)
    with pytest.raises(ValueError, match="Hamiltonian returns a scalar"):
        traced(lambda t, z: z, lambda t, z: z)


def test_phase_velocity_in_single_precision_and_its_derivative():
    def velocity(stiffness, z):
        system = fl.PhaseSpaceLagrangian(
            lambda t, z: jnp.stack([z[1], 0 * z[0]]), lambda t, z: stiffness * z[0] ** 2 / 2 + z[1] ** 2 / 2
        )
        return fl.phase_velocity(system, 0.0, z)

    z = jnp.array([3.0, 4.0], jnp.float32)
    value, slope = jax.jit(lambda k: jax.jvp(lambda k: velocity(k, z), (k,), (jnp.ones_like(k),)))(jnp.float32(2))
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal([value, slope], [[4, -6], [0, -3]])


@pytest.mark.parametrize("power", [3, 4])
def test_what_bends_only_across_the_diagonal_is_not_linear(power):
    def bent(t, z, w):
        return z[1] * w[0] - z @ z / 2 + (w[0] - w[1]) ** power

    assert np.all(np.isnan(fl.phase_velocity(bent, 0.0, jnp.array([3.0, 4.0]))))
