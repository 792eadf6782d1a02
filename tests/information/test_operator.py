"""The information as an operator: products, diagonal and solves agree with the matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl
from fimlag._flat import flatten
from fimlag.information._linearised import LinearisedRoot, linearised

NORMAL = fl.families.Normal()
INPUTS = jnp.linspace(0.0, 3.0, 600)
THETA = {"a": jnp.array([1.5, 0.4]), "b": jnp.array(0.2), "s": jnp.array(-0.3)}
V = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(3.0), "s": jnp.array(-1.0)}
information = eqx.filter_jit(fl.fisher_information)
operator_at = eqx.filter_jit(lambda model, theta: fl.fisher_operator(model, theta, throw=False))


def curve(theta, x):
    mean = theta["a"][0] * jnp.exp(-theta["a"][1] * x) + theta["b"]
    return jnp.stack([mean, jnp.exp(theta["s"])])


def sampler(key, theta, n):
    return theta[0] + theta[1] * jax.random.normal(key, (n,), theta.dtype)


CURVE = fl.ConditionalModel(curve, NORMAL, INPUTS)
POINT = jnp.array([0.3, 0.5])
DENSITIES = {
    "closed form": NORMAL,
    "quadrature": NORMAL.model,
    "blocks of a sample": fl.StatisticalModel(
        NORMAL.log_likelihood, fl.MonteCarlo(sampler, 3_000, jax.random.key(0), chunk=1_000)
    ),
    "a last block that is not full": fl.StatisticalModel(
        NORMAL.log_likelihood, fl.Empirical(jnp.sin(jnp.arange(2_500.0)), chunk=1_000)
    ),
    "two experiments": fl.ProductModel(NORMAL, fl.GaussianModel(lambda theta: theta, jnp.ones(()))),
}


@eqx.filter_jit
def all_products(model, theta, v):
    operator = fl.fisher_operator(model, theta, throw=False)
    rows = jnp.cos(jnp.arange(operator.rows, dtype=v.dtype))
    return {
        "succeeded": operator.succeeded,
        "information": fl.fisher_information(model, theta),
        "product": operator.mv(v),
        "matrix": operator.as_matrix(),
        "diagonals": (lx.diagonal(operator), fl.fisher_diagonal(model, theta)),
        "quadratic": operator.quadratic(v),
        "adjoint gap": rows @ operator.root_mv(v) - operator.root_transpose_mv(rows) @ v,
    }


@pytest.mark.parametrize("name", DENSITIES)
def test_products_diagonal_and_matrix_are_those_of_the_information(name):
    v = jnp.array([1.0, -2.0])
    found = all_products(DENSITIES[name], POINT, v)
    matrix = found["information"]
    # Round-off of sums of up to 3,000 terms in another order.
    tolerance = 1e-12 * jnp.max(jnp.abs(matrix))
    assert found["succeeded"]
    assert jnp.max(jnp.abs(found["product"] - matrix @ v)) < tolerance
    assert jnp.max(jnp.abs(found["matrix"] - matrix)) < tolerance
    for diagonal in found["diagonals"]:
        assert jnp.max(jnp.abs(diagonal - jnp.diag(matrix))) < tolerance
    assert abs(found["quadratic"] - v @ matrix @ v) < 4.0 * tolerance
    # The two maps of a root are transposes: u.(J v) = (J^T u).v, here of sums of some hundred.
    assert abs(found["adjoint gap"]) < 1e-11


def test_products_keep_the_structure_of_theta():
    @jax.jit
    def products(theta, v):
        operator = fl.fisher_operator(CURVE, theta, throw=False)
        return operator.mv(v), operator.as_matrix(), lx.materialise(operator).as_matrix()

    product, matrix, columns = products(THETA, V)
    assert jax.tree_util.tree_structure(product) == jax.tree_util.tree_structure(THETA)
    assert product["b"].shape == ()
    assert jnp.max(jnp.abs(flatten(product)[0] - matrix @ flatten(V)[0])) < 1e-12 * jnp.max(jnp.abs(matrix))
    assert jnp.max(jnp.abs(columns - matrix)) < 1e-12 * jnp.max(jnp.abs(matrix))
    with pytest.raises(ValueError, match="structure"):
        operator_at(CURVE, THETA).mv(jnp.ones(4))


def test_a_linearisation_too_large_to_keep_is_made_anew_in_each_product():
    def root(n):
        rule = fl.MonteCarlo(sampler, n, jax.random.key(0), chunk=1_000)
        return fl.StatisticalModel(NORMAL.log_likelihood, rule).information_roots(POINT)[0]

    # 30 million outcomes of two parameters: at least 0.5 GB.
    assert eqx.filter_eval_shape(linearised, root(30_000_000)).tangent is None
    kept = linearised(root(3_000))
    assert kept.tangent is not None
    v = jnp.array([1.0, -2.0])
    rows = jnp.sin(jnp.arange(3_000.0))

    @jax.jit
    def products(root):
        return root.gram_times(v), root.times(v), root.transposed_times(rows)

    for a, b in zip(products(kept), products(LinearisedRoot(kept.root, None)), strict=True):
        assert jnp.max(jnp.abs(a - b)) < 1e-13 * jnp.max(jnp.abs(a))


def test_operators_pass_through_jit_and_vmap():
    thetas = jax.tree_util.tree_map(lambda leaf: jnp.stack([leaf, 1.1 * leaf]), THETA)
    operators = jax.jit(jax.vmap(lambda theta: fl.fisher_operator(CURVE, theta, throw=False)))(thetas)
    assert all(eqx.is_array(leaf) for leaf in jax.tree_util.tree_leaves(operators))
    products = jax.jit(jax.vmap(lambda operator: flatten(operator.mv(V))[0]))(operators)
    second = jax.tree_util.tree_map(lambda leaf: leaf[1], thetas)
    for product, theta in zip(products, (THETA, second), strict=True):
        expected = flatten(operator_at(CURVE, theta).mv(V))[0]
        assert jnp.max(jnp.abs(product - expected)) < 1e-12 * jnp.max(jnp.abs(expected))


def test_products_and_solves_differentiate_as_those_of_the_matrix():
    v, identity = flatten(V)[0], jnp.eye(4)

    def products(theta):
        operator = fl.fisher_operator(CURVE, theta, throw=False)
        solution = lx.linear_solve(operator.damped(0.1), V, lx.CG(1e-13, 1e-13)).value
        return flatten(operator.mv(V))[0], flatten(solution)[0]

    def by_matrix(theta):
        matrix = fl.fisher_information(CURVE, theta)
        return matrix @ v, jnp.linalg.solve(matrix + 0.1 * identity, v)

    def values_and_derivatives(function):
        values, pull = jax.vjp(function, THETA)
        slope = jax.jvp(lambda theta: function(theta)[0], (THETA,), (V,))[1]
        return *values, slope, flatten(pull((jnp.arange(1.0, 5.0), jnp.arange(4.0)))[0])[0]

    ours, expected = jax.jit(lambda: (values_and_derivatives(products), values_and_derivatives(by_matrix)))()
    for a, b in zip(ours, expected, strict=True):
        # Conjugate gradients stop at 1e-13; the derivatives lose the condition number, about 1e4, once.
        assert jnp.max(jnp.abs(a - b)) < 1e-9 * jnp.max(jnp.abs(b))


def test_derivative_of_a_product_sees_the_density_move():
    # d_k I = E[d_k(s s^T)] + E[s s^T s_k]: samples held fixed would lose the second term.
    def product(theta):
        return fl.fisher_operator(NORMAL.model, theta, throw=False).mv(jnp.ones(2))

    slope = jax.jit(jax.jacfwd(product))(POINT)
    assert jnp.max(jnp.abs(slope - jnp.array([[0.0, -2.0], [0.0, -4.0]]) / POINT[1] ** 3)) < 1e-9


@settings(max_examples=15)
@given(st.lists(st.floats(-3.0, 3.0), min_size=2, max_size=2), st.floats(-2.0, 2.0), st.floats(0.2, 5.0))
def test_the_operator_is_linear_symmetric_and_positive(v, mean, scale):
    operator = operator_at(NORMAL.model, jnp.array([mean, scale]))
    v, w = jnp.array(v), jnp.array([1.0, -0.5])
    size = (1.0 + jnp.sum(v**2)) / scale**2
    assert abs(w @ operator.mv(v) - v @ operator.mv(w)) < 1e-12 * size
    assert jnp.max(jnp.abs(operator.mv(v + w) - operator.mv(v) - operator.mv(w))) < 1e-12 * size
    assert operator.quadratic(v) >= 0.0


@pytest.mark.parametrize(
    ("expectation", "theta", "result"),
    [
        (fl.MonteCarlo(lambda k, t, n: 0.2 + sampler(k, t, n), 20_000, jax.random.key(0)), POINT, "biased_sample"),
        (fl.Quadrature(-jnp.inf, jnp.inf, nodes=9), POINT, "poor_quadrature"),
        (fl.MonteCarlo(sampler, 500, jax.random.key(0)), jnp.array([0.3, -0.5]), "nonfinite"),
        (fl.MonteCarlo(sampler, 500, jax.random.key(0), jnp.array([9.0, 0.5])), POINT, "poor_sample"),
    ],
)
def test_a_bad_expectation_is_reported_as_the_estimate_reports_it(expectation, theta, result):
    model = fl.StatisticalModel(NORMAL.log_likelihood, expectation)

    @jax.jit
    def verdicts(theta):
        operator = fl.fisher_operator(model, theta, throw=False)
        estimate = fl.fisher_estimate(model, theta, audit=False, throw=False)
        return operator.result, estimate.result, fl.fisher_diagonal(model, theta)

    of_operator, of_estimate, diagonal = verdicts(theta)
    assert of_operator == of_estimate == getattr(fl.RESULTS, result)
    assert jnp.all(jnp.isnan(diagonal))


def test_a_bias_of_many_parameters_is_seen_along_itself():
    def log_likelihood(theta, x):
        return -0.5 * jnp.sum((x - theta) ** 2) - 50.0 * jnp.log(2.0 * jnp.pi)

    def model(shift):
        rule = fl.MonteCarlo(lambda k, t, n: shift + t[None] + jax.random.normal(k, (n, 100)), 4_000, jax.random.key(1))
        return fl.StatisticalModel(log_likelihood, rule)

    assert operator_at(model(0.0), jnp.zeros(100)).succeeded
    # A mean score of norm 1 is 63 standard errors along itself; by chance it is 10.
    assert operator_at(model(0.1), jnp.zeros(100)).result == fl.RESULTS.biased_sample


def test_noise_that_fails_at_one_input_is_reported():
    poisson = fl.families.Poisson(20).model
    model = fl.ConditionalModel(lambda theta, x: theta * x, poisson, jnp.arange(1.0, 40.0))
    operator = operator_at(model, jnp.array(1.0))
    assert operator.result == fl.RESULTS.poor_quadrature


def test_single_precision_stays_single():
    theta = jax.tree_util.tree_map(lambda leaf: leaf.astype(jnp.float32), THETA)
    operator = operator_at(fl.ConditionalModel(curve, NORMAL, INPUTS.astype(jnp.float32)), theta)
    product = flatten(operator.mv(theta))[0]
    assert product.dtype == operator.as_matrix().dtype == jnp.float32
    expected = information(CURVE, THETA) @ flatten(THETA)[0]
    # A sum of 600 terms in single precision.
    assert jnp.max(jnp.abs(product.astype(float) - expected)) < 1e-5 * jnp.max(jnp.abs(expected))


def test_failures_raise_unless_asked_not_to():
    short = fl.StatisticalModel(fl.families.Poisson().log_likelihood, fl.ExactSum(jnp.arange(4)))
    with pytest.raises(Exception, match="do not sum to one"):
        fl.fisher_operator(short, jnp.array(3.0))


def test_what_does_not_fit_or_is_complex_raises():
    ridge = fl.ConditionalModel(lambda theta, x: jnp.stack([x * jnp.sum(theta), 1.0]), NORMAL, INPUTS[:2])
    operator = fl.fisher_operator(ridge, jnp.zeros(50_000))
    with pytest.raises(ValueError, match="19 GiB"):
        operator.as_matrix()
    with pytest.raises(ValueError, match="rows"):
        operator.root_transpose_mv(jnp.ones(7))
    with pytest.raises(TypeError, match="real"):
        fl.fisher_operator(ridge, jnp.zeros(3, complex))
