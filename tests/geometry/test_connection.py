"""The connection, and what it makes of fields and functions."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

MIXING = np.array([[1.0, 0.2, 0.0], [0.0, 1.0, 0.1], [0.3, 0.0, 1.0]])
POINT, U, W = jnp.array([0.3, -0.2, 0.7]), jnp.array([1.0, 0.3, -0.2]), jnp.array([0.2, -1.0, 0.5])


def bumpy(q):
    root = jnp.asarray(MIXING, q.dtype) + 0.3 * jnp.outer(jnp.sin(q), jnp.cos(q))
    return root @ root.T + jnp.eye(3, dtype=q.dtype)


def field(q):
    return jnp.stack([jnp.sin(q[0] * q[1]), q[2] ** 2, q[0] + q[1]])


def function(q):
    return jnp.sin(q[0]) * q[1] + q[2] ** 2 * q[0]


@jax.jit
def everything(q, u, w):
    return {
        "matrix": bumpy(q),
        "slope": jax.jacfwd(bumpy)(q),
        "first": fl.christoffel_first_kind(bumpy, q),
        "second": fl.christoffel(bumpy, q),
        "acceleration": fl.geodesic_acceleration(bumpy, q, u),
        "field": fl.covariant_derivative(bumpy, field, q, u),
        "form": fl.covariant_derivative_of_one_form(bumpy, field, q, u),
        "gradient": fl.riemannian_gradient(bumpy, function, q),
        "hessian": fl.covariant_hessian(bumpy, function, q),
        "laplacian": fl.laplace_beltrami(bumpy, function, q),
        "lie": fl.lie_derivative(bumpy, field, q),
        "field slope": jax.jacfwd(field)(q),
        "differential": jax.grad(function)(q),
        "second differential": jax.hessian(function)(q),
    }


@pytest.fixture(scope="module")
def found():
    return jax.tree_util.tree_map(np.asarray, everything(POINT, U, W))


# All tolerances below are round-off of numbers of order one.


def test_first_kind_is_the_second_lowered(found):
    np.testing.assert_allclose(found["first"], np.einsum("kl,lij->kij", found["matrix"], found["second"]), atol=1e-14)


def test_metric_is_parallel(found):
    # d_k g_ij = Gamma_j,ki + Gamma_i,kj
    total = np.einsum("jki->ijk", found["first"]) + np.einsum("ikj->ijk", found["first"])
    np.testing.assert_allclose(found["slope"], total, atol=1e-14)


def test_acceleration_contracts_the_symbols(found):
    expected = -np.einsum("kij,i,j->k", found["second"], U, U)
    np.testing.assert_allclose(found["acceleration"], expected, atol=1e-14)


def test_covariant_derivatives_of_fields_and_forms_contract_the_symbols(found):
    value, along = np.asarray(field(POINT)), found["field slope"] @ U
    np.testing.assert_allclose(found["field"], along + np.einsum("kij,i,j->k", found["second"], U, value), atol=1e-14)
    np.testing.assert_allclose(found["form"], along - np.einsum("kij,i,k->j", found["second"], U, value), atol=1e-14)


def test_covariant_hessian_is_the_derivative_of_the_differential(found):
    expected = found["second differential"] - np.einsum("kij,k->ij", found["second"], found["differential"])
    np.testing.assert_allclose(found["hessian"], expected, atol=1e-14)
    np.testing.assert_array_equal(found["hessian"], found["hessian"].T)


def test_laplacian_is_the_divergence_of_the_gradient(found):
    def density(q):
        return jnp.sqrt(jnp.linalg.det(bumpy(q)))

    def divergence(q):
        flux = jax.jacfwd(lambda q: density(q) * jnp.linalg.solve(bumpy(q), jax.grad(function)(q)))(q)
        return jnp.trace(flux) / density(q)

    np.testing.assert_allclose(found["laplacian"], jax.jit(divergence)(POINT), rtol=1e-13)
    np.testing.assert_allclose(found["matrix"] @ found["gradient"], found["differential"], atol=1e-14)


def test_lie_derivative_is_the_symmetric_part_of_the_covariant_derivative(found):
    # (L_X g)_ij = nabla_i X_j + nabla_j X_i
    columns = found["field slope"] + np.einsum("kij,j->ki", found["second"], field(POINT))
    lowered = found["matrix"] @ columns
    np.testing.assert_allclose(found["lie"], lowered + lowered.T, atol=1e-14)


def test_rotations_of_the_sphere_are_killing_fields():
    def sphere(q):
        return jnp.diag(jnp.stack([jnp.ones_like(q[0]), jnp.sin(q[0]) ** 2]))

    def rotation(q):
        return jnp.stack([jnp.sin(q[1]), jnp.cos(q[1]) / jnp.tan(q[0])])

    fields = (rotation, lambda q: jnp.array([1.0, 0.0]))
    turned, stretched = jax.jit(lambda q: [fl.lie_derivative(sphere, field, q) for field in fields])(POINT[:2])
    np.testing.assert_allclose(turned, 0.0, atol=1e-15)
    np.testing.assert_allclose(stretched[1, 1], jnp.sin(0.6), rtol=1e-15)


def test_points_and_vectors_may_be_pytrees(found):
    def flat(q):
        return jnp.append(q["a"], q["b"])

    def tree(vector):
        return {"a": vector[:2], "b": vector[2]}

    @jax.jit
    def of_trees(q, u):
        acceleration = fl.geodesic_acceleration(lambda q: bumpy(flat(q)), q, u)
        along = fl.covariant_derivative(lambda q: bumpy(flat(q)), lambda q: tree(field(flat(q))), q, u)
        return acceleration, along, fl.riemannian_gradient(lambda q: bumpy(flat(q)), lambda q: function(flat(q)), q)

    for ours, name in zip(of_trees(tree(POINT), tree(U)), ("acceleration", "field", "gradient"), strict=True):
        np.testing.assert_allclose(flat(ours), found[name], atol=1e-14)
        assert ours["b"].shape == ()


def largest_array(jaxpr):
    """The most numbers that any value of a program holds, in its inner programs too."""
    sizes = [var.aval.size for eqn in jaxpr.eqns for var in eqn.outvars]
    inner = [sub for eqn in jaxpr.eqns for sub in jax.extend.core.jaxprs_in_params(eqn.params)]
    return max(sizes + [largest_array(sub) for sub in inner])


def test_acceleration_and_sectional_curvature_form_no_cube():
    d = 40
    basis, direction = jnp.linspace(-1.0, 1.0, d), jnp.ones(d)

    def wide(q):
        root = jnp.eye(d) + 0.1 * jnp.outer(jnp.sin(q), basis)
        return root @ root.T

    families = fl.FisherMetric(fl.families.Categorical(d + 1))
    shares = jnp.full(d, 1.0 / (d + 1))
    programs = (
        jax.make_jaxpr(lambda q: fl.geodesic_acceleration(wide, q, direction))(basis),
        jax.make_jaxpr(lambda q: fl.geodesic_acceleration(families, q, direction))(shares),
        jax.make_jaxpr(lambda q: fl.sectional_curvature(wide, q, direction, basis))(basis),
        jax.make_jaxpr(lambda q: fl.alpha_acceleration(fl.families.Categorical(d + 1), q, direction, 0.5))(shares),
    )
    assert all(largest_array(program.jaxpr) <= 8 * d**2 for program in programs)
    assert largest_array(jax.make_jaxpr(lambda q: fl.christoffel(wide, q))(basis).jaxpr) >= d**3


def test_single_precision_stays_single():
    single = jax.tree_util.tree_map(np.asarray, everything(*(x.astype(jnp.float32) for x in (POINT, U, W))))
    double = everything(POINT, U, W)
    for name, value in single.items():
        assert value.dtype == np.float32, name
        # Round-off of numbers of order one, after a few sums.
        np.testing.assert_allclose(value, double[name], atol=3e-6, err_msg=name)


def test_acceleration_is_differentiable_and_batches():
    step = 1e-5
    points = jnp.stack([POINT, POINT + step * W, POINT - step * W])

    def both(q):
        return jax.jvp(lambda q: fl.geodesic_acceleration(bumpy, q, U), (q,), (W,))

    accelerations, slopes = jax.jit(jax.vmap(both))(points)
    # Truncation of central differences, about step^2.
    np.testing.assert_allclose(slopes[0], (accelerations[1] - accelerations[2]) / (2 * step), atol=1e-8)


def test_wrong_structures_are_refused():
    with pytest.raises(ValueError, match="structure"):
        fl.geodesic_acceleration(bumpy, POINT, U[:2])
    with pytest.raises(ValueError, match="structure"):
        fl.covariant_derivative(bumpy, lambda q: q[:2], POINT, U)
    with pytest.raises(ValueError, match="scalar"):
        fl.laplace_beltrami(bumpy, field, POINT)
    with pytest.raises(ValueError, match="shape"):
        fl.christoffel_first_kind(lambda q: jnp.eye(2), POINT)


def test_singular_metric_has_no_acceleration():
    found = jax.jit(lambda q, v: fl.geodesic_acceleration(lambda q: jnp.outer(q, q), q, v))(POINT, U)
    assert np.all(np.isnan(found))
