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
# # What has the Fisher information to do with the Lagrangian?
#
# One is a matrix that says how well data tell parameters apart. The other is a function whose integral a motion makes
# stationary. They meet in several places, and the meetings differ in kind: some are identities, some are limits, some
# are mere likenesses. Each is stated here, computed, and held against a calculation that knows nothing of the other
# side. The last section says what is not claimed.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy import optimize, special, stats

import fimlag as fl
from fimlag import plot

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A metric, and so a kinetic energy
#
# Two distributions a small step apart differ, in relative entropy, by half the squared length of the step in the Fisher
# information: $\mathrm{KL} = \tfrac12 d\theta^\top F\, d\theta + \dots$. Half a squared velocity is a kinetic energy.
# About the middle of the step the relative entropy is off in the third order, and the symmetric divergences, half of
# Jeffreys' and four squared Hellinger distances, in the fourth. Everything below starts from this log-likelihood.


# %%
def log_likelihood(theta, x):
    return jax.scipy.stats.norm.logpdf(x, theta[0], theta[1])


line = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda theta: theta[0], scale=lambda theta: theta[1])
model = fl.StatisticalModel(log_likelihood, line)
theta, v = jnp.array([0.3, 0.8]), jnp.array([0.5, 0.4])


@jax.jit
@jax.vmap
def divergences(step):
    both = model, theta - step / 2 * v, theta + step / 2 * v
    half_jeffreys, hellinger = fl.jeffreys_divergence(*both) / 2, fl.hellinger_distance(*both)
    return jnp.stack([fl.kl_divergence(*both), half_jeffreys, 4 * hellinger**2])


steps = 0.4 / 2.0 ** np.arange(6)
half_square = 0.5 * (v[0] ** 2 + 2 * v[1] ** 2) / theta[1] ** 2  # the information of a normal: diag(1, 2) / sigma^2
errors = np.abs(np.asarray(divergences(jnp.asarray(steps))) - half_square * steps[:, None] ** 2)
seen = np.log2(errors[-2] / errors[-1])
for name, order in zip(("relative entropy", "Jeffreys / 2", "4 Hellinger^2"), seen, strict=True):
    print(f"{name:17} agrees with half the squared step to order {order:.3f}")

assert np.allclose(seen, [3, 4, 4], atol=0.05)

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
for column, colour, name in zip(
    errors.T, (plot.BLUE, plot.ORANGE, plot.GREY), ("relative entropy", "Jeffreys", "Hellinger"), strict=True
):
    axes.loglog(steps, column, "o-", color=colour, label=name, markersize=3)
axes.set(xlabel="step", ylabel="off half the squared step")
_ = axes.legend(frameon=False)

# %% [markdown]
# With this kinetic energy alone, the least action from one distribution to another in a time $T$ is $d^2 / 2T$, where
# $d$ is the distance that Rao found for normal distributions. And the squared speed bounds how fast any mean can move:
# the rate of $\langle A \rangle$ is at most the deviation of $A$ times the speed (Cramer and Rao, along a path). How
# much of the bound is used is the squared correlation of $A$ with the score: the variance explained.

# %%
start, end, duration = jnp.array([0.0, 1.0]), jnp.array([2.0, 0.5]), 3.0
solution = fl.least_action_path(fl.FisherLagrangian(model), start, end, 0.0, duration)
rao = 2 * np.sqrt(2) * np.arcsinh(np.sqrt((2.0**2 / 2 + 0.5**2) / (4 * 1.0 * 0.5)))
print(f"least action {solution.action:.12f}   d^2 / 2T {rao**2 / (2 * duration):.12f}")

statistics = {"x": lambda x: x, "x and x^2": lambda x: (x, x**2), "sign of x": jnp.sign}
normal = fl.families.Normal()
shares = {}
for name, statistic in list(statistics.items())[:2]:
    shares[name] = fl.explained_action(normal, solution.path, statistic, 0.0, duration)
    print(f"{name:10} sees {100 * shares[name].total:.2f} % of the action")

assert np.isclose(solution.action, rao**2 / (2 * duration), rtol=1e-11)
assert np.isclose(shares["x and x^2"].total, 1.0, rtol=1e-12)  # complete and sufficient

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
for (name, share), colour in zip(shares.items(), (plot.BLUE, plot.ORANGE), strict=True):
    axes.plot(share.times, share.share, color=colour, label=name)
axes.set(xlabel="time", ylabel="share of the action seen", ylim=(0, 1.05))
_ = axes.legend(frameon=False)

# %% [markdown]
# ## Estimation as motion
#
# Let minus the mean log-likelihood of data be a potential. The estimate is where the motion can rest. Without friction
# the energy stays; with a friction $\gamma F$ the motion creeps, and for large $\gamma$ it follows the natural
# gradient, $F \dot\theta = -\nabla V$, in the slow time $t / \gamma$. For the mean of counts that flow is known:
# $\bar x + (\theta_0 - \bar x)\, e^{-s}$. The gap closes as $\gamma^{-2}$.

# %%
mean_count, first, slow = 3.2, 1.0, 2.5
poisson = fl.families.Poisson()
counting = fl.FisherLagrangian(poisson, lambda m: m - mean_count * jnp.log(m))


def braked(friction):
    system = fl.Forced(counting, fl.fisher_friction(poisson, friction))
    rate = (mean_count - first) / friction
    return fl.integrate(system, first, rate, t1=slow * friction, steps=4000, save_every=40, method=fl.GaussLegendre(2))


frictions = np.array([2.0, 20.0, 40.0])
motions = [braked(friction) for friction in frictions]
natural = mean_count + (first - mean_count) * np.exp(-np.asarray(motions[0].t) / frictions[0])
gaps = np.array([np.max(np.abs(motion.q - natural)) for motion in motions])
print("friction", frictions, "gap", gaps.round(6), "times friction squared", (gaps * frictions**2).round(3))

assert np.isclose(fl.acceleration(counting, 0.0, mean_count, 0.0), 0.0, atol=1e-14)
assert np.isclose(np.log2(gaps[1] / gaps[2]), 2, atol=0.05)

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
for motion, friction, colour in zip(motions[:2], frictions, (plot.ORANGE, plot.BLUE), strict=False):
    axes.plot(motion.t / friction, motion.q, color=colour, label=f"friction {friction:.0f}")
axes.plot(motions[0].t / frictions[0], natural, ":", color=plot.GREY, label="natural gradient")
axes.set(xlabel="slow time", ylabel="mean")
_ = axes.legend(frameon=False)

# %% [markdown]
# ## The probability of a path
#
# Under noise of strength $\varepsilon$ the probability of a path goes as $e^{-S / \varepsilon}$, with the action of
# $L = \tfrac12 (\dot x - b)^2$. So the action is a negative log-likelihood. What maximises the likelihood over paths
# minimises the action; the curvature of the action in a parameter of the drift is the Fisher information that the path
# holds on it; one less the ratio of two actions is the $R^2$ of a regression. Below, a path is drawn in steps by numpy,
# and numpy's least squares says what the action says.

# %%
generator, step, count, rate, noise = np.random.default_rng(1), 0.02, 1000, 0.8, 0.3
x = np.zeros(count + 1)
for k in range(count):
    x[k + 1] = x[k] - rate * step * x[k] + np.sqrt(noise * step) * generator.normal()

increments, regressor = np.diff(x), -step * x[:-1]
fitted = (increments @ regressor) / (regressor @ regressor)
residual = increments - fitted * regressor
drawn = jnp.asarray(x)[:, None]


def action_of(k):
    return fl.ito_action(fl.FreidlinWentzell(lambda q: -k * q, 1.0), drawn, 0.0, step * count)


least = optimize.minimize_scalar(lambda k: float(action_of(k)), bracket=(0.0, 2.0), tol=1e-12).x
curvature = jax.grad(jax.grad(action_of))(rate) / noise
drifting, still = (fl.FreidlinWentzell(lambda q, k=k: -k * q, 1.0) for k in (fitted, 0.0))
explained = fl.explained_variance(drifting, drawn, t1=step * count, null_lagrangian=still, integral=fl.ito_action)
print(f"rate of least action {least:.9f}   by least squares {fitted:.9f}")
print(f"curvature of the action {curvature:.6f}   of the squares {regressor @ regressor / (noise * step):.6f}")
print(f"variance explained {explained:.9f}   R^2 {1 - residual @ residual / (increments @ increments):.9f}")

assert np.isclose(least, fitted, rtol=1e-6)  # a minimum is seen to the root of round-off
assert np.isclose(curvature, regressor @ regressor / (noise * step), rtol=1e-10)
assert np.isclose(explained, 1 - residual @ residual / (increments @ increments), rtol=1e-10)

# %% [markdown]
# The mean of that curvature over all paths is the Fisher information of the parameter: $T / 2 \theta$ in equilibrium.
# The relative entropy between the paths of two drifts is the mean cost of the control that turns one into the other
# (Girsanov). Both are simulated here; their standard errors stand beside them.

# %%
span = 4.0


def in_equilibrium(key):
    return jnp.sqrt(noise / (2 * rate)) * jax.random.normal(key, (1,))


simulated = {"key": jax.random.key(0), "paths": 4096, "steps": 128}
information = fl.expected_path_information(
    lambda k, q: -k * q, 1.0, noise, rate, in_equilibrium, 0.0, span, **simulated
)
control = fl.path_kl_divergence(
    lambda q: -rate * q, lambda q: -1.3 * q, 1.0, noise, in_equilibrium, 0.0, span, **simulated
)
known = span / (2 * rate)
for name, found, exact in (("information", information, known), ("entropy", control, 0.5**2 / 2 * known)):
    value, error = found.value.item(), found.standard_error.item()
    print(f"{name:12} {value:.4f} +- {error:.4f}   closed form {exact:.4f}")
    assert abs(value - exact) < 4 * error + found.error_estimate.item()

# %% [markdown]
# ## Entropy in the Lagrangian
#
# Maximise entropy under a mean, and the multiplier is conjugate to the mean as a momentum is to a velocity:
# $\partial H / \partial c = -\lambda$, and $\partial \lambda / \partial c$ is the inverse of a variance, which is a
# Fisher information. Jaynes' die shows 4.5 on average. Add entropy at a temperature to a Lagrangian of probabilities
# with a mean cost for potential, and it rests in Gibbs' distribution.

# %%
faces = np.arange(1.0, 7.0)
multiplier = optimize.brentq(lambda m: special.softmax(m * faces) @ faces - 4.5, 0, 1, xtol=1e-15)
dice = fl.maximum_entropy(lambda x: x, 4.5, jnp.asarray(faces))
slope = jax.grad(lambda mean: fl.maximum_entropy(lambda x: x, mean, jnp.asarray(faces)).entropy)(4.5)
print("a die of mean 4.5:", dice.probabilities.round(5))
print(f"multiplier {dice.multipliers:.12f}   by a root {multiplier:.12f}   minus the slope of entropy {-slope:.12f}")

cost, temperature = np.array([0.0, 1.0, 2.5]), 0.7
three = fl.families.Categorical(3)
paid = fl.FisherLagrangian(three, lambda p: jnp.asarray(cost) @ jnp.append(p, 1 - jnp.sum(p)))
exploring = fl.Forced(fl.EntropyRegularised(paid, three, temperature), fl.fisher_friction(three, 2.0))
settling = fl.integrate(exploring, jnp.full(2, 1 / 3), jnp.zeros(2), t1=40.0, steps=2000, save_every=2000)
gibbs = special.softmax(-cost / temperature)
print("friction leads to", settling.q[-1].round(9), "  Gibbs", gibbs[:2].round(9))

assert np.isclose(dice.multipliers, multiplier, rtol=1e-12)
assert np.isclose(-slope, multiplier, rtol=1e-10)
assert np.allclose(settling.q[-1], gibbs[:2], rtol=1e-7)

# %% [markdown]
# Rates and capacities are the same trade of a cost against an information, and come with a certificate: a lower and an
# upper bound. A coin of bias 0.3 told within a rate of errors $D$ needs $h(0.3) - h(D)$, whose slope is the multiplier.

# %%
levels = np.linspace(0.02, 0.28, 27)
curve = jax.vmap(lambda level: fl.rate_distortion(jnp.array([0.7, 0.3]), 1 - jnp.eye(2), level, throw=False))(levels)
exact = stats.entropy([0.3, 0.7]) - stats.entropy([levels, 1 - levels])
z_channel = fl.channel_capacity(jnp.array([[1.0, 0.0], [0.3, 0.7]]))
print(f"rate-distortion: largest error {np.max(np.abs(curve.rate - exact)):.1e}, largest gap {np.max(curve.gap):.1e}")
print(f"capacity of a Z channel {z_channel.capacity:.12f}   closed form {np.log1p(0.7 * 0.3 ** (3 / 7)):.12f}")

assert np.allclose(curve.rate, exact, atol=1e-9)
assert np.isclose(z_channel.capacity, np.log1p(0.7 * 0.3 ** (3 / 7)), rtol=1e-10)

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
axes.plot(levels, exact, color=plot.GREY, label="h(0.3) - h(D)")
axes.plot(levels, curve.rate, ".", color=plot.BLUE, label="computed")
axes.set(xlabel="errors allowed", ylabel="rate (nats)")
_ = axes.legend(frameon=False)

# %% [markdown]
# ## Work lost, and whose length bounds it
#
# Driving a system slowly wastes $L^2 / \tau$, with the length $L$ in a friction metric. That metric is the Fisher
# information only up to relaxation times. For an overdamped particle there is an exact bound at any speed, and it is
# the Wasserstein distance, not Fisher's: in a trap that stiffens from 1 to 4, $W_2^2 / \tau$.

# %%
trap, tau = fl.OverdampedTrap(), 2.0
driven = trap.transport(jnp.array([0.0, 1.0]), jnp.array([0.0, 4.0]), tau)
deviation = np.linspace(1.0, 0.5, 20_001)
stiffness = (1 + deviation * 0.25) / deviation**2  # holds the deviation to a straight line in time
work = np.trapezoid(0.5 * deviation**2, stiffness) + 0.5 * (stiffness[0] - 1) + 0.125 * (4 - stiffness[-1])
fisher_length = np.log(4) / np.sqrt(2)
print(f"work less free energy {work - 0.5 * np.log(4):.9f}   Wasserstein {driven.excess_work:.9f}")
print(f"squared Fisher length over the same time {fisher_length**2 / tau:.9f}: another number, and no bound")

assert np.isclose(work - 0.5 * np.log(4), driven.excess_work, rtol=1e-6)
assert np.isclose(driven.excess_work, 0.5**2 / tau, rtol=1e-12)

# %% [markdown]
# ## Another object of the same name
#
# The Fisher information of a density about its LOCATION, $J = \int p'^2 / p$, is one number for one density, no matrix
# on a family. Added to a potential energy, as $J / 8 + \langle V \rangle$, it is least in a Schroedinger ground state,
# because $J = 4 \int \psi'^2$ for $p = \psi^2$. And when noise is added to a variable, entropy grows at the rate
# $J / 2$ (de Bruijn).

# %%
grounds = {
    "oscillator": (lambda x: x**2 / 2, fl.LineGrid(size=32), 0.5),
    "quartic": (lambda x: x**4, fl.LineGrid(scale=0.6, size=48), 0.667986259155777),
    "between walls": (jnp.zeros_like, fl.IntervalGrid(-1.0, 1.0, size=24), np.pi**2 / 8),
}
found = {name: fl.minimum_fisher_density(potential, grid) for name, (potential, grid, _) in grounds.items()}
for name, (_, _, energy) in grounds.items():
    print(f"{name:14} {found[name].energy:.12f}   known {energy:.12f}")
    assert np.isclose(found[name].energy, energy, rtol=1e-9)


def mixture(x, time=0.0):
    deviation = jnp.sqrt(0.49 + time)
    return 0.5 * (jax.scipy.stats.norm.pdf(x, -1.0, deviation) + jax.scipy.stats.norm.pdf(x, 1.0, deviation))


fine = jnp.linspace(-9.0, 9.0, 4001)
entropies = [np.trapezoid(special.entr(mixture(fine, t)), fine) for t in (-1e-3, 1e-3)]
functional = fl.fisher_functional(mixture, fl.LineGrid(size=160))
print(f"de Bruijn: entropy grows at {np.diff(entropies)[0] / 2e-3:.8f}   J / 2 = {functional / 2:.8f}")

assert np.isclose(np.diff(entropies)[0] / 2e-3, functional / 2, rtol=1e-5)  # the square of the step in time

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
places = jnp.linspace(-2.5, 2.5, 301)
for name, colour in (("oscillator", plot.BLUE), ("quartic", plot.ORANGE)):
    axes.plot(places, jax.vmap(found[name].density)(places), color=colour, label=name)
axes.plot(
    places, jnp.where(jnp.abs(places) < 1, jnp.cos(jnp.pi * places / 2) ** 2, 0.0), color=plot.GREY, label="walls"
)
axes.set(xlabel="x", ylabel="density of least J / 8 + <V>")
_ = axes.legend(frameon=False)

# %% [markdown]
# ## Accelerated estimation
#
# Nesterov's accelerated descent follows, in the limit of small steps, the motion of a Lagrangian: that of Wibisono,
# Wilson and Jordan, $\ddot x + \tfrac3t \dot x + \nabla f = 0$ for the simplest geometry. For a parabola the motion is
# a Bessel function. In Fisher's geometry the same Lagrangian accelerates the natural gradient.

# %%
curvature, t0, t1 = 2.0, 0.5, 12.0


def bessel(t):
    return 2 * special.jv(1, np.sqrt(curvature) * t) / (np.sqrt(curvature) * t)


nesterov = fl.BregmanLagrangian.polynomial(lambda x: curvature * x**2 / 2, p=2, C=0.25)
speed = -2 * special.jv(2, np.sqrt(curvature) * t0) / t0
motion = fl.integrate(nesterov, bessel(t0), speed, t0=t0, t1=t1, steps=800, method=fl.GaussLegendre(3))
print(f"largest distance from Bessel's function {np.max(np.abs(motion.q - bessel(np.asarray(motion.t)))):.1e}")

assert np.allclose(motion.q, bessel(np.asarray(motion.t)), atol=1e-9)

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
axes.plot(motion.t, motion.q, color=plot.BLUE)
axes.set(xlabel="time", ylabel="x")
axes.axhline(0.0, color=plot.GREY, linewidth=1)

# %% [markdown]
# ## What is not claimed
#
# - That physics follows from information. The Fisher information of a density has Schroedinger ground states for
#   minimisers: an identity about a functional, from which no dynamics is derived. The programme that would (Frieden's)
#   is disputed (Lavis & Streater 2002).
# - That the two Fisher informations are one. $F(\theta)$ is a metric on a family; $J[p]$ is a number of a density. They
#   agree for a family of shifted copies of one density, and there alone.
# - That dissipation is measured by Fisher's length. For slow driving it is, after a relaxation time is put in; exactly
#   it is Wasserstein's.
# - That the least action gives the one path that noise takes. It gives the likeliest as the noise vanishes; at finite
#   noise what is likeliest depends on what is meant by near (Onsager and Machlup's term).
# - That $1 - S / S_0$ is a share of variance whatever the paths. It is where the noise is Gaussian and the null is
#   nested in what is fitted.
# - That a symmetric divergence knows the path: chains of them know it in the limit of short steps.
#
# ## The answer
#
# The Fisher information is a metric, so half of its squared velocity is a kinetic energy, and its least action is half
# a squared distance. The action of a path under noise is minus a log-likelihood, so its curvature is a Fisher
# information. With a likelihood for potential, friction makes the natural gradient, and a clock that runs down makes
# Nesterov's acceleration. Each of these has been computed twice above, and agrees.
