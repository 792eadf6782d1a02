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
# # How different are two distributions, and what lies between them?
#
# Waiting times are often gamma distributed. Two machines have such waiting times: how different are they, in a number
# that does not depend on how the distributions are written down? Which distributions lie between them, and what is the
# mean of many? The Fisher information makes the family a curved surface, and the questions are answered on it.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fimlag as fl
from fimlag import plot

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The surface
#
# A point is a pair of shape and rate, $(a, b)$. The family knows its metric in closed form; its log-likelihood alone
# gives the same.

# %%
gamma = fl.families.Gamma()
metric = fl.FisherMetric(gamma)
start, end = jnp.array([0.8, 2.0]), jnp.array([6.0, 3.0])
closed, generic = metric(start), fl.fisher_information(gamma.model, start)
print(closed)
assert jnp.allclose(closed, generic, rtol=1e-8)

# %% [markdown]
# The scalar curvature depends on the shape alone. The surface is negatively curved everywhere, from $-1/2$ at small
# shapes to $-1$ at large ones: the curvature of the normal distributions, which gamma distributions then resemble.

# %%
curvature = jax.jit(jax.vmap(lambda theta: fl.scalar_curvature(metric, theta)))
shapes = jnp.geomspace(1e-4, 1e4, 512)
along_shapes = curvature(jnp.stack([shapes, 2.0 * shapes], axis=1))
print(f"from {along_shapes[0]:.4f} to {along_shapes[-1]:.4f}")

assert jnp.all((along_shapes > -1.001) & (along_shapes < -0.499))
assert jnp.isclose(along_shapes[0], -0.5, atol=1e-3)
assert jnp.isclose(along_shapes[-1], -1.0, atol=1e-3)

# %% [markdown]
# ## How different
#
# The distance is the length of the shortest path. Near each other, all measures of difference agree with it: twice the
# Kullback-Leibler divergence, Jeffreys' divergence and eight times the squared Hellinger distance are the squared
# distance. The first departs from it in proportion to the distance, the other two in proportion to its square.

# %%
geodesic = fl.geodesic(metric, start, end)
distance = jnp.sqrt(2.0 * geodesic.action)
assert geodesic.morse_index == 0
assert abs(distance - 2.549) < 5e-4


@jax.jit
@jax.vmap
def divergences(theta):
    pair = gamma.model, start, theta
    return jnp.stack(
        [2.0 * fl.kl_divergence(*pair), fl.jeffreys_divergence(*pair), 8.0 * fl.hellinger_distance(*pair) ** 2]
    )


fractions = 0.5 ** jnp.arange(7.0)
found = divergences(jax.vmap(geodesic.path)(fractions))
ratios = found / (fractions * distance)[:, None] ** 2
print("distance   2 KL / d^2   J / d^2   8 H^2 / d^2")
for fraction, row in zip(fractions, ratios, strict=True):
    print(f"{fraction * distance:8.4f} {row[0]:12.6f} {row[1]:9.6f} {row[2]:13.6f}")
orders = jnp.log2(jnp.abs(ratios[-2] - 1.0) / jnp.abs(ratios[-1] - 1.0))
print("orders of the departure:", jnp.round(orders, 2))

assert jnp.allclose(orders, jnp.array([1.0, 2.0, 2.0]), atol=0.1)

# %% [markdown]
# ## What lies between
#
# What "straight" means depends on the connection. The geodesic of the metric is shortest. The e-geodesic mixes
# log-densities, the m-geodesic mixes the means of $\log x$ and $x$: straight lines in the natural parameters $(a, -b)$
# and in the mean parameters of the exponential family.

# %%
family = gamma.exponential_form


@jax.jit
def squared_speed(line):
    return 2.0 * fl.action(fl.NaturalLagrangian(metric), lambda t: gamma.of_natural(line(t)))


e_line, m_line = (line(family, gamma.natural(start), gamma.natural(end)) for line in (fl.e_geodesic, fl.m_geodesic))
jeffreys = found[0, 1]
of_e, of_m = squared_speed(e_line), squared_speed(m_line)
print(f"squared speed, integrated along the geodesic   {distance**2:.9f}")
print(f"                                the e-geodesic {of_e:.9f}")
print(f"                                the m-geodesic {of_m:.9f}")
print(f"Jeffreys' divergence of the ends               {jeffreys:.9f}")

# %% [markdown]
# Both other lines cost the same, and exactly Jeffreys' divergence of their ends: a theorem that ties three calculations
# with little in common. The squared distance is less, as it must be.

# %%
assert jnp.isclose(of_e, jeffreys, rtol=1e-9)
assert jnp.isclose(of_m, jeffreys, rtol=1e-9)
assert distance**2 < jeffreys

# %% [markdown]
# The alpha-geodesics join the three. That of $\alpha = -1$, found as the solution of a boundary-value problem that
# knows no straight lines, is the m-geodesic.

# %%
mixture = fl.alpha_geodesic(gamma, start, end, -1.0)
halfway = {
    "geodesic": geodesic.path(0.5),
    "e-geodesic": gamma.of_natural(e_line(0.5)),
    "m-geodesic": gamma.of_natural(m_line(0.5)),
}
for name, theta in halfway.items():
    print(f"{name:10} halfway: shape {theta[0]:.6f}, rate {theta[1]:.6f}")
assert jnp.allclose(mixture.path(0.5), halfway["m-geodesic"], rtol=1e-8)

# %%
times, x = jnp.linspace(0.0, 1.0, 41), jnp.linspace(0.02, 5.0, 300)
density = jax.jit(jax.vmap(lambda theta, x: jnp.exp(gamma.log_likelihood(theta, x)), (None, 0)))
straight = jax.vmap(lambda t: gamma.of_natural(e_line(t)))(times)
lines = (jax.vmap(geodesic.path)(times), straight, jax.vmap(mixture.path)(times))

figure, (plane, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained", dpi=80)
for (name, theta), line, colour in zip(halfway.items(), lines, (plot.BLUE, plot.ORANGE, plot.GREY), strict=True):
    plane.plot(*line.T, color=colour, label=name)
    middle.plot(x, density(theta, x), color=colour)
plot.metric_ellipses(plane, metric, lines[0][::10], radius=0.2)
plane.set(xlabel="shape", ylabel="rate")
plane.legend(frameon=False)
for theta in (start, end):
    middle.plot(x, density(theta, x), ":", color=plot.INK)
middle.set(xlabel="x", title="halfway between the dotted", ylim=(0, 1.2))
right.semilogx(shapes, along_shapes, color=plot.BLUE)
_ = right.set(xlabel="shape", title="scalar curvature")

# %% [markdown]
# ## The mean of many
#
# Forty machines of one kind gave a hundred waiting times each. The fits scatter about the truth, and by theory their
# squared distances to the Frechet mean, times the observations in a fit, are 2 on average: one for each parameter.


# %%
@jax.jit
@jax.vmap
def refit(data):
    mean, variance = jnp.mean(data), jnp.var(data)
    fit = fl.maximum_likelihood(gamma, data, jnp.stack([mean**2 / variance, mean / variance]), throw=False)
    return fit.theta, fit.succeeded


truth, machines, observations = jnp.array([2.0, 1.5]), 40, 100
data = jax.random.gamma(jax.random.key(0), truth[0], (machines, observations)) / truth[1]
fits, succeeded = refit(data)
mean = fl.frechet_mean(metric, fits)
spread = observations * mean.variance * machines / (machines - 1)
print(f"Frechet mean: shape {mean.mean[0]:.4f}, rate {mean.mean[1]:.4f}; mean squared distance {spread:.3f}")
print(f"sectional curvature at most {mean.curvature:.3f}: there is no other mean; convexity {mean.convexity:.4f}")

assert jnp.all(succeeded)
assert mean.gradient_norm < 1e-12
assert mean.curvature < 0.0
assert mean.convexity >= 1.0
# Four standard errors of a mean of 40 chi-squared numbers of two degrees of freedom.
assert abs(spread - 2.0) < 4.0 * np.sqrt(4.0 / machines)

# %% [markdown]
# ## A thousand distances in one call
#
# A geodesic ball about the mean with the radius $\sqrt{5.99 / 100}$, for $\chi^2_{2; 0.95} = 5.99$, should hold some
# 95 % of the fits, and its edge should lie at that distance in all directions. With 180 points of the edge, 40 fits and
# all 780 pairs of fits there are a thousand distances to find; `vmap` finds them side by side. For pairs so close a
# mesh of four elements is ample, and not compiling a finer one as well saves half the wait.

# %%
radius = jnp.sqrt(5.991465 / observations)
edge = jax.jit(lambda centre: fl.geodesic_sphere(metric, centre, radius, 180))(mean.mean)
one, other = np.triu_indices(machines, 1)
to_mean = jnp.concatenate([edge, fits])
firsts = jnp.concatenate([to_mean, fits[one]])
seconds = jnp.concatenate([jnp.broadcast_to(mean.mean, to_mean.shape), fits[other]])
distances = jax.jit(jax.vmap(lambda p, q: fl.distance(metric, p, q, elements=4)))(firsts, seconds)
of_edge, of_fits, of_pairs = jnp.split(distances, [180, 220])
inside = jnp.sum(of_fits < radius)
print(f"{distances.size} distances; the edge lies within {jnp.max(jnp.abs(of_edge / radius - 1)):.0e} of the radius")
print(f"{inside} of {machines} fits lie inside; the farthest two machines are {jnp.max(of_pairs):.3f} apart")

assert distances.size == 1000
assert jnp.all(jnp.isfinite(distances))
assert jnp.allclose(of_edge, radius, rtol=1e-9)
assert jnp.isclose(jnp.mean(of_fits**2), mean.variance, rtol=1e-9)
assert inside >= 34

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.4), layout="constrained", dpi=80)
axes.plot(*fits.T, ".", color=plot.GREY, label="fits")
axes.plot(*jnp.append(edge, edge[:1], axis=0).T, color=plot.BLUE, label="95 % ball")
axes.plot(*mean.mean, "o", color=plot.ORANGE, label="Frechet mean")
axes.set(xlabel="shape", ylabel="rate")
_ = axes.legend(frameon=False)

# %% [markdown]
# ## Curvature made visible
#
# Carry a vector round the edge of a disc in the plane of $\log a$ and $\log b$, always parallel to itself. It returns
# turned, by the integral of the Gauss curvature, half the scalar one, over the disc (Gauss and Bonnet).


# %%
def at(r, angle):
    return truth * jnp.exp(r * jnp.stack([jnp.cos(angle), jnp.sin(angle)]))


rotation = fl.transport_map(metric, lambda t: at(1.0, 2.0 * jnp.pi * t)).rotation
turned = jnp.arctan2(rotation[1, 0], rotation[0, 0])

nodes, weights = np.polynomial.legendre.leggauss(16)
r, angle = (jnp.asarray(grid.ravel()) for grid in np.meshgrid((nodes + 1) / 2, 2 * np.pi * np.arange(32) / 32))
places = jax.vmap(at)(r, angle)
volumes = jax.vmap(lambda theta: fl.volume_density(metric, theta))(places) * jnp.prod(places, axis=1) * r
area_weights = jnp.tile(jnp.asarray(weights) / 2.0, 32) * (2.0 * jnp.pi / 32)
of_curvature = jnp.sum(area_weights * volumes * curvature(places) / 2.0)
print(f"turned by {turned:.9f}; curvature integrated {of_curvature:.9f}")

assert jnp.isclose(turned, of_curvature, rtol=1e-8)

# %% [markdown]
# ## Far apart
#
# From a spike at zero to a narrow bell: solvers often fail on such pairs, because they step over the edge of the
# domain. In the chart of the family it has no edge. The way back is as long as the way there, and the motion that
# starts with the logarithm lands on the other end.

# %%
spike, bell = jnp.array([0.1, 1.0]), jnp.array([60.0, 20.0])
there, back = fl.distance_estimate(metric, spike, bell), fl.distance_estimate(metric, bell, spike)
landing = fl.exp_map(metric, spike, fl.log_map(metric, spike, bell))
print(f"there {there.value:.12f}\nback  {back.value:.12f}")
print("the motion lands on", landing)

assert jnp.isclose(there.value, back.value, rtol=1e-10)
assert there.error_estimate < 1e-8
assert jnp.allclose(landing, bell, rtol=1e-8)

# %% [markdown]
# ## The answer
#
# The two machines are 2.549 standard errors of one observation apart. Three straight lines lead from one to the other;
# only the geodesic is shortest, and the other two cost Jeffreys' divergence. Means, balls and parallel vectors live on
# the surface as they do in the plane, up to a curvature between $-1/2$ and $-1$ that can be seen and integrated.
