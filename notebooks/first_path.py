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
# # How far apart are two models, and which is the way between them?
#
# Two normal distributions differ in mean and in spread. One number should say how well data tell them apart, and
# one path should lead from the first to the second through models that change as little as possible. A
# log-likelihood is enough to find both.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fimlag as fl
from fimlag import plot
from fimlag.problems import HarmonicOscillator

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A log-likelihood
#
# The log-density of one observation, in nats, and a rule for expectations over it: quadrature on the whole line, with
# its nodes where the density is.


# %%
def log_likelihood(theta, x):
    mean, deviation = theta
    return -0.5 * ((x - mean) / deviation) ** 2 - jnp.log(deviation) - 0.5 * jnp.log(2 * jnp.pi)


rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda theta: theta[0], scale=lambda theta: theta[1])
model = fl.StatisticalModel(log_likelihood, rule)
start, end = jnp.array([0.0, 1.0]), jnp.array([3.0, 0.5])

# %% [markdown]
# ## Its Fisher information, and whether to trust it
#
# $I_{ij} = \mathrm E[\partial_i \ell\, \partial_j \ell]$ says how sharply data distinguish neighbouring models. The
# certificate comes with it: the weights of the quadrature must sum to 1, and the mean score must vanish. Minus the mean
# Hessian is the same matrix by another way.


# %%
@jax.jit
def both_forms(theta):
    return fl.fisher_estimate(model, theta, throw=False), fl.fisher_information(model, theta, form="hessian")


estimate, hessian_form = both_forms(start)
certificate = estimate.certificate
print(np.round(estimate.value, 12) + 0.0)
print(f"mass - 1: {certificate.mass - 1:.0e}")
print(f"largest mean score: {jnp.max(jnp.abs(certificate.mean_score)):.0e}")

assert estimate.succeeded
assert jnp.allclose(estimate.value, jnp.diag(jnp.array([1.0, 2.0])), atol=1e-12)
assert jnp.allclose(estimate.value, hessian_form, atol=1e-12)

# %% [markdown]
# A rule that misses half of the density is reported, and the matrix is not used:

# %%
cut = fl.StatisticalModel(log_likelihood, fl.Quadrature(0.0, 8.0))
refused = fl.fisher_estimate(cut, start, throw=False)
print(f"mass {refused.certificate.mass:.3f}: {fl.RESULTS[refused.result]}")

assert refused.result == fl.RESULTS.poor_quadrature

# %% [markdown]
# ## A metric, and its curvature
#
# As a function of $\theta$ the information is a metric: it measures a small change of the model in standard errors of
# one observation. For the normal family it is that of a hyperbolic plane, with scalar curvature $-1$ at every point.

# %%
metric = fl.FisherMetric(model)
places = jnp.array([[0.0, 1.0], [1.0, 2.0], [3.0, 0.5]])
curvatures = jax.jit(jax.vmap(lambda q: fl.scalar_curvature(metric, q)))(places)
print("scalar curvatures:", np.round(curvatures, 10))

assert jnp.allclose(curvatures, -1.0, rtol=1e-9)

# %% [markdown]
# ## The way between them
#
# The geodesic makes $\frac12 \int_0^1 \dot\theta^\top I(\theta)\, \dot\theta\, dt$ least; the least value is half the
# squared distance. Rao's closed form checks it. The straight line in $(\mu, \sigma)$ joins the same models, but which
# line is straight depends on the coordinates; which is shortest does not.


# %%
def line(t):
    return start + t * (end - start)


def line_speed(t):
    return jnp.sqrt(metric.quadratic(line(t), end - start))


solution = fl.geodesic(metric, start, end, elements=8)
distance = jnp.sqrt(2 * solution.action)
rao = 2 * jnp.sqrt(2.0) * jnp.arcsinh(jnp.sqrt(((end - start)[0] ** 2 / 2 + (end - start)[1] ** 2) / 2))
nodes, weights = np.polynomial.legendre.leggauss(60)
line_length = jax.jit(jax.vmap(line_speed))((1 + nodes) / 2) @ weights / 2

print(f"geodesic      {distance:.12f}")
print(f"closed form   {rao:.12f}")
print(f"straight line {line_length:.4f}")

assert jnp.isclose(distance, rao, rtol=1e-12)
assert line_length > 1.2 * distance

# %% [markdown]
# The solution says how far it can be trusted. Its Morse index is the number of directions in which the action falls: 0
# certifies a minimum among neighbouring paths. Its error estimate is the change of the action when every element
# gains a degree; the true error can be compared with it here.

# %%
true_error = abs(solution.action - rao**2 / 2)
print(f"Morse index {solution.morse_index} after {solution.iterations} Newton steps")
print(f"error of the action: estimated {solution.error_estimate:.0e}, true {true_error:.0e}")

assert solution.morse_index == 0
assert solution.error_estimate < 1e-12
assert true_error < 1e-12

# %% [markdown]
# Each ellipse holds the changes of one length, a fifth of a standard error. Where the spread is large, the same step in
# $\mu$ counts for less, so the geodesic makes a detour through wider distributions.

# %%
times = jnp.linspace(0.0, 1.0, 7)
on_path, on_line = jax.vmap(solution.path)(times), jax.vmap(line)(times)
x = jnp.linspace(-4.0, 6.0, 400)
density = jax.vmap(jax.vmap(lambda theta, x: jnp.exp(log_likelihood(theta, x)), (None, 0)), (0, None))

figure, (plane, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained", dpi=80)
plot.path(plane, solution.path, label="geodesic")
plane.plot(*on_line.T, "--", color=plot.ORANGE, label="straight line")
plot.metric_ellipses(plane, metric, on_path, radius=0.2)
plane.set(xlabel="mean", ylabel="standard deviation", ylim=(0, 2.6))
plane.legend(frameon=False)
for axes, models, colour, name in ((middle, on_path, plot.BLUE, "geodesic"), (right, on_line, plot.ORANGE, "line")):
    axes.plot(x, density(models, x).T, color=colour, linewidth=1)
    axes.set(xlabel="x", title=f"densities along the {name}", ylim=(0, 0.85))

# %% [markdown]
# ## The same path as a motion
#
# A geodesic is also a motion without forces. Started with the path's first velocity, a symplectic integrator, which
# knows nothing of the other end, must land there, and keep its energy at $d^2 / 2$.

# %%
lagrangian = fl.FisherLagrangian(model)
velocity = solution.path.velocity(0.0)
flow = fl.integrate(lagrangian, start, velocity, t1=1.0, steps=32, save_every=8, method=fl.GaussLegendre(3))
miss = jnp.max(jnp.abs(flow.q[-1] - end))
energies = jax.jit(jax.vmap(lambda t, q, v: fl.energy(lagrangian, t, q, v)))(flow.t, flow.q, flow.v)
print(f"lands within {miss:.0e}; the energy changes by {jnp.ptp(energies):.0e}")

assert miss < 1e-6
assert jnp.allclose(energies, rao**2 / 2, rtol=1e-6)

# %% [markdown]
# ## What the distance means for data
#
# Walk the geodesic in $N$ equal steps. Each step costs a relative entropy, $\mathrm{KL} = \mathrm E[\ell(\theta_k) -
# \ell(\theta_{k+1})] \approx \frac12 (d / N)^2$, so $N \sum_k \mathrm{KL}_k \to \frac12 d^2$. The error is of order
# 1 in $1 / N$: it halves when $N$ doubles. Nothing here uses the metric: only log-likelihoods and their expectations.


# %%
def relative_entropy(theta, other):
    x, weights = rule.outcomes(log_likelihood, theta)
    drop = jax.vmap(lambda x: log_likelihood(theta, x) - log_likelihood(other, x))(x)
    return weights @ drop


@jax.jit
def price_of_walk(path, walked):
    chain = jax.vmap(path)(walked)
    return (walked.size - 1) * jnp.sum(jax.vmap(relative_entropy)(chain[:-1], chain[1:]))


counts = np.array([8, 16, 32, 64, 128, 256])
prices = np.array([price_of_walk(solution.path, jnp.linspace(0.0, 1.0, n + 1)) for n in counts])
errors = np.abs(prices - rao**2 / 2)
orders = np.log2(errors[:-1] / errors[1:])
for n, price, error, order in zip(counts[1:], prices[1:], errors[1:], orders, strict=True):
    print(f"N = {n:3d}   N sum KL = {price:.6f}   error {error:.6f}   order {order:.3f}")
print(f"d^2 / 2           = {rao**2 / 2:.6f}")

assert abs(orders[-1] - 1) < 0.02
assert np.all(np.diff(np.abs(orders - 1)) < 0)

# %% [markdown]
# ## How the distance changes
#
# The distance is differentiated through the solver, implicitly. Its gradient points along the last velocity of the
# path, $\nabla d = I(\theta_1)\, \dot\theta(1) / d$, and has length 1 in the inverse metric.

# %%
gradient = jax.jit(jax.grad(lambda q: fl.distance(metric, start, q)))(end)
of_closed_form = jax.grad(lambda q: fl.families.Normal().distance(start, q))(end)
information = fl.fisher_information(model, end)
along_path = information @ solution.path.velocity(1.0) / distance
print("gradient of the distance:", np.round(gradient, 9))

assert jnp.allclose(gradient, of_closed_form, rtol=1e-9)
assert jnp.allclose(gradient, along_path, rtol=1e-8)
assert jnp.isclose(gradient @ jnp.linalg.solve(information, gradient), 1.0, rtol=1e-9)

# %% [markdown]
# ## When the stationary path is no minimum
#
# Hyperbolic planes have no conjugate points, so every geodesic above is shortest. A harmonic oscillator of frequency 1
# has one after each half period $\pi$. Asked for a least action over a time of 4, the solver refuses:

# %%
oscillator = HarmonicOscillator()
q0, q1, duration = jnp.array([1.0]), jnp.array([0.5]), 4.0
sought = fl.least_action_path(oscillator.lagrangian, q0, q1, t1=duration, throw=False)
print(fl.RESULTS[sought.result])

assert sought.result == fl.RESULTS.not_a_minimum

# %% [markdown]
# The true motion is still there, a stationary path. Its index counts the conjugate points passed, one for each half
# period; its action is known in closed form.

# %%
durations = jnp.array([1.0, 3.0, 4.0, 7.0, 10.0])


@jax.jit
@jax.vmap
def motion(duration):
    return fl.least_action_path(oscillator.lagrangian, q0, q1, t1=duration, stationary=True, throw=False)


motions = motion(durations)
actions = jax.vmap(lambda duration: oscillator.action(q0, q1, duration))(durations)
for duration, index, action in zip(durations, motions.morse_index, motions.action, strict=True):
    print(f"duration {duration:4.1f}   Morse index {index}   action {action:.9f}")

assert jnp.all(motions.succeeded)
assert jnp.array_equal(motions.morse_index, jnp.array([0, 0, 1, 2, 3]))
assert jnp.allclose(motions.action, actions, rtol=1e-9)

# %% [markdown]
# Bend the motion by $\epsilon \sin(\pi t / T)$: for $T = 3$ the action rises on both sides, for $T = 4$ it falls.

# %%
bends = jnp.linspace(-1.0, 1.0, 41)


def bent_action(path, duration, bend):
    return fl.action(oscillator.lagrangian, lambda t: path(t) + bend * jnp.sin(jnp.pi * t / duration), 0.0, duration)


figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
for number, colour in ((1, plot.BLUE), (2, plot.ORANGE)):
    path, duration = jax.tree_util.tree_map(lambda leaf, i=number: leaf[i], (motions.path, durations))
    rise = jax.jit(jax.vmap(lambda bend, p=path, d=duration: bent_action(p, d, bend)))(bends) - motions.action[number]
    # The second variation of the oscillator along this bend.
    assert jnp.allclose(rise, bends**2 * (jnp.pi**2 / duration - duration) / 4, atol=1e-9)
    axes.plot(bends, rise, color=colour, label=f"T = {duration:.0f}")
axes.set(xlabel=r"$\epsilon$", ylabel="change of the action", xticks=(-1, -0.5, 0, 0.5, 1))
_ = axes.legend(frameon=False)

# %% [markdown]
# ## The answer
#
# The two models are 3.443 standard errors of one observation apart, by a path through wider distributions. The number
# agrees with Rao's closed form to twelve digits; the path is certified a minimum, a motion started along it lands on
# its end, and the relative entropies along it add up to half the square of the distance.
