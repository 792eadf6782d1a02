"""The coefficients of the explicit methods, against their order conditions, and round-off over long runs."""

import math

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems

PARTITIONED = [
    fl.SymplecticEuler(),
    fl.StormerVerlet(),
    fl.StormerVerlet("dkd"),
    fl.Yoshida4(),
    fl.Suzuki4(),
    fl.McLachlan4(),
    fl.BlanesMoan4(),
    fl.BlanesMoanNystrom4(),
    fl.Yoshida6(),
    fl.KahanLi6(),
    fl.BlanesMoan6(),
    fl.Yoshida8(),
    fl.KahanLi8(),
]
NYSTROM = [fl.BlanesMoanNystrom6(), fl.BlanesMoanNystrom6(11)]
KEPLER = problems.Kepler()


def product(splitting, shares):
    """The sequence (is kick, share) of a product, its shares given as one vector: drifts, then kicks."""
    drifts, kicks = np.split(shares, [len(splitting.drifts)])
    sequence = np.empty(len(shares), object)
    sequence[1 - splitting.kick_first :: 2] = [(1, kick) for kick in kicks]
    sequence[splitting.kick_first :: 2] = [(0, drift) for drift in drifts]
    return sequence


def free_residual(splitting, shares, order):
    """Coefficients, on all words of two letters up to a length, of the product minus exp(A + B)."""
    words = [np.array([1 + 0 * shares[0]])] + [np.zeros(2**n, shares.dtype) for n in range(1, order + 1)]
    for letter, share in product(splitting, shares):
        longer = [row.copy() for row in words]
        for n in range(order):
            for k in range(1, order - n + 1):
                longer[n + k][letter * (2**k - 1) :: 2**k] += words[n] * share**k / math.factorial(k)
        words = longer
    return np.concatenate([words[n] - words[0] / math.factorial(n) for n in range(1, order + 1)])


def nystrom_residual(splitting, shares, order):
    """Taylor coefficients in h of a step minus those of the motion, in a potential of degree 5 in the plane."""
    zero = 0 * shares[0]

    def times(x, y):
        return np.array([sum((x[i] * y[n - i] for i in range(n + 1)), zero) for n in range(order + 1)])

    def force(q):
        x, y = q
        xx, xy, yy = times(x, x), times(x, y), times(y, y)
        along = 2 * xy - 3 * times(xx, y) + 4 * times(xx, xy) + times(yy, yy)
        across = xx - times(xx, x) - 3 * yy + times(xx, xx) + 4 * times(xy, yy)
        return np.array([-along, -across])

    def later(series):
        return np.concatenate([zero * series[:, :1], series[:, :-1]], axis=1)

    rest = zero * np.zeros((2, order))
    defects = []
    for start in ((0.7, -0.4, 0.3, 1.1), (-0.5, 0.9, 1.2, -0.6)):
        point, speed = (
            np.concatenate([zero + np.reshape(part, (2, 1)), rest], axis=1) for part in np.split(np.array(start), 2)
        )
        q, p = point, speed
        for is_kick, share in product(splitting, shares):
            q, p = (q, p + share * later(force(q))) if is_kick else (q + share * later(p), p)
        exact_q, exact_p, powers = point, speed, np.arange(1, order + 1)
        for _ in range(order):
            pull = force(exact_q)
            exact_q = np.concatenate([point[:, :1], exact_p[:, :-1] / powers], axis=1)
            exact_p = np.concatenate([speed[:, :1], pull[:, :-1] / powers], axis=1)
        defects += [(q - exact_q).ravel(), (p - exact_p).ravel()]
    return np.concatenate(defects)


def least_change(residual, splitting, order):
    """The least change of the shares that solves the order conditions, by one step of Newton's method, and the
    projection on the directions that the conditions determine."""
    shares = np.array([*splitting.drifts, *splitting.kicks])
    tilted = shares + 1e-30j * np.eye(len(shares))
    slope = np.array([np.imag(residual(splitting, row, order)) for row in tilted]).T / 1e-30
    with mp.workdps(40):
        exact = np.array([mp.mpf(float(share)) for share in shares])
        defect = residual(splitting, exact, order).astype(float)
    inverse = np.linalg.pinv(slope, rcond=1e-9)
    return inverse @ defect, inverse @ slope


CASES = [(free_residual, method) for method in PARTITIONED] + [(nystrom_residual, method) for method in NYSTROM]


@pytest.mark.parametrize(("residual", "method"), CASES, ids=lambda value: getattr(value, "__name__", repr(value)))
def test_coefficients_solve_their_order_conditions_to_the_last_digit(residual, method):
    change, seen = least_change(residual, method.splitting, method.order)
    # Each share is rounded once, and those of composed steps once more, by half a unit.
    shares = np.array([*method.splitting.drifts, *method.splitting.kicks])
    assert np.linalg.norm(change) <= np.linalg.norm(np.spacing(np.abs(shares)))
    # A fault in any one share would show with at least this part of its size.
    assert np.linalg.norm(seen, axis=0).min() > 0.2


@pytest.mark.parametrize("method", NYSTROM, ids=repr)
def test_nystrom_methods_need_a_quadratic_kinetic_energy(method):
    shares = np.array([*method.splitting.drifts, *method.splitting.kicks])
    assert np.max(np.abs(free_residual(method.splitting, shares, 6))) > 1e-6


def test_symmetric_products_are_palindromes():
    for method in PARTITIONED + NYSTROM:
        drifts, kicks = method.splitting.drifts, method.splitting.kicks
        assert (drifts == drifts[::-1] and kicks == kicks[::-1]) is method.symmetric


def test_the_number_of_forces_is_checked():
    with pytest.raises((TypeError, ValueError), match="forces"):
        fl.BlanesMoanNystrom6(12)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "orbits", "gain"), [("float64", 100, 10), ("float32", 20, 5)])
def test_energy_wanders_at_random_and_compensation_lowers_its_floor(dtype, orbits, gain):
    # Brouwer's law: with steps too short for truncation to show, round-off of one unit a step adds up as its root.
    steps, turns = 1000 * orbits, np.linspace(0.1, 2 * np.pi, 8)
    rotations = np.moveaxis(np.array([[np.cos(turns), -np.sin(turns)], [np.sin(turns), np.cos(turns)]]), 2, 0)
    start = [jnp.asarray(rotations @ np.asarray(x), dtype) for x in KEPLER.start(0.6)]
    lagrangian = problems.Kepler(jnp.ones((), dtype)).lagrangian

    def spread(compensated):
        flows = jax.vmap(
            lambda q0, v0: fl.integrate(
                lagrangian,
                q0,
                v0,
                t1=2 * np.pi * orbits,
                steps=steps,
                save_every=steps,
                method=fl.KahanLi8(),
                compensated=compensated,
            )
        )(*start)
        q, v = np.asarray(flows.q, float), np.asarray(flows.v, float)
        energies = np.sum(v**2, axis=-1) / 2 - 1 / np.linalg.norm(q, axis=-1)
        return np.sqrt(np.mean((energies[:, 1] - energies[:, 0]) ** 2)) / np.finfo(dtype).eps

    assert spread(False) < np.sqrt(steps)
    assert spread(True) < np.sqrt(steps) / gain
    assert gain * spread(True) < 2 * spread(False)


@pytest.mark.parametrize(
    "method",
    [
        fl.SymplecticEuler(),
        fl.StormerVerlet(),
        fl.StormerVerlet("dkd"),
        fl.Yoshida4(),
        fl.McLachlan4(),
        fl.BlanesMoan4(),
    ],
    ids=lambda method: type(method).__name__,
)
def test_steps_taken_together_are_the_steps_taken_one_by_one(method):
    # Their joined flows round otherwise: two units a step of 60, on numbers of size one, in a motion that is stable.
    def driven(t, q, v):
        return v @ v / 2 + v[0] - q @ q / 2 - q[0] ** 2 * q[1] - q[0] * jnp.sin(3 * t)

    q, v = jnp.array([0.3, -0.2]), jnp.array([0.1, 0.2])
    together, singly = (
        fl.integrate(driven, q, v, t0=0.5, t1=3.5, steps=60, save_every=every, method=method) for every in (20, 1)
    )
    for rows, each in ((together.q, singly.q), (together.p, singly.p)):
        np.testing.assert_allclose(rows, each[::20], rtol=0, atol=120 * jnp.finfo(q.dtype).eps)
