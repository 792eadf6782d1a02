"""Other ways to a stationary path than the default Newton's method: descent by optax, and shooting."""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag.mechanics import acceleration
from fimlag.paths._bordered import SecondVariation
from fimlag.paths._discrete_action import DiscreteAction, Unknowns
from fimlag.paths._newton import NewtonState, make_stationary


class AbstractPathMethod(eqx.Module):
    """A way to find a stationary path of a discrete action; those here take no constraints."""

    def iterate(self, problem: DiscreteAction, y: Unknowns, max_iterations: int) -> NewtonState:
        """The state in which the method ends from `y`, of every lane."""
        if y.border.shape[0] or problem.barrier is not None:
            raise ValueError(
                f"{type(self).__name__} finds paths between fixed ends without constraints. Leave `method` out for "
                "free ends and times, way-points and constraints."
            )
        indices = jnp.arange(y.nodes.shape[-1])[:, None]
        found = lax.map(lambda index: self._one(problem.take(index), _taken(y, index), max_iterations), indices)
        return jax.tree_util.tree_map(lambda x: jnp.moveaxis(x[..., 0], 0, -1), found)

    @abc.abstractmethod
    def _one(self, problem: DiscreteAction, y: Unknowns, max_iterations: int) -> NewtonState:
        """The same for one lane."""


class Descent(AbstractPathMethod):
    r"""Descent of the action by any optax transformation: L-BFGS, Adam, and their like.

    $$u \leftarrow u + \Delta(\nabla S(u))$$

    Slower than Newton's method by orders of magnitude on fine meshes, where its iterations grow with the number of
    nodes; it needs no second derivatives.

    **Arguments:** `optimiser`: an `optax.GradientTransformation`; None: `optax.lbfgs()`; `max_iterations`: their limit;
    `tolerance`: the largest entry of the gradient at which it stops, in units of the integral of |L|; None: eps^0.5
    (1e-8 in double precision).

    **Reference:** Nocedal & Wright (2006), sec. 7.2; Kingma & Ba (2015).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> sphere = fl.NaturalLagrangian(lambda q: jnp.diag(jnp.array([1.0, jnp.sin(q[0]) ** 2])))
    >>> ends = jnp.array([1.0, 0.0]), jnp.array([1.0, 1.0])
    >>> slow = fl.least_action_path(sphere, *ends, method=fl.Descent())
    >>> bool(jnp.isclose(slow.action, fl.least_action_path(sphere, *ends).action, rtol=1e-9))
    True

    ```
    """

    optimiser: Any = eqx.field(static=True, default=None)
    max_iterations: int = eqx.field(static=True, default=2000)
    tolerance: float | None = eqx.field(static=True, default=None)

    def _one(self, problem, y, max_iterations):
        optimiser = optax.with_extra_args_support(optax.lbfgs() if self.optimiser is None else self.optimiser)
        eps = float(jnp.finfo(y.nodes.dtype).eps)
        tolerance = math.sqrt(eps) if self.tolerance is None else self.tolerance
        first = problem.expand(y)
        bound = tolerance * problem.integral(y, jnp.abs(first.values))[0]

        def action(nodes):
            return problem.values(Unknowns(nodes, y.border))[0]

        def step(carry):
            nodes, state, _, number = carry
            value, gradient = jax.value_and_grad(action)(nodes)
            updates, state = optimiser.update(gradient, state, nodes, value=value, grad=gradient, value_fn=action)
            moved = optax.apply_updates(nodes, updates)
            return moved, state, jnp.max(jnp.abs(jax.grad(action)(moved))), number + 1

        def unfinished(carry):
            return (carry[2] > bound) & (carry[3] < self.max_iterations)

        # optax mixes integer types, which a user may have forbidden.
        with jax.numpy_dtype_promotion("standard"):
            start = y.nodes, optimiser.init(y.nodes), jnp.asarray(jnp.inf, y.nodes.dtype), jnp.zeros((), int)
            nodes, _, slope, number = lax.while_loop(unfinished, step, start)
        return _ended(problem, Unknowns(jnp.asarray(nodes), y.border), number, slope <= bound)


class Shooting(AbstractPathMethod):
    r"""Shooting: the Euler-Lagrange equations are followed in time, and the starting velocities corrected.

    $$\Phi_{\tau_k \to \tau_{k+1}}(q_k, v_k) - (q_{k+1}, v_{k+1}) = 0$$

    With several segments it is multiple shooting, which long or unstable motions need. The motions are followed
    adaptively (Tsitouras' method of order 5), the unknowns corrected by Newton's method, and the path found this way
    is finished by undamped Newton steps on the action.

    **Arguments:** `segments`: the number of pieces, a divisor of the number of elements; `rtol`: the relative tolerance
    of the motions; None: eps^(2/3) (4e-11 in double precision); `max_iterations`: of Newton's method.

    **Reference:** Stoer & Bulirsch (2002), sec. 7.3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> pendulum = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: -jnp.cos(q[0]))
    >>> ends = jnp.array([0.0]), jnp.array([1.0])
    >>> shot = fl.least_action_path(pendulum, *ends, method=fl.Shooting(segments=4))
    >>> bool(jnp.isclose(shot.action, fl.least_action_path(pendulum, *ends).action, rtol=1e-12))
    True

    ```
    """

    segments: int = eqx.field(static=True, default=1)
    rtol: float | None = eqx.field(static=True, default=None)
    max_iterations: int = eqx.field(static=True, default=64)

    def _one(self, problem, y, max_iterations):
        import optimistix

        if problem.mesh.count % self.segments:
            raise ValueError(f"{self.segments} segments do not divide {problem.mesh.count} elements.")
        times = problem.stations.node_times(problem.mesh)[:, 0]
        shots = _Shots(problem, times, self.segments, self.rtol)
        solution = optimistix.root_find(
            lambda unknowns, _: shots.mismatch(unknowns),
            optimistix.Newton(1e-8, 1e-8),
            shots.first(problem.offsets(y)[..., 0]),
            max_steps=self.max_iterations,
            throw=False,
        )
        shot = problem.unknowns(shots.nodes(solution.value)[..., None], y.border)
        met = solution.result == optimistix.RESULTS.successful
        state = make_stationary(problem, shot, max_iterations)
        iterations = state.iterations + solution.stats["num_steps"].astype(int)
        failed = state.failed | ~met
        return eqx.tree_at(lambda s: (s.iterations, s.failed), state, (iterations, failed))


class _Shots(eqx.Module):
    """Motions from the starts of segments: unknown are the first velocity, and the states where segments meet."""

    problem: DiscreteAction
    times: Float[Array, " nodes"]
    segments: int
    rtol: float | None

    def first(self, offsets: Float[Array, "nodes d"]):
        """The first guess: what a path passes."""
        per = self._per
        duration = jnp.diff(self.times[::per])[:, None]
        velocities = (offsets[per::per] - offsets[:-1:per]) / duration
        return velocities, offsets[per:-1:per]

    def mismatch(self, unknowns):
        """By how much the motions miss the next segments' starts, and the last one the end."""
        velocities, joints = unknowns
        rows = self._motions(unknowns)
        ends, speeds = rows[:, -1, 0], rows[:, -1, 1]
        last = self.problem.stations.places[-1, :, 0]
        return ends - jnp.concatenate([joints, last[None]]), speeds[:-1] - velocities[1:]

    def nodes(self, unknowns) -> Float[Array, "nodes d"]:
        """The motions at the nodes."""
        rows = self._motions(unknowns)[:, :, 0]
        last = self.problem.stations.places[-1, :, 0]
        return jnp.concatenate([rows[:, :-1].reshape(-1, rows.shape[-1]), last[None]])

    @property
    def _per(self) -> int:
        return (self.times.shape[0] - 1) // self.segments

    def _motions(self, unknowns) -> Float[Array, "segments nodes two d"]:
        """Positions and velocities at the nodes of every segment, both ends included."""
        velocities, joints = unknowns
        starts = jnp.concatenate([self.problem.stations.places[:1, :, 0], joints])
        numbers = jnp.arange(self.segments)[:, None] * self._per + jnp.arange(self._per + 1)[None]
        return jax.vmap(self._motion)(jnp.stack([starts, velocities], axis=1), self.times[numbers])

    def _motion(self, start, times):
        import diffrax

        origin = self.problem.origin[:, 0]
        tolerance = float(jnp.finfo(start.dtype).eps) ** (2 / 3) if self.rtol is None else self.rtol

        def field(t, state, _):
            return jnp.stack([state[1], acceleration(self._lagrangian, t, origin + state[0], state[1])])

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Tsit5(),
            times[0],
            times[-1],
            None,
            start,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            adjoint=diffrax.ForwardMode(),
            max_steps=100_000,
            throw=False,
        )
        return jnp.asarray(solution.ys)

    @property
    def _lagrangian(self):
        return self.problem.one_lane().lagrangian


def _ended(problem: DiscreteAction, y: Unknowns, iterations: Int[Array, ""], converged: Bool[Array, ""]) -> NewtonState:
    """The state in which one lane's method that takes no second derivatives has ended."""
    expansion = problem.expand(y)
    index = SecondVariation(problem, y, expansion).negative_directions()
    undamped = jnp.zeros_like(y.nodes[0, 0])
    failed = ~jnp.isfinite(problem.values(y))
    done = jnp.ones_like(failed)
    return NewtonState(
        y, expansion, undamped, jnp.zeros_like(index), index, iterations[None], converged[None], failed, done
    )


def _taken(y: Unknowns, index) -> Unknowns:
    return jax.tree_util.tree_map(lambda x: x[..., index], y)
