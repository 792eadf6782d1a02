# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What can an experiment tell, before it is made?
#
# A tracer is cleared in two phases, a fast one and a slow one. Twelve samples are to be drawn in the first ten hours.
# How well will the two rates be known, are they known at all, and when should the samples be drawn? The Fisher
# information answers from the log-likelihood alone; simulated experiments check the answers.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import fimlag as fl
from fimlag import plot

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The experiment as a model
#
# A prediction and a noise family are declared, so the information is the noise's closed form pulled back along the
# prediction, $I = \sum_i J_i^\top F J_i$. The estimate says which route it took.

# %%
times = jnp.linspace(0.25, 10.0, 12)
truth = {"fast": 1.2, "share": 0.6, "slow": 0.15}
noise = 0.02


def predict(theta, t):
    fast, slow = jnp.exp(-theta["fast"] * t), jnp.exp(-theta["slow"] * t)
    return jnp.stack([theta["share"] * fast + (1 - theta["share"]) * slow, noise])


model = fl.ConditionalModel(predict, fl.families.Normal(), times)
information = fl.fisher_estimate(model, truth)
bound = fl.cramer_rao_bound(information.value)
for name, value, error in zip(truth, truth.values(), jnp.sqrt(jnp.diagonal(bound)), strict=True):
    print(f"{name:6} {value:5.2f} +- {error:.3f}")
print(information.route)
assert information.route == "pull-back of the closed form of Normal"

# %% [markdown]
# ## Is the bound what experiments find?
#
# Four hundred experiments are simulated and fitted at once, the fit of each by `vmap`. The scatter of their estimates
# should be that of the bound, to the error of a variance from 400 draws and the curvature of the model.


# %%
@jax.jit
@jax.vmap
def refit(key):
    expected = jax.vmap(predict, (None, 0))(truth, times)[:, 0]
    data = expected + noise * jax.random.normal(key, times.shape)
    fit = fl.maximum_likelihood(model, data, truth, throw=False)
    return jnp.stack([fit.theta[name] for name in truth]), fit.succeeded


estimates, succeeded = refit(jax.random.split(jax.random.key(0), 400))
ratio = jnp.std(estimates, axis=0) / jnp.sqrt(jnp.diagonal(bound))
print("scatter over bound:", jnp.round(ratio, 3))
assert bool(jnp.all(succeeded))
assert bool(jnp.all(jnp.abs(ratio - 1) < 0.2))

# %% [markdown]
# ## What no data can tell
#
# Had the clearance been written as the sum of two processes, decay and uptake, only their sum would be known. The
# null directions come with the names of the parameters.

# %%
entangled = fl.ConditionalModel(
    lambda theta, t: jnp.stack([jnp.exp(-(theta["decay"] + theta["uptake"]) * t), noise]), fl.families.Normal(), times
)
lost = fl.identifiability(entangled, {"decay": 0.3, "uptake": 0.2})
print("rank", lost.rank, "of 2; unknown:", *lost.names)
assert lost.rank == 1
assert fl.identifiability(model, truth).rank == 3

# %% [markdown]
# The three parameters of our model are all identifiable, though not equally well: the spectrum of the information,
# taken from the singular values of its square root, spans decades.

# %%
spectrum = fl.sloppiness_spectrum(model, truth)
print("eigenvalues", jnp.round(spectrum.eigenvalues, 1))
assert 1e2 < spectrum.eigenvalues[0] / spectrum.eigenvalues[-1] < 1e4

# %% [markdown]
# ## When to draw the samples
#
# Information adds over observations, so a plan is a set of weights on the possible times. The D-optimal plan makes the
# determinant of the information largest. Its certificate is the equivalence theorem: no time is worth more than
# 3, the number of parameters, and the support reaches it.


# %%
def information_at(t):
    return fl.fisher_information(fl.ConditionalModel(predict, fl.families.Normal(), t[None]), truth)


candidates = jnp.linspace(0.1, 10.0, 100)
plan = fl.optimal_design(information_at, candidates)
chosen = plan.weights > 0.01
print("sample at", jnp.round(candidates[chosen], 2), "hours, in shares", jnp.round(plan.weights[chosen], 2))
even = jnp.linalg.slogdet(information.value / times.size)[1]
efficiency = jnp.exp((even - plan.criterion_value) / 3)
print(f"efficiency of twelve even times: {efficiency:.2f}; certified gap of the plan: {plan.gap:.1e}")
assert abs(float(plan.gap)) < 1e-6
assert bool(jnp.all(plan.sensitivity < 3 + 1e-6))
assert 0.3 < efficiency < 1

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
left.plot(candidates, plan.sensitivity, color=plot.BLUE)
left.axhline(3, color=plot.INK, linewidth=0.8)
left.plot(candidates[chosen], plan.sensitivity[chosen], "o", color=plot.ORANGE, label="times of the plan")
left.set(xlabel="time (hours)", ylabel="worth of one more sample", title="The certificate of the plan")
left.legend()
improved = fl.cramer_rao_bound(12 * plan.information)
for covariance, name, colour in ((bound, "even times", plot.BLUE), (improved, "D-optimal", plot.ORANGE)):
    region = fl.confidence_ellipsoid(truth, covariance=covariance)
    right.plot(*region.marginal([0, 2]).boundary(100).T, color=colour, label=name)
right.set(xlabel="fast rate (1/h)", ylabel="slow rate (1/h)", title="95 % ellipses of the two rates")
right.legend()
figure.tight_layout()

# %% [markdown]
# ## After the experiment
#
# With data at hand the likelihood itself gives intervals. The profile interval bends with the model, the symmetric one
# of the bound does not.

# %%
data = jax.vmap(predict, (None, 0))(truth, times)[:, 0] + noise * jax.random.normal(jax.random.key(1), times.shape)
fit = fl.maximum_likelihood(model, data, truth)
interval = fl.profile_interval(model, data, fit, "fast")
reach = 1.959964 * fit.standard_errors["fast"]
print(f"profile: {interval.lower:.3f} to {interval.upper:.3f}")
print(f"bound:   {fit.theta['fast'] - reach:.3f} to {fit.theta['fast'] + reach:.3f}")
assert interval.lower < truth["fast"] < interval.upper
assert interval.upper - fit.theta["fast"] > fit.theta["fast"] - interval.lower

# %% [markdown]
# ## A noise of your own, and whether to trust its information
#
# Outliers call for heavy tails. Any log-density will do. With nothing but a sampler the matrix is a mean over draws,
# drawn until the tolerance is met, and every number that follows from it has an error bar, here the bound.


# %%
def heavy(theta, y):
    return jax.scipy.stats.t.logpdf(y, 4.0, theta[0], theta[1])


def draw(key, theta, n):
    return theta[0] + theta[1] * jax.random.t(key, 4.0, (n,))


drawn = fl.StatisticalModel(heavy, fl.MonteCarlo(draw, 1_000_000, jax.random.key(2)))
point = jnp.array([0.0, noise])
sampled = fl.fisher_estimate(drawn, point, rtol=0.01)
limit = fl.derived_estimate(drawn, point, fl.cramer_rao_bound)
exact = jnp.array([(4 + 1) / (4 + 3), 2 * 4 / (4 + 3)]) / noise**2
print("information", jnp.diagonal(sampled.value), "+-", jnp.diagonal(sampled.standard_error))
print(f"from {int(sampled.certificate.outcomes)} draws; closed form", exact)
print("bound of the centre", limit.value[0, 0], "+-", limit.standard_error[0, 0])
assert bool(jnp.all(jnp.abs(jnp.diagonal(sampled.value) - exact) < 4 * jnp.diagonal(sampled.standard_error)))
assert abs(float(limit.value[0, 0] - 1 / exact[0])) < 4 * float(limit.standard_error[0, 0])

# %% [markdown]
# A density with a kink breaks the identity that makes minus the mean Hessian an information. The audit compares both
# forms and says so, instead of returning a number.


# %%
def kinked(centre, y):
    return -jnp.abs(y - centre) - jnp.log(2.0)


laplace = fl.StatisticalModel(
    kinked, fl.MonteCarlo(lambda key, centre, n: centre + jax.random.laplace(key, (n,)), 20_000, jax.random.key(3))
)
audited = fl.fisher_estimate(laplace, 0.0, throw=False)
print(fl.RESULTS[audited.result])
assert not audited.succeeded
assert abs(float(fl.fisher_estimate(laplace, 0.0, audit=False).value[0, 0]) - 1) < 0.01
