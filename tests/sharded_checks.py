"""Checks on four devices of a CPU, in a process of their own: see test_sharded_vocabulary.py."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import jaxdiv as jd

jax.config.update("jax_enable_x64", True)
ROWS, V, D = 3, 64, 4
MESH = jax.make_mesh((4,), ("vocabulary",), axis_types=(jax.sharding.AxisType.Auto,))
RNG = np.random.default_rng(0)


def draw(*shape):
    return jnp.asarray(RNG.normal(size=shape))


def logits(x):
    return jd.Logits(x)


def probs(x):
    return jd.Probs(x)


def head(hidden, weight):
    return jd.Head(hidden, weight)


WHOLE, PART = P(), P(None, "vocabulary")
KINDS = {
    "Logits": (logits, [draw(ROWS, V)], [PART]),
    "Probs": (probs, [jax.nn.softmax(draw(ROWS, V))], [PART]),
    "Head": (head, [draw(ROWS, D), draw(D, V)], [WHOLE, PART]),
}
OTHER = draw(ROWS, V)
VERBS = {
    "kl": jd.kl_divergence,
    "js": jd.js_divergence,
    "renyi_half": lambda p, q, **k: jd.renyi_divergence(p, q, 0.5, **k),
    "total_variation": jd.total_variation,
    "cross_entropy": jd.cross_entropy,
    "entropy": lambda p, q, **k: jd.entropy(q, **k),
}
COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute)[-\w]*\(")


def small(text, rows=ROWS):
    """The collectives of a compiled program, all of them sums of a few numbers a row."""
    found = COLLECTIVE.findall(text)
    for shape, what in found:
        assert what == "all-reduce", (what, shape)
        for sizes in re.findall(r"\[([\d,]*)\]", shape):
            count = int(np.prod([int(n) for n in sizes.split(",") if n], dtype=int))
            assert count <= 8 * rows, (what, shape)
    return found


def check(kind, name):
    make, args, specs = KINDS[kind]

    def rows(other, *args, axis_name=None):
        return VERBS[name](jd.Logits(other), make(*args), axis_name=axis_name)

    def local(other, *args):
        return rows(other, *args, axis_name="vocabulary")

    sharded = jax.shard_map(local, mesh=MESH, in_specs=(PART, *specs), out_specs=WHOLE)
    places = tuple(range(1, 1 + len(args)))

    def both(f):
        return jax.value_and_grad(lambda *x: (f(*x) * jnp.arange(1.0, ROWS + 1)).sum(), places)

    got, want = jax.jit(both(sharded)), jax.jit(both(rows))
    found = [jax.tree.leaves(f(OTHER, *args)) for f in (got, want)]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12, err_msg=f"{kind} {name}")
    text = jax.jit(sharded).lower(OTHER, *args).compile().as_text()
    assert small(text), (kind, name, "the parts are never merged")


def check_unknown_axis():
    def local(x):
        return jd.entropy(jd.Logits(x), axis_name="words")

    try:
        jax.shard_map(local, mesh=MESH, in_specs=PART, out_specs=WHOLE)(OTHER)
    except ValueError as error:
        assert "'words'" in str(error) and "'vocabulary'" in str(error), error
    else:
        raise AssertionError("an unknown axis was taken")


def placed(x, spec):
    return jax.device_put(x, NamedSharding(MESH, spec))


def check_gradients_gather_nothing():
    make, args, specs = KINDS["Head"]

    def local(other, *args):
        return jd.kl_divergence(jd.Logits(other), make(*args), axis_name="vocabulary")

    sharded = jax.shard_map(local, mesh=MESH, in_specs=(PART, *specs), out_specs=WHOLE)
    slopes = jax.jit(jax.grad(lambda *x: sharded(*x).sum(), (0, 1, 2)))
    given = [placed(x, spec) for x, spec in zip((OTHER, *args), (PART, *specs), strict=True)]
    small(slopes.lower(*given).compile().as_text())


BY_JIT = {
    "kl": (jd.kl_divergence, jd.Logits),
    "kl of masses": (jd.kl_divergence, jd.Probs),
    "js": (jd.js_divergence, jd.Logits),
    "total variation": (jd.total_variation, jd.Logits),
    "renyi": (lambda p, q: jd.renyi_divergence(p, q, 0.5), jd.Logits),
    "Fisher-Rao": (jd.fisher_rao_distance, jd.Logits),
    "cross-entropy": (jd.cross_entropy, jd.Logits),
    "entropy": (lambda p, q: jd.entropy(p) + jd.entropy(q), jd.Logits),
}


def check_plain_jit_gathers_nothing():
    """Outcomes, or rows, divided over devices by where arrays lie, and nothing said of it."""
    rows, size = 8, 4096  # more than one step of a sum, and more than a few for a path of blocks
    x, y = (draw(rows, size).astype("float32") for _ in range(2))
    for name, (verb, noun) in BY_JIT.items():
        a, b = map(jax.nn.softmax, (x, y)) if noun is jd.Probs else (x, y)

        def loss(p, q, verb=verb, noun=noun):
            values = verb(noun(p), noun(q))
            return values.sum(), values

        found = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
        want = jax.tree.leaves(found(a, b))
        for spec in (PART, P("vocabulary", None)):
            given = [placed(z, spec) for z in (a, b)]
            small(found.lower(*given).compile().as_text(), rows)
            for g, w in zip(jax.tree.leaves(found(*given)), want, strict=True):
                np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6, err_msg=name)


def check_batches_gather_nothing():
    x, y = (placed(draw(64, V).astype("float32"), P("vocabulary", None)) for _ in range(2))
    for implementation in ("reference", "blocked"):

        def value(p, q, implementation=implementation):
            return jd.js_divergence(jd.Logits(p), jd.Logits(q), implementation=implementation)

        small(jax.jit(value).lower(x, y).compile().as_text())


def main(names):
    assert jax.device_count() == 4
    for kind in KINDS:
        for name in names:
            check(kind, name)
    check_unknown_axis()
    check_gradients_gather_nothing()
    check_plain_jit_gathers_nothing()
    check_batches_gather_nothing()


if __name__ == "__main__":
    main(sys.argv[1:] or VERBS)
