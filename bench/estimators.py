"""Monte Carlo estimates against the truth over many seeds; variances of k1, k2 and k3.

In float64. A score is the distance of the estimates' mean from the truth in standard errors of
that mean; a ratio is the estimates' spread over the standard error that they state. The truth is a
closed form or, of mixtures and Jensen and Shannon's divergence, scipy's quadrature.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate, stats

import jaxdiv as jd
from jaxdiv._divergence import Reverse, Symmetrised

from . import report

_COUNT = 1000
_PAIRS = {
    "normal": (jd.Normal(0.0, 1.0), jd.Normal(0.5, 0.8)),
    "gamma": (jd.Gamma(3.0, 2.0), jd.Gamma(2.5, 2.4)),
    "mixture": tuple(
        jd.Mixture(np.asarray(w), jd.Normal(np.asarray(m), np.asarray(s)))
        for w, m, s in (
            ([0.5, 0.5], [-2.0, 2.0], [1.0, 1.0]),
            ([0.3, 0.7], [-1.5, 2.5], [0.9, 0.9]),
        )
    ),
}
_LAW: Any = stats  # whose distributions pyright takes for discrete ones
_LAWS: dict[str, Any] = {
    "normal": (_LAW.norm(0, 1).pdf, _LAW.norm(0.5, 0.8).pdf, (-9, 9)),
    "gamma": (_LAW.gamma(3, scale=1 / 2).pdf, _LAW.gamma(2.5, scale=1 / 2.4).pdf, (1e-12, 30)),
    "mixture": (
        lambda x: (_LAW.norm(-2, 1).pdf(x) + _LAW.norm(2, 1).pdf(x)) / 2,
        lambda x: 0.3 * _LAW.norm(-1.5, 0.9).pdf(x) + 0.7 * _LAW.norm(2.5, 0.9).pdf(x),
        (-11, 11),
    ),
}
_DIVERGENCES = {
    "KL": jd.KL(),
    "reverse KL": Reverse(jd.KL()),
    "Jeffreys": Symmetrised(jd.KL()),
    "Jensen-Shannon": jd.JensenShannon(),
    "squared Hellinger": jd.SquaredHellinger(),
    "Le Cam": jd.LeCam(),
    "alpha 1/2": jd.Alpha(0.5),
}
_WAYS: dict[str, dict[str, Any]] = {
    "": {},
    "fitted control": {"control": "fitted"},
    "both": {"draws": "both"},
    "antithetic": {"antithetic": True},
    "self-normalised": {"unnormalised": True},
}


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Means and spreads of estimates, and means and variances of k1, k2 and k3."""
    result = report.header("estimators", quick)
    seeds = 100 if quick else 1000
    result.update(seeds=seeds, draws=_COUNT)
    with jax.enable_x64(True):
        result["estimates"] = [_estimates(seeds, *case) for case in _cases(quick)]
        result["tokens"] = _tokens(10**5 if quick else 4 * 10**6)
    return result


def _cases(quick: bool) -> list[tuple[str, str, str]]:
    cases = [(pair, name, "") for pair in _PAIRS for name in _DIVERGENCES]
    cases += [(pair, "KL", way) for pair in _PAIRS for way in _WAYS if way]
    cases = [case for case in cases if case[2] != "antithetic" or case[0] == "normal"]
    return cases[::8] if quick else cases


def _truth(pair: str, name: str) -> float:
    divergence, (p, q) = _DIVERGENCES[name], _PAIRS[pair]
    try:
        return float(divergence(p, q))
    except NotImplementedError:
        p, q, ends = _LAWS[pair]

        def summand(x: float) -> float:
            return float(divergence.definition(np.asarray([p(x)]), np.asarray([q(x)])))

        value, _ = integrate.quad(summand, *ends, limit=400, epsabs=1e-11, epsrel=1e-10)
        return value


def _estimates(seeds: int, pair: str, name: str, way: str) -> dict[str, Any]:
    (p, q), keywords = _PAIRS[pair], dict(_WAYS[way])
    if keywords.pop("unnormalised", False):
        density = q.log_prob
        q = jd.Unnormalised(lambda x: density(x) + 3)

    @jax.jit
    @jax.vmap
    def every(key: Any) -> Any:
        found = jd.estimate(_DIVERGENCES[name], p, q, key, _COUNT, **keywords)
        return found.value, found.standard_error

    value, error = map(np.asarray, every(jax.random.split(jax.random.key(0), seeds)))
    truth, of_mean = _truth(pair, name), value.std(ddof=1) / np.sqrt(seeds)
    return {
        "pair": pair,
        "divergence": name,
        "way": way,
        "truth": truth,
        "mean": float(value.mean()),
        "spread": float(value.std(ddof=1)),
        "score": float((value.mean() - truth) / of_mean),
        "ratio": float(value.std(ddof=1) / np.sqrt(np.mean(error**2))),
    }


def _tokens(count: int) -> list[dict[str, Any]]:
    """Means and variances of the three estimators, and what they are in closed form."""
    rows = []
    for name, p, q, spread in _token_cases():
        x = p.sample(jax.random.key(1), count)
        logs = p.log_prob(x), q.log_prob(x)
        kl, back = float(jd.kl_divergence(p, q)), float(jd.kl_divergence(q, p))
        third = spread + float(jd.chi2_divergence(q, p)) - 2 * (kl + back)
        wanted = {
            "k1": (kl, spread),
            "k2": ((spread + kl**2) / 2, None),
            "k3": (kl, third),
        }
        if name.startswith("normal"):
            d2 = spread
            wanted["k2"] = (wanted["k2"][0], d2**2 / 2 + d2**3 / 4)
        for estimator, (mean, variance) in wanted.items():
            y = np.asarray(getattr(jd, f"kl_{estimator}")(*logs))
            off = (y - y.mean()) ** 2
            rows.append(
                {
                    "pair": name,
                    "estimator": estimator,
                    "kl": kl,
                    "mean": float(y.mean()),
                    "stated_mean": mean,
                    "mean_score": float((y.mean() - mean) / (y.std() / np.sqrt(count))),
                    "variance": float(off.mean()),
                    "stated_variance": variance,
                    "variance_score": None
                    if variance is None
                    else float((off.mean() - variance) / (off.std() / np.sqrt(count))),
                }
            )
    return rows


def _token_cases() -> list[tuple[str, Any, Any, float]]:
    """Pairs with Var_p[log(p/q)] in closed form."""
    from jax.scipy.special import polygamma

    a, r, b, s = 6.0, 2.0, 5.0, 2.4
    log_ratio = (a - b) ** 2 * float(polygamma(1, a)) + (r - s) ** 2 * a / r**2
    gamma = log_ratio - 2 * (a - b) * (r - s) / r
    found: list[tuple[str, Any, Any, float]] = [
        (f"normal, {d} apart", jd.Normal(0.0, 1.0), jd.Normal(d, 1.0), d**2)
        for d in (0.1, 0.5, 1.0)
    ]
    found.append(("gamma", jd.Gamma(a, r), jd.Gamma(b, s), gamma))
    return found


def table(result: dict[str, Any]) -> str:
    """Both tables."""
    return "\n\n".join(
        [
            "# Estimates from draws",
            (__doc__ or "").partition("\n\n")[2].strip().replace("\n", " "),
            report.circumstances(result),
            f"{result['seeds']} seeds of {result['draws']} draws each.",
            report.markdown(
                ("pair", "divergence", "way", "truth", "mean", "spread", "score", "ratio"),
                (
                    (
                        row["pair"], row["divergence"], row["way"] or "default",
                        f"{row['truth']:.5f}", f"{row['mean']:.5f}", f"{row['spread']:.5f}",
                        f"{row['score']:.2f}", f"{row['ratio']:.2f}",
                    )
                    for row in result["estimates"]
                ),
            ),
            "The estimators of KL from log-probabilities; means and variances as measured and as "
            "stated, with their scores.",
            report.markdown(
                ("pair", "KL", "estimator", "mean", "stated", "score", "variance", "stated",
                 "score"),
                (
                    (
                        row["pair"], f"{row['kl']:.5f}", row["estimator"], f"{row['mean']:.6f}",
                        f"{row['stated_mean']:.6f}", f"{row['mean_score']:.2f}",
                        f"{row['variance']:.4g}", _or_dash(row["stated_variance"], ".4g"),
                        _or_dash(row["variance_score"], ".2f"),
                    )
                    for row in result["tokens"]
                ),
            ),
        ]
    )  # fmt: skip


def _or_dash(x: float | None, form: str) -> str:
    return "–" if x is None else format(x, form)


def worst(result: dict[str, Any]) -> float:
    """The largest score in size."""
    scores = [abs(row["score"]) for row in result["estimates"]]
    for row in result["tokens"]:
        scores += [abs(row[k]) for k in ("mean_score", "variance_score") if row[k] is not None]
    return float(jnp.max(jnp.asarray(scores)))
