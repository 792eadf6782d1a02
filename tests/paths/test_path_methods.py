"""Other methods than Newton's under the same door, and several paths between two ends."""

import jax
import jax.numpy as jnp
import optax
import pytest

import fimlag as fl

SPHERE = fl.NaturalLagrangian(lambda q: jnp.diag(jnp.array([1.0, jnp.sin(q[0]) ** 2])))
ENDS = jnp.array([1.0, 0.0]), jnp.array([1.2, 1.0])


def great_circle():
    (a, _), (b, difference) = ENDS
    return jnp.arccos(jnp.cos(a) * jnp.cos(b) + jnp.sin(a) * jnp.sin(b) * jnp.cos(difference))


@pytest.mark.parametrize(
    ("method", "rtol"),
    [
        (fl.Descent(), 1e-10),
        (fl.Descent(optax.adam(optax.cosine_decay_schedule(1e-2, 5000)), max_iterations=5000, tolerance=1e-5), 1e-7),
        (fl.Shooting(), 1e-12),
        (fl.Shooting(segments=2), 1e-12),
    ],
)
def test_every_method_finds_the_great_circle(method, rtol):
    solution = fl.least_action_path(SPHERE, *ENDS, elements=4, degree=6, method=method)
    assert float(solution.action) == pytest.approx(float(great_circle() ** 2 / 2), rel=rtol)
    assert int(solution.morse_index) == 0


def test_descent_that_is_not_done_says_so():
    solution = fl.least_action_path(SPHERE, *ENDS, method=fl.Descent(max_iterations=3), throw=False)
    assert not bool(solution.succeeded)
    assert int(solution.iterations) == 3


def test_other_methods_refuse_constraints():
    with pytest.raises(ValueError, match="Descent"):
        fl.least_action_path(SPHERE, ENDS[0], None, method=fl.Descent())
    with pytest.raises(ValueError, match="divide"):
        fl.least_action_path(SPHERE, *ENDS, method=fl.Shooting(segments=3))


def test_stationary_paths_of_a_pendulum_in_order_of_their_action():
    """From rest to rest in five units: swinging to either side, or standing still on top of the action."""
    pendulum = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: -jnp.cos(q[0]))
    ends = jnp.array([0.0]), jnp.array([0.0])
    found = fl.stationary_paths(pendulum, *ends, t1=5.0, key=jax.random.key(0), spread=3.0)
    assert [int(solution.morse_index) for solution in found[:3]] == [0, 0, 1]
    actions = [float(solution.action) for solution in found]
    assert actions == sorted(actions)
    assert float(found[0].action) == pytest.approx(float(found[1].action), rel=1e-12)
    assert actions[2] == pytest.approx(5.0, rel=1e-12)
