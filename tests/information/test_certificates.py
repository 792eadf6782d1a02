"""What tells a good Fisher matrix from a bad one: audits, tolerances, merged samples, propagated errors, memory."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

NORMAL = fl.families.Normal()
THETA = jnp.array([0.3, 0.7])
estimate = eqx.filter_jit(fl.fisher_estimate)
KEY = jax.random.key(7)


def draw_normal(key, theta, n):
    return theta[0] + theta[1] * jax.random.normal(key, (n,), theta.dtype)


def sampled(n, key=KEY, **options):
    return fl.StatisticalModel(NORMAL.log_likelihood, fl.MonteCarlo(draw_normal, n, key, **options))


def laplace(theta, x):
    return -jnp.abs(x - theta) - jnp.log(2.0)


def laplace_model(n=20_000):
    rule = fl.MonteCarlo(lambda key, theta, n: theta + jax.random.laplace(key, (n,)), n, KEY)
    return fl.StatisticalModel(laplace, rule)


class TestAudit:
    def test_a_kink_is_flagged_by_either_form(self):
        for form in ("score", "hessian"):
            found = estimate(laplace_model(), 0.3, form, throw=False)
            assert "kink" in fl.RESULTS[found.result]
            # The Hessian form misses all of the information, 1.
            assert abs(found.certificate.bartlett_gap[0] - 1.0) < 4.0 * found.certificate.bartlett_error[0] + 1e-9

    def test_the_hessian_form_of_a_kink_is_not_returned(self):
        assert jnp.isnan(fl.fisher_information(laplace_model(), 0.3, "hessian")[0, 0])

    def test_the_score_form_of_a_kink_is_right_for_who_accepts_it(self):
        found = estimate(laplace_model(), 0.3, audit=False)
        assert abs(found.value[0, 0] - 1.0) <= 4.0 * found.standard_error[0, 0] + 1e-12

    def test_a_kink_in_one_of_many_parameters_is_flagged(self):
        def log_likelihood(theta, x):
            smooth = jax.scipy.stats.norm.logpdf(x[:4], theta[:4], 1.0)
            return jnp.sum(smooth) + laplace(theta[4], x[4])

        def sample(key, theta, n):
            return jnp.concatenate([jax.random.normal(key, (n, 4)), jax.random.laplace(key, (n, 1))], axis=1)

        model = fl.StatisticalModel(log_likelihood, fl.MonteCarlo(sample, 20_000, KEY))
        assert "kink" in fl.RESULTS[estimate(model, jnp.zeros(5), throw=False).result]

    @pytest.mark.parametrize("sampled", [True, False])
    def test_a_support_that_depends_on_theta_is_flagged(self, sampled):
        def uniform(theta, x):
            return jnp.where((x >= 0.0) & (x <= theta), -jnp.log(theta), -jnp.inf)

        drawn = fl.MonteCarlo(lambda key, theta, n: theta * jax.random.uniform(key, (n,)), 1000, KEY)
        rule = drawn if sampled else fl.Quadrature(0.0, 2.0)
        found = estimate(fl.StatisticalModel(uniform, rule), 2.0, throw=False)
        assert "support" in fl.RESULTS[found.result]

    def test_regular_models_pass_it(self):
        for model in (NORMAL.model, fl.families.Gamma().model, sampled(30_000)):
            found = estimate(model, THETA)
            gap, error = found.certificate.bartlett_gap, found.certificate.bartlett_error
            # Exact rules: quadrature to 1e-10 of the two parameters' unit information.
            assert jnp.all(jnp.abs(gap) <= 4.0 * error + 1e-9)
            assert jnp.all(error > 0.0) == (found.certificate.outcomes > 0)

    @pytest.mark.slow
    def test_its_error_is_the_spread_between_samples(self):
        def audit(key):
            certificate = fl.fisher_estimate(sampled(400, key), THETA, throw=False).certificate
            return certificate.bartlett_gap, certificate.bartlett_error

        gaps, errors = jax.jit(jax.vmap(audit))(jax.random.split(KEY, 300))
        # 300 spreads: 4 %, times four, and heavy tails of fourth powers.
        assert jnp.all(jnp.abs(jnp.std(gaps, axis=0) / jnp.mean(errors, axis=0) - 1.0) < 0.25)
        assert jnp.all(jnp.abs(jnp.mean(gaps, axis=0)) < 4.0 * jnp.std(gaps, axis=0) / np.sqrt(300.0))

    def test_it_follows_regressions_to_their_noise(self):
        model = fl.ConditionalModel(lambda theta, x: theta * x, laplace_model(2000), jnp.linspace(0.5, 1.0, 5))
        assert "kink" in fl.RESULTS[estimate(model, 0.3, throw=False).result]
        regular = fl.ConditionalModel(lambda theta, x: theta * x, sampled(2000), jnp.ones((5, 2)))
        assert estimate(regular, THETA).succeeded


class TestTolerance:
    def test_draws_stop_when_the_tolerance_is_met(self):
        found = estimate(sampled(1_000_000, chunk=1000), THETA, rtol=0.02)
        scale = jnp.sqrt(jnp.diagonal(found.value))
        assert jnp.max(found.standard_error / jnp.outer(scale, scale)) <= 0.02
        # Var(s^2) / I^2 of the deviation's score is 14: n = 14 / 0.02^2 = 35,000, to a few blocks.
        assert 28_000 <= found.certificate.outcomes <= 42_000
        assert jnp.all(jnp.abs(found.value - NORMAL.fisher(THETA)) <= 4.0 * found.standard_error)

    def test_stopping_is_the_same_as_asking_for_so_many(self):
        found = estimate(sampled(1_000_000, chunk=1000), THETA, rtol=0.03)
        again = estimate(sampled(1_000_000, chunk=1000), THETA, rtol=0.03)
        assert jnp.array_equal(found.value, again.value)
        fixed = estimate(sampled(int(found.certificate.outcomes), chunk=1000), THETA)
        # Weights are 1/n of the most and of the actual number: one rounding.
        assert jnp.allclose(found.value, fixed.value, rtol=1e-13)
        assert jnp.allclose(found.standard_error, fixed.standard_error, rtol=1e-10)
        assert jnp.allclose(found.certificate.mean_score, fixed.certificate.mean_score, rtol=1e-9)

    def test_a_sample_that_runs_out_is_reported(self):
        found = estimate(sampled(5000, chunk=1000), THETA, rtol=0.001, throw=False)
        assert "used up" in fl.RESULTS[found.result]
        assert found.certificate.outcomes == 5000
        with pytest.raises(ValueError, match="rtol must be positive"):
            fl.fisher_estimate(NORMAL.model, THETA, rtol=0.0)

    def test_a_single_outcome_knows_nothing_of_its_error(self):
        found = estimate(sampled(1), THETA, rtol=0.5, throw=False)
        assert jnp.all(jnp.isinf(found.standard_error))
        assert "used up" in fl.RESULTS[found.result]

    def test_a_stopped_estimate_differentiates_like_the_fixed_one(self):
        def first(model, **options):
            return jax.jit(jax.grad(lambda t: fl.fisher_estimate(model, t, audit=False, **options).value[1, 1]))(THETA)

        stopped = first(sampled(20_000, chunk=1000), rtol=0.05)
        count = estimate(sampled(20_000, chunk=1000), THETA, rtol=0.05).certificate.outcomes
        assert count < 20_000
        assert jnp.allclose(stopped, first(sampled(int(count), chunk=1000)), rtol=1e-10)

    def test_exact_rules_and_closed_forms_need_no_draws(self):
        assert jnp.all(estimate(NORMAL.model, THETA, rtol=1e-9).standard_error == 0.0)
        assert fl.fisher_estimate(NORMAL, THETA, rtol=1e-9).route == "closed form of Normal"


class TestMerging:
    def test_shares_are_the_whole(self):
        whole = estimate(sampled(3000, chunk=1000), THETA)
        shares = [estimate(sampled(n, chunk=1000, start=start), THETA) for n, start in ((1000, 0), (2000, 1))]
        merged = fl.merge_estimates(*shares)
        # Round-off of sums of 3000 terms, more under the subtraction of the mean.
        assert jnp.allclose(merged.value, whole.value, rtol=1e-12)
        assert jnp.allclose(merged.standard_error, whole.standard_error, rtol=1e-10)
        for name in ("mass", "outcomes", "effective_sample_size", "mean_score", "score_error"):
            assert jnp.allclose(getattr(merged.certificate, name), getattr(whole.certificate, name), rtol=1e-9), name
        assert jnp.array_equal(whole.value, estimate(sampled(3000, chunk=1000), THETA).value)

    def test_single_outcomes_merge_to_the_error_of_both(self):
        merged = fl.merge_estimates(*(estimate(sampled(1, chunk=1, start=start), THETA) for start in (0, 1)))
        whole = estimate(sampled(2, chunk=1), THETA)
        # Round-off of a difference of two terms.
        assert jnp.allclose(merged.standard_error, whole.standard_error, rtol=1e-12)

    def test_exact_estimates_have_no_sample_to_merge(self):
        exact = estimate(NORMAL.model, THETA)
        assert not fl.merge_estimates(exact, exact).succeeded

    def test_estimates_of_different_matrices_do_not_merge(self):
        with pytest.raises(ValueError, match="one matrix by one rule"):
            fl.merge_estimates(estimate(NORMAL.model, THETA), estimate(sampled(200), THETA))


class TestPropagation:
    FUNCTIONS = (jnp.linalg.inv, lambda matrix: jnp.linalg.slogdet(matrix)[1], jnp.linalg.eigvalsh)

    @pytest.mark.slow
    def test_errors_of_inverse_determinant_and_spectrum_are_their_spread(self):
        def derived(function):
            def draw(key):
                found = fl.derived_estimate(sampled(1500, key), THETA, function, throw=False)
                return found.value, found.standard_error

            return jax.jit(jax.vmap(draw))(jax.random.split(KEY, 300))

        for function in self.FUNCTIONS:
            values, errors = derived(function)
            # 300 spreads: 4 %, times four, and the second order of the delta method, 14 / 1500.
            assert jnp.all(jnp.abs(jnp.std(values, axis=0) / jnp.mean(errors, axis=0) - 1.0) < 0.25)

    def test_a_bound_lies_within_four_of_its_errors(self):
        found = fl.derived_estimate(sampled(20_000), THETA, fl.cramer_rao_bound)
        exact = jnp.linalg.inv(NORMAL.fisher(THETA))
        assert jnp.all(jnp.abs(found.value - exact) < 4.0 * found.standard_error)

    def test_exact_information_has_exact_consequences(self):
        for model in (NORMAL, NORMAL.model):
            found = fl.derived_estimate(model, THETA, jnp.linalg.inv)
            assert jnp.all(found.standard_error == 0.0)
            assert jnp.allclose(found.value, jnp.linalg.inv(NORMAL.fisher(THETA)), rtol=1e-10)

    @pytest.mark.slow
    def test_regressions_and_products_add_their_variances(self):
        inputs = jnp.ones((4, 2))

        def draw(key):
            regression = fl.ConditionalModel(lambda theta, x: theta * x, sampled(500, key), inputs)
            product = fl.ProductModel(regression, NORMAL, sampled(500, key))
            found = fl.fisher_estimate(product, THETA, audit=False, throw=False)
            bound = fl.derived_estimate(product, THETA, jnp.linalg.inv, throw=False)
            return (found.value, bound.value), (found.standard_error, bound.standard_error)

        values, errors = jax.jit(jax.vmap(draw))(jax.random.split(KEY, 300))
        for value, error in zip(values, errors, strict=True):
            assert jnp.all(jnp.abs(jnp.std(value, axis=0) / jnp.mean(error, axis=0) - 1.0) < 0.25)

    def test_a_singular_information_is_reported(self):
        model = fl.StatisticalModel(
            lambda theta, x: jax.scipy.stats.norm.logpdf(x, theta[0] + theta[1], 1.0), sampled(300).expectation
        )
        found = fl.derived_estimate(model, jnp.array([0.0, 0.0]), jnp.linalg.inv, throw=False)
        assert not found.succeeded


class TestMemory:
    def test_ten_million_samples_of_ten_parameters_take_less_than_100_megabytes(self):
        def log_likelihood(theta, x):
            return -0.5 * jnp.sum((x - theta) ** 2) - 5.0 * jnp.log(2.0 * jnp.pi)

        def sample(key, theta, n):
            return theta + jax.random.normal(key, (n, 10))

        def matrix(theta, n):
            with jax.numpy_rank_promotion("allow"):
                return fl.fisher_information(fl.StatisticalModel(log_likelihood, fl.MonteCarlo(sample, n, KEY)), theta)

        def temporaries(n):
            executable = jax.jit(matrix, static_argnums=1).lower(jnp.zeros(10), n).compile()
            return executable.memory_analysis().temp_size_in_bytes

        assert temporaries(10_000_000) < 100e6
        # Ten times as many take no more than the numbers of the blocks: the samples are drawn inside the sum.
        assert temporaries(10_000_000) < 1.1 * temporaries(1_000_000)

    @pytest.mark.parametrize("chunk", [100, 333, 5000])
    def test_a_chunk_changes_the_memory_and_not_the_sum(self, chunk):
        data = jax.random.normal(KEY, (5000,))
        noise = fl.StatisticalModel(NORMAL.log_likelihood, fl.Empirical(data, chunk=chunk))
        whole = fl.StatisticalModel(NORMAL.log_likelihood, fl.Empirical(data))
        assert jnp.allclose(estimate(noise, THETA).value, estimate(whole, THETA).value, rtol=1e-12)

    def test_a_matrix_that_would_not_fit_says_how_large_it_is_and_what_to_use(self):
        def log_likelihood(theta, x):
            return -0.5 * jnp.sum((x - theta) ** 2)

        model = fl.StatisticalModel(log_likelihood, fl.Empirical(jnp.zeros((2, 200_000), jnp.float32)))
        with pytest.raises(ValueError, match=r"149 GiB.*fisher_operator"):
            fl.fisher_information(model, jnp.zeros(200_000, jnp.float32))

    def test_a_chunk_must_be_positive(self):
        with pytest.raises(ValueError, match="chunk"):
            fl.fisher_information(sampled(100, chunk=0), THETA)
