"""Bayesian logistic regression by variational inference, on scikit-learn's breast-cancer data.

The evidence lower bound is E_q[log likelihood] - KL(q || prior). Both q and the prior are normal,
so that the KL is exact: only the first term is estimated, by draws from q. The bound with KL by the
same draws, and its gradient, are shown beside it.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import BLUE, ORANGE, main, table
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import jaxdiv as jd

DRAWS = 8
Free = dict[str, jax.Array]


def data() -> tuple[Any, ...]:
    """Standardised features with a constant, labels, and the names of the features."""
    loaded: Any = load_breast_cancer()
    split = train_test_split(loaded.data, loaded.target, test_size=0.3, random_state=0)
    x, x_test, y, y_test = split
    scaler = StandardScaler().fit(x)

    def prepared(x: Any) -> jax.Array:
        return jnp.asarray(np.c_[scaler.transform(x), np.ones(len(x))], jnp.float32)

    labels = (jnp.asarray(z, jnp.float32) for z in (y, y_test))
    return prepared(x), prepared(x_test), *labels, [*loaded.feature_names, "constant"]


def posterior(free: Free) -> jd.MultivariateNormal:
    """q, with a full covariance."""
    lower = jnp.tril(free["lower"], -1) + jnp.diag(jnp.exp(free["log_diagonal"]))
    return jd.MultivariateNormal(free["loc"], scale_tril=lower)


def prior(n: int) -> jd.MultivariateNormal:
    """Independent standard normal weights."""
    return jd.MultivariateNormal(jnp.zeros(n), scale_tril=jnp.eye(n))


def log_likelihood(w: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Of each draw of weights, summed over the data."""
    z = w @ x.T
    return jnp.sum(y[None] * z - jax.nn.softplus(z), axis=-1)


def evidence(free: Free, x: jax.Array, y: jax.Array, key: jax.Array, exact: bool) -> jax.Array:
    """The evidence lower bound, with KL(q || prior) exact or by the same draws."""
    q, p = posterior(free), prior(x.shape[1])
    w = q.sample(key, DRAWS)
    if exact:
        paid = jd.kl_divergence(q, p)
    else:
        paid = jnp.mean(jd.kl_k1(q.log_prob(w), p.log_prob(w)))
    return jnp.mean(log_likelihood(w, x, y)) - paid


def run(*, small: bool = False) -> dict[str, Any]:
    """The posterior, how it predicts, and the noise of the two bounds."""
    x, x_test, y, y_test, names = data()
    n, steps = x.shape[1], 30 if small else 3000
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, steps))
    free: Free = {
        "loc": jnp.zeros(n), "lower": jnp.zeros((n, n)), "log_diagonal": jnp.full(n, -1.0)
    }  # fmt: skip

    @jax.jit
    def train(free: Free, key: jax.Array) -> tuple[Free, jax.Array]:
        def step(carry: Any, key: jax.Array) -> Any:
            free, state = carry
            value, slope = jax.value_and_grad(lambda f: -evidence(f, x, y, key, True))(free)
            updates, state = optimizer.update(slope, state)
            return (optax.apply_updates(free, updates), state), -value

        keys = jax.random.split(key, steps)
        (free, _), values = jax.lax.scan(step, (free, optimizer.init(free)), keys)
        return free, values

    @jax.jit
    def noise(free: Free) -> list[tuple[jax.Array, jax.Array]]:
        found = []
        for exact in (True, False):
            keys = jax.random.split(jax.random.key(2), 50 if small else 500)
            values, slopes = jax.vmap(
                lambda k, e=exact: jax.value_and_grad(evidence)(free, x, y, k, e)
            )(keys)
            spread = sum(jnp.sum(jnp.var(s, axis=0)) for s in jax.tree.leaves(slopes))
            found.append((jnp.std(values), jnp.sqrt(spread)))
        return found

    fitted, values = train(free, jax.random.key(0))
    q = posterior(fitted)
    w = q.sample(jax.random.key(1), 1000)
    chance = jnp.mean(jax.nn.sigmoid(w @ x_test.T), axis=0)
    point = LogisticRegression(C=1.0, fit_intercept=False, max_iter=1000).fit(x, y)
    sklearn = jnp.asarray(point.predict_proba(x_test)[:, 1], jnp.float32)

    def scored(chance: jax.Array) -> tuple[float, float]:
        chance = jnp.clip(chance, 1e-6, 1 - 1e-6)
        hits = jnp.mean((chance > 0.5) == (y_test > 0.5))
        loss = -jnp.mean(y_test * jnp.log(chance) + (1 - y_test) * jnp.log1p(-chance))
        return float(hits), float(loss)

    return {
        "bound": float(jnp.mean(values[-max(steps // 10, 1) :])),
        "kl": float(jd.kl_divergence(q, prior(n))),
        "posterior": scored(chance),
        "point": scored(sklearn),
        "noise": [(float(a), float(b)) for a, b in noise(fitted)],
        "loc": np.asarray(q.loc),
        "deviation": np.sqrt(np.diag(np.asarray(q.covariance()))),
        "mode": np.asarray(point.coef_[0]),
        "names": names,
    }


def report(found: dict[str, Any]) -> None:
    """The bound, the predictions and the noise."""
    print(f"evidence lower bound {found['bound']:.2f} nats, KL(q || prior) {found['kl']:.2f}\n")
    table(
        ("predictions on held-out data", "accuracy", "log loss"),
        (("mean over the posterior", *found["posterior"]), ("the mode alone", *found["point"])),
    )
    print()
    table(
        ("KL(q || prior)", "deviation of the bound", "of its gradient"),
        ((name, *row) for name, row in zip(("exact", "by draws"), found["noise"], strict=True)),
    )


def draw(found: dict[str, Any], figure: Any) -> None:
    """The twelve weights of largest mean in size, with two standard deviations."""
    axes = figure.subplots()
    order = np.argsort(-np.abs(found["loc"]))[:12][::-1]
    at = np.arange(len(order))
    axes.axvline(0, color="0.7", linewidth=1)
    axes.errorbar(
        found["loc"][order], at, xerr=2 * found["deviation"][order], fmt="o", color=BLUE,
        capsize=3, label="posterior, ± 2 deviations",
    )  # fmt: skip
    axes.plot(
        found["mode"][order], at, "D", color=ORANGE, markersize=5, label="mode (scikit-learn)"
    )
    axes.set_yticks(at, [found["names"][k] for k in order])
    axes.set(xlabel="weight of the standardised feature", ylim=(-0.6, len(order) + 0.9))
    axes.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)


def go(arguments: Sequence[str] | None = None) -> Any:
    """The command."""
    return main(__doc__, "logistic", run, report, draw, (8, 4.6), arguments)


if __name__ == "__main__":
    go()
