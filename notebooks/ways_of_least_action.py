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
# # Which way is the least, and is it the least?
#
# A bead slides, a soap film hangs between rings, a rope encloses a field, noise throws a particle over a barrier, a
# trap is moved without waste. Each takes a way that makes a number least, and each is found in one call: what shall be
# least, two ends, and what else the way must keep. Each answer is held against a closed form, or another calculation.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import brentq

import fimlag as fl
from fimlag import plot
from fimlag.problems import MaierStein

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The fastest slide, to a point and to a wall
#
# A bead that has fallen by $y$ moves at $\sqrt{2 g y}$, so its time is a length in the metric $ds^2 / 2 g y$, and
# $T^2$ is twice the least action of the free motion in this metric. At the start the metric is infinite. With the depth
# written as $y = z^2$ the cycloid becomes smooth there, and polynomials follow it. The other end is a point, or any
# point of a wall: a surface on which the momentum arrives at right angles.

# %%
GRAVITY = 9.81


def slide(t, q, v):
    return (v[0] ** 2 / q[1] ** 2 + 4 * v[1] ** 2) / (4 * GRAVITY)


def descent(end, x, z):
    return fl.least_action_path(slide, jnp.zeros(2), end, guess=lambda t: jnp.array([x * t**3, z * t]))


angle, radius, wall = 2.5, 0.8, 2.0
x, z = radius * (angle - np.sin(angle)), np.sqrt(radius * (1 - np.cos(angle)))
to_point = descent(jnp.array([x, z]), x, z)
to_wall = descent(fl.OnSurface(lambda q: q[0] - wall), wall, 0.9)
times = [np.sqrt(2 * solution.action) for solution in (to_point, to_wall)]
exact = [angle * np.sqrt(radius / GRAVITY), np.sqrt(np.pi * wall / GRAVITY)]
for name, time, known in zip(("point", "wall"), times, exact, strict=True):
    print(f"to the {name:6} {time:.12f} s   cycloid {known:.12f} s")
depth = to_wall.path(1.0)[1] ** 2
print(f"it meets the wall at a depth of {depth:.9f}; 2 x / pi = {2 * wall / np.pi:.9f}")

assert np.allclose(times, exact, rtol=1e-10)
assert np.isclose(depth, 2 * wall / np.pi, rtol=1e-8)
assert to_point.morse_index == to_wall.morse_index == 0

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
for solution, colour, name in ((to_point, plot.BLUE, "to a point"), (to_wall, plot.ORANGE, "to the wall")):
    across, root = jax.vmap(solution.path)(jnp.linspace(0.0, 1.0, 201)).T
    axes.plot(across, -(root**2), color=colour, label=name)
axes.axvline(wall, color=plot.GREY, linewidth=1)
axes.set(xlabel="x", ylabel="height", aspect="equal")
_ = axes.legend(frameon=False)

# %% [markdown]
# ## Two films between two rings
#
# The area of a surface of revolution is $2 \pi \int q \sqrt{1 + q'^2}\, dx$. Between rings of radius 1 at $x = \pm h$
# it is stationary for catenaries $q = c \cosh(x / c)$: two of them while the rings are near, none beyond $h = 0.6627$.
# The solver goes to the one near the guess, and the Morse index tells which it is: the wide film is a minimum; from
# the narrow one, the area falls in one direction. The distances are solved side by side, and each reports for itself.


# %%
def area(t, q, v):
    return q * jnp.sqrt(1 + v**2)


@jax.jit
@jax.vmap
def film(half, neck):
    def guess(x):
        return neck + (1 - neck) * (x / half) ** 2

    found = fl.least_action_path(area, 1.0, 1.0, -half, half, guess=guess, stationary=True, elements=16, throw=False)
    return found, found.path(0.0)


def member(batch, i):
    return jax.tree_util.tree_map(lambda leaf: leaf[i], batch)


def catenary(half, *between):
    return brentq(lambda c: c * np.cosh(half / c) - 1, *between, xtol=1e-15)


slope = brentq(lambda s: s * np.tanh(s) - 1, 1.0, 1.5, xtol=1e-15)
last = slope / np.cosh(slope)
halves = np.array([0.5, 0.6, 0.62, 0.64, 0.66, 0.67])
(wide, wide_necks), (narrow, narrow_necks) = (
    film(jnp.asarray(halves), jnp.full(halves.size, neck)) for neck in (0.85, 0.2)
)
print("half distance   wide: area/2pi, index   narrow: area/2pi, index")
for i, half in enumerate(halves[:-1]):
    print(
        f"{half:13.2f} {wide.action[i]:16.10f} {wide.morse_index[i]:6d}"
        f" {narrow.action[i]:18.10f} {narrow.morse_index[i]:6d}"
    )
print(f"{halves[-1]:13.2f}   {fl.RESULTS[member(wide.result, -1)]}")

for found, index, between in ((wide, 0, (1 / np.cosh(slope), 1.0)), (narrow, 1, (0.15, 1 / np.cosh(slope)))):
    c = np.array([catenary(half, *between) for half in halves[:-1]])
    exact = c * (halves[:-1] + c / 2 * np.sinh(2 * halves[:-1] / c))
    assert np.allclose(found.action[:-1], exact, rtol=1e-9)
    assert np.array_equal(found.succeeded, halves < last)
    assert np.all(found.morse_index[:-1] == index)

# %% [markdown]
# That none was found at 0.67 is no proof that there is none. But the gap between the two necks closes as the square
# root of the distance that is left: so the distance is a smooth function of the squared gap, and both films vanish
# where this is zero.

# %%
gaps = np.asarray(wide_necks - narrow_necks)[:-1] ** 2
vanish = np.polyfit(gaps, halves[:-1], gaps.size - 1)[-1]
print(f"both vanish at a half distance of {vanish:.8f}; closed form {last:.8f}")

# The error of an extrapolation to zero: the product of the places, times a coefficient of the next power below 1.
assert abs(vanish - last) < np.prod(gaps)

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
plot.path(axes, member(wide.path, 1), ends=False, label="minimum")
plot.path(axes, member(narrow.path, 1), ends=False, color=plot.ORANGE, label="saddle")
axes.vlines([-0.6, 0.6], 0, 1, color=plot.GREY)
axes.set(xlabel="x", ylabel="radius of the film", ylim=(0, 1.1))
_ = axes.legend(frameon=False)

# %% [markdown]
# A minimum here is one among neighbouring paths. At $h = 0.6$ two flat discs, one in each ring, have less area than the
# wide film: 1 in these units. They are no graph over the axis, and no index warns of them.

# %%
print(f"wide film {wide.action[1]:.6f}, two discs 1")
assert wide.morse_index[1] == 0
assert wide.action[1] > 1

# %% [markdown]
# ## Round a disc
#
# The shortest way from $(-2, 0)$ to $(2, 0)$ that keeps out of the unit disc is a string pulled tight: two tangents
# and an arc, $2 \sqrt 3 + \pi / 3$ in length. Where it touches, its acceleration jumps, which no polynomial follows:
# way-points there, their places free, put the jump between two elements. Their times are known here; without them the
# way is still found, less exactly, and the error estimate says so.


# %%
def kinetic(t, q, v):
    return jnp.sum(v**2) / 2


tight = 2 * np.sqrt(3) + np.pi / 3
touch = np.sqrt(3) / tight
around = fl.least_action_path(
    kinetic,
    jnp.array([-2.0, 0.0]),
    jnp.array([2.0, 0.0]),
    inequality_constraints=[lambda t, q, v: jnp.sum(q**2) - 1],
    waypoints=[(touch, None), (1 - touch, None)],
    guess=lambda t: jnp.array([-2 + 4 * t, 1.5 * jnp.sin(jnp.pi * t)]),
    elements=4,
)
length = np.sqrt(2 * around.action)
error = abs(around.action - tight**2 / 2)
print(f"length {length:.10f}; closed form {tight:.10f}")
print(f"error of the action: estimated {around.error_estimate:.0e}, true {error:.0e}")

assert np.isclose(length, tight, rtol=1e-9)
assert error < 2 * around.error_estimate

# %%
figure, axes = plt.subplots(figsize=(4.6, 2.4), layout="constrained", dpi=80)
axes.add_patch(plt.Circle((0, 0), 1, color=plot.GREY, alpha=0.3))
plot.path(axes, around.path)
axes.plot(*jax.vmap(around.path)(jnp.array([touch, 1 - touch])).T, "o", color=plot.ORANGE)
_ = axes.set(xlabel="x", ylabel="y", ylim=(-1.1, 1.3), aspect="equal")

# %% [markdown]
# ## Most land for a rope
#
# Dido's problem: a rope of given length $\ell$, its ends 1 apart on a straight shore. Most area lies under an arc of a
# circle. The length is an integral constraint, and its multiplier is the price of rope: the derivative of the area in
# the length, which is the radius $r$ of the arc, for $\ell = 2 r \arcsin(1 / 2 r)$. Differentiating through the
# solver gives the same number. (For $\ell > \pi / 2$ the arc overhangs the shore, and is no function of it.)


# %%
@jax.jit
def rope(length):
    solution = fl.least_action_path(
        lambda t, q, v: -q,
        0.0,
        0.0,
        integral_constraints=[(lambda t, q, v: jnp.sqrt(1 + v**2), length)],
        guess=lambda t: 2 * t * (1 - t),
        elements=16,
        throw=False,
    )
    return -solution.action, solution


length = 1.3
arc = brentq(lambda r: 2 * r * np.arcsin(0.5 / r) - length, 0.5001, 5.0, xtol=1e-15)
segment = arc * length / 2 - np.sqrt(arc**2 - 0.25) / 2
(most, dido), price = jax.value_and_grad(rope, has_aux=True)(length)
print(f"area        {most:.12f}   segment {segment:.12f}")
print(f"multiplier  {dido.multipliers[0]:.12f}   radius  {arc:.12f}")
print(f"derivative  {price:.12f}")

assert dido.succeeded
assert np.isclose(most, segment, rtol=1e-9)
assert np.allclose([price, dido.multipliers[0]], arc, rtol=1e-9)

# %%
figure, axes = plt.subplots(figsize=(4.6, 2.2), layout="constrained", dpi=80)
plot.path(axes, dido.path)
axes.axhline(0, color=plot.GREY, linewidth=1)
_ = axes.set(xlabel="along the shore", ylabel="inland", aspect="equal")

# %% [markdown]
# ## The way out of a valley
#
# Under weak noise, $dX = b(X)\, dt + \sqrt\varepsilon\, dW$, a path has the weight $e^{-S / \varepsilon}$ with $S =
# \frac12 \int |\dot q - b|^2\, dt$ (Freidlin and Wentzell), and a rare event takes the path of least $S$, whatever
# time it needs. In the drift of Maier and Stein two valleys at $(\pm 1, 0)$ are parted by a saddle at the origin. At
# $\beta = 1$ the drift is a gradient, and $S$ twice the height of the barrier: $\frac12$. The axis costs $\frac12$ for
# every $\beta$, but at $\beta = 10$ it is no minimum any more: asked for one from there, the solver refuses.

# %%
valley, saddle = jnp.array([-1.0, 0.0]), jnp.zeros(2)


def exit_path(beta, height):
    guess = jnp.stack([valley, jnp.array([-0.5, height]), saddle])
    return fl.geometric_action_path(MaierStein(beta), 1.0, valley, saddle, guess=guess, throw=False)


gradient, axis = exit_path(1.0, 0.2), exit_path(10.0, 0.0)
above, below = exit_path(10.0, 0.2), exit_path(10.0, -0.2)
for name, way in (("beta = 1", gradient), ("the axis", axis), ("above it", above), ("below it", below)):
    print(f"{name}   S = {way.action:.10f}   Morse index {way.morse_index}")

assert gradient.succeeded
assert gradient.morse_index == 0
assert np.allclose([gradient.action, axis.action], 0.5, rtol=1e-10)
assert axis.result == fl.RESULTS.not_a_minimum
assert axis.morse_index == 2
for way in (above, below):
    assert way.succeeded
    assert way.morse_index == 0
    assert np.isclose(way.action, above.action, rtol=1e-10)

# %% [markdown]
# Two ways off the axis, mirror images, cost less. `fl.quasi_potential` is the same number alone. No closed form
# is known, but the most likely path is also a motion of the Lagrangian, with energy zero: its speed is $|b|$.
# Started on the curve, an integrator that knows nothing of the saddle has to stay on it.

# %%
drift, out = MaierStein(10.0), above.path
first, later = 0.2, 0.8


@jax.jit
@jax.vmap
def slowness(share):
    return jnp.linalg.norm(out.velocity(share)) / jnp.linalg.norm(drift(out(share)))


nodes, weights = np.polynomial.legendre.leggauss(40)
shares = np.append((first + later + (later - first) * nodes) / 2, first)
slow = slowness(jnp.asarray(shares))
duration = slow[:-1] @ weights * (later - first) / 2
motion = fl.integrate(
    fl.FreidlinWentzell(drift, 1.0),
    out(first),
    out.velocity(first) / slow[-1],
    t1=duration,
    steps=64,
    save_every=64,
    method=fl.GaussLegendre(3),
)
miss = np.max(np.abs(motion.q[-1] - out(later)))
print(f"after a time of {duration:.4f} the motion misses the curve by {miss:.0e}")

# Points of a path are good to the square root of the action's error; motions near the valley part as e^2t.
assert miss < 1e-6

# %% [markdown]
# The mean time of escape grows as $e^{S / \varepsilon}$. Believing in the axis would overrate it by a factor that
# itself grows without bound as the noise falls. The factor in front of the exponential is not in $S$.

# %%
best = above.action
for noise in (0.1, 0.05, 0.02):
    print(
        f"noise {noise:.2f}: exp(S / noise) = {np.exp(best / noise):9.3g}, "
        f"by the axis {np.exp(0.5 / noise):9.3g}, {np.exp((0.5 - best) / noise):6.0f} times as long"
    )

figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
x, y = np.meshgrid(np.linspace(-1.2, 0.2, 15), np.linspace(-0.5, 0.5, 11))
field = jax.vmap(drift)(jnp.stack([x.ravel(), y.ravel()], axis=1))
axes.quiver(x, y, *field.T, color=plot.GREY, alpha=0.6)
plot.path(axes, out, label="most likely")
plot.path(axes, below.path)
plot.path(axes, axis.path, color=plot.ORANGE, linestyle="--", label="the axis")
axes.set(xlabel="x", ylabel="y")
_ = figure.legend(frameon=False, loc="outside upper center", ncols=2)

# %% [markdown]
# ## A trap moved without waste
#
# A particle in a harmonic trap is dragged while the trap is stiffened, in a time $\tau$. For slow driving the work
# beyond the free energy is $\int \dot\lambda^\top \zeta(\lambda)\, \dot\lambda\, dt$ with a friction $\zeta$: a metric
# on the settings (centre, stiffness). The best protocol is its geodesic, at a cost of $L^2 / \tau$. At any speed, the
# particle far from equilibrium, `OverdampedTrap` has the least work in closed form; it needs jumps at both ends.

# %%
trap, tau = fl.OverdampedTrap(drag=1.7, temperature=0.6), 3.0
loose, stiff = jnp.array([0.0, 1.0]), jnp.array([1.0, 9.0])
gentle = fl.optimal_protocol(trap.friction, loose, stiff, tau)
closed = trap.linear_response(loose, stiff, tau)
straight = fl.protocol_cost(trap.friction, lambda t: loose + (stiff - loose) * t / tau, 0.0, tau)
least = trap.least_work(loose, stiff, tau)
print(f"geodesic      {gentle.excess_work:.10f}   closed form {closed.excess_work:.10f}")
print(f"straight line {straight.excess_work:.10f}")
print(f"least work    {least.excess_work:.10f}   at this speed, with jumps at both ends")

assert np.isclose(gentle.excess_work, closed.excess_work, rtol=1e-10)
assert np.allclose(gentle.path(1.0), closed(1.0), rtol=1e-9)
assert gentle.morse_index == 0
assert least.excess_work < gentle.excess_work < straight.excess_work

# %%
times = jnp.linspace(0.0, tau, 201)
figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained", dpi=80)
plot.path(axes, gentle.path, label="slow driving")
axes.plot(*jax.vmap(least)(times[1:-1]).T, color=plot.ORANGE, label="least work")
axes.set(xlabel="centre of the trap", ylabel="stiffness")
_ = axes.legend(frameon=False)

# %% [markdown]
# The same cost is found a third way. The density moves from one normal distribution to another. The cheapest process
# that carries it is a Schroedinger bridge, at noise zero the optimal transport, whose action is $W_2^2 / 2 \tau$: the
# work is twice the drag times it. With the particle's noise, $2 kT / \gamma$, the ends remember less of each other.

# %%
(mean0, s0), (mean1, s1) = ((setting[:1], trap.temperature / setting[1:, None]) for setting in (loose, stiff))
noise = 2 * trap.temperature / trap.drag
transport = fl.gaussian_schroedinger_bridge(mean0, s0, mean1, s1, 0.0, t1=tau)
bridge = fl.gaussian_schroedinger_bridge(mean0, s0, mean1, s1, noise, t1=tau)
shared = (np.sqrt(4 * s0 * s1 + (noise * tau) ** 2) - noise * tau) / 2
print(f"twice the drag times the action  {2 * trap.drag * transport.action:.10f}")
print(f"covariance of the ends {bridge.cross_covariance.item():.12f}; closed form {shared.item():.12f}")

assert np.isclose(2 * trap.drag * transport.action, gentle.excess_work, rtol=1e-10)
assert np.allclose(bridge.cross_covariance, shared, rtol=1e-12)

# %% [markdown]
# ## What is not claimed
#
# Each path is stationary, and one of index 0 is a minimum among its neighbours. Nothing here says that it is the least
# of all: the discs beat a film, the way above the axis has a twin below, and so has the way round the disc.
# `fl.stationary_paths` looks for several from many guesses, but a list of stationary paths is never complete.
#
# ## The answer
#
# Told only what is to be least, a few calls find the cycloid to ten digits, both catenoids and the separation at which
# they vanish, the string round a disc, the arc that Dido's rope takes and the price of a longer one, the way that noise
# takes out of a valley, and the protocol that wastes least. Each path says whether it is a minimum among its
# neighbours, and where a minimum was asked for and none found, that is said too.
