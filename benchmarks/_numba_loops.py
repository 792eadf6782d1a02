"""The loops of `_loops.c` by numba."""

import numba
import numpy as np

LANES = 256


@numba.njit
def gravity(x, y):
    r2 = x * x + y * y
    pull = -1 / (r2 * np.sqrt(r2))
    return pull * x, pull * y


@numba.njit
def kepler_leapfrog(state, h, steps):
    x, y, u, v = state
    fx, fy = gravity(x, y)
    for _ in range(steps):
        u += h / 2 * fx
        v += h / 2 * fy
        x += h * u
        y += h * v
        fx, fy = gravity(x, y)
        u += h / 2 * fx
        v += h / 2 * fy
    return np.array([x, y, u, v])


@numba.njit
def kepler_splitting(state, drifts, kicks, h, steps):
    x, y, u, v = state
    fx, fy = gravity(x, y)
    for _ in range(steps):
        u += h * kicks[0] * fx
        v += h * kicks[0] * fy
        for i in range(drifts.size):
            x += h * drifts[i] * u
            y += h * drifts[i] * v
            fx, fy = gravity(x, y)
            u += h * kicks[i + 1] * fx
            v += h * kicks[i + 1] * fy
    return np.array([x, y, u, v])


@numba.njit
def henon_heiles_force(x, y):
    return -x - 2 * x * y, -y - x * x + y * y


@numba.njit
def henon_heiles(state, h, steps):
    """All x, all y, all u, all v: lanes of them marched together."""
    end = state.copy()
    number = state.shape[1]
    # One array: of six LLVM would have to show that they do not overlap, and gives up.
    block = np.empty((6, LANES))
    for first in range(0, number, LANES):
        lanes = min(LANES, number - first)
        block[:4, :lanes] = end[:, first : first + lanes]
        for i in range(lanes):
            block[4, i], block[5, i] = henon_heiles_force(block[0, i], block[1, i])
        for _ in range(steps):
            for i in range(lanes):
                u, v = block[2, i] + h / 2 * block[4, i], block[3, i] + h / 2 * block[5, i]
                x, y = block[0, i] + h * u, block[1, i] + h * v
                fx, fy = henon_heiles_force(x, y)
                block[0, i], block[1, i], block[2, i], block[3, i] = x, y, u + h / 2 * fx, v + h / 2 * fy
                block[4, i], block[5, i] = fx, fy
        end[:, first : first + lanes] = block[:4, :lanes]
    return end
