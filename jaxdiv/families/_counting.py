"""What distributions of counts have in common: KL from one of two outcomes."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from .._f_divergences import KL
from ..rows.evaluate import Rows
from ..rows.pair import Side
from .expectations import COUNTS, Expectations, Real, Support


class Counts(Expectations):
    """x = 0, 1, ..., with probabilities of 0 and 1 in closed form."""

    def support(self) -> Support:
        return COUNTS

    def entropy(self, unit: Real = 1.0) -> Array:
        self.missing("the expectation of log x!")

    def kl_from(self, p: Any) -> Array:
        of_p = p.rows()
        if of_p is None:  # of more than two outcomes
            raise NotImplementedError(f"the expectation of log x! under {type(p).__name__}")
        log_masses = [jnp.broadcast_to(self.log_mass(x), of_p.values.shape[:-1]) for x in (0, 1)]
        # The rows of q have less than its mass, and KL of rows is sum p log(p/q) - p + q.
        of_q = Side(jnp.stack(log_masses, axis=-1), chart="log")
        rest = -jnp.expm1(jnp.logaddexp(*log_masses))
        return KL().evaluate(Rows(of_p, of_q)) + jnp.maximum(rest, 0)
