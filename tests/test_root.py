"""Roots of falling functions, many at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiv._root import falling_root, following

ROOTS = np.random.default_rng(0).uniform(1e-4, 1 - 1e-4, 500)
FALLING = {
    "a line": lambda x, r: r - x,
    "an exponential": lambda x, r: jnp.exp(20 * (r - x)) - 1,
    "a steep exponential": lambda x, r: jnp.exp(60 * (r - x)) - 1,
    "a logarithm": lambda x, r: jnp.log(r / x),
    "a reciprocal": lambda x, r: 1 / x - 1 / r,
    "a triple root": lambda x, r: (r - x) ** 3,
    "a jump": lambda x, r: jnp.where(x < r, 1.0, -1.0) + (r - x),
    "an infinite end": lambda x, r: jnp.where(x < 1e-6, jnp.inf, r - x),
    "an end below": lambda x, r: jnp.where(x > 1 - 1e-6, -jnp.inf, r - x),
}


def ends(r):
    eps = float(jnp.finfo(r.dtype).eps)
    return jnp.full_like(r, eps), jnp.full_like(r, 1 - eps)


@pytest.mark.parametrize("name", FALLING)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_roots_are_found_to_a_rounding_in_fewer_steps_than_bisection_takes(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        r = jnp.asarray(ROOTS, dtype)
        eps = float(jnp.finfo(dtype).eps)
        slow = name in ("a triple root", "a jump")  # no step is better than a bisection
        steps = (80 if slow else 24) if dtype == "float64" else (40 if slow else 22)
        found = falling_root(lambda x: FALLING[name](x, r), *ends(r), steps=steps)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, r, rtol=0, atol=2 * eps)


def test_an_end_is_found_where_there_is_no_root_between_and_the_middle_where_nothing_is_known():
    r = jnp.zeros((4,))
    low, high = ends(r)
    shift = jnp.asarray([-2.0, 2.0, jnp.nan, 0.0])
    slope = jnp.asarray([1.0, 1.0, 1.0, 0.0])  # the last is 0 throughout
    found = falling_root(lambda x: shift - slope * x, low, high, steps=60)
    np.testing.assert_array_equal(found[:2], [low[0], high[1]])
    np.testing.assert_allclose(found[2:], 0.5, rtol=1e-6)


def test_rows_that_are_done_stay_while_others_go_on():
    r = jnp.asarray([0.25, 0.3])

    def f(x):
        return jnp.where(jnp.arange(2) == 0, r - x, jnp.exp(60 * (r - x)) - 1)

    np.testing.assert_allclose(falling_root(f, *ends(r), steps=40), r, rtol=1e-6)


def test_one_trace_of_the_function_serves():
    calls = []

    def f(x):
        calls.append(x)
        return 0.5 - x

    jax.jit(lambda low, high: falling_root(f, low, high, steps=30)).lower(*ends(jnp.zeros((3,))))
    assert len(calls) == 1


@pytest.mark.slow
def test_a_root_follows_what_is_given_to_third_order():
    # x = log(r) / c solves r exp(-c x) - 1 = 0.
    given = jnp.asarray([2.0, 3.0]), jnp.asarray(4.0)

    def root(r, c):
        low, high = ends(r)
        found = falling_root(lambda x: r * jnp.exp(-c * x) - 1, low, high, steps=60)
        found = jax.lax.stop_gradient(found)
        f = lambda given, x: given[0] * jnp.exp(-given[1] * x) - 1  # noqa: E731
        return following(f, (r, c), found, lambda x: (x > 0) & (x < 1))

    def known(r, c):
        return jnp.log(r) / c

    def third(f, argument):
        for _ in range(3):
            f = jax.jacfwd(f, argument)
        return jax.jit(f)(*given)

    with jax.enable_x64(True):
        given = tuple(x.astype(jnp.float64) for x in given)
        for argument in (0, 1):
            np.testing.assert_allclose(third(root, argument), third(known, argument), rtol=1e-9)


def test_a_root_at_an_end_and_numbers_that_are_not_finite_have_no_part_in_derivatives():
    r = jnp.asarray([0.5, 2.0])
    shift = jnp.asarray([0.0, -jnp.inf])

    def root(r, shift):
        found = jnp.minimum(jax.lax.stop_gradient(r), 1.0)
        f = lambda given, x: given[0] - x + jnp.where(given[1] < 0, 0, given[1])  # noqa: E731
        return following(f, (r, shift), found, lambda x: x < 1).sum()

    by_r, by_shift = jax.grad(root, (0, 1))(r, shift)
    np.testing.assert_array_equal(by_r, [1.0, 0.0])
    np.testing.assert_array_equal(by_shift, [1.0, 0.0])
