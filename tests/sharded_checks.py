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


def small(text, rows=ROWS, each=8):
    """The collectives of a compiled program, all of them sums of a few numbers a row."""
    found = COLLECTIVE.findall(text)
    for shape, what in found:
        assert what == "all-reduce", (what, shape)
        for sizes in re.findall(r"\[([\d,]*)\]", shape):
            count = int(np.prod([int(n) for n in sizes.split(",") if n], dtype=int))
            assert count <= each * rows, (what, shape)
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


def check_second(kind, name):
    """Products of the Hessian and a vector."""
    make, args, specs = KINDS[kind]
    dots = tuple(draw(*x.shape) for x in args)

    def rows(other, *args, axis_name=None):
        return VERBS[name](jd.Logits(other), make(*args), axis_name=axis_name)

    def local(other, *args):
        return rows(other, *args, axis_name="vocabulary")

    def along(f):
        slopes = jax.grad(lambda *x: f(OTHER, *x).sum(), range(len(args)))
        return jax.jit(lambda *x: jax.jvp(slopes, x, dots)[1])

    sharded = jax.shard_map(local, mesh=MESH, in_specs=(PART, *specs), out_specs=WHOLE)
    found = [jax.tree.leaves(along(f)(*args)) for f in (sharded, rows)]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10, err_msg=f"{kind} {name}")


def check_chernoff():
    p, q = (jax.nn.softmax(draw(ROWS, V)) for _ in range(2))

    def rows(p, q, axis_name=None):
        return jd.chernoff_information(jd.Probs(p), jd.Probs(q), axis_name=axis_name)

    def local(p, q):
        return rows(p, q, axis_name="vocabulary")

    sharded = jax.shard_map(local, mesh=MESH, in_specs=(PART, PART), out_specs=WHOLE)
    values = [
        jax.jit(jax.value_and_grad(lambda *x, f=f: f(*x).sum(), (0, 1)))(p, q)
        for f in (sharded, rows)
    ]
    for a, b in zip(*map(jax.tree.leaves, values), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    # Rows that need more steps than those of other devices, whose sums they have no part in.
    names = ("batch", "vocabulary")
    mesh = jax.make_mesh((2, 2), names, axis_types=2 * (jax.sharding.AxisType.Auto,))
    p, q = (jax.nn.softmax(x * jnp.asarray([[0.0], [20.0]])) for x in draw(2, 2, V))
    spread = jax.shard_map(local, mesh=mesh, in_specs=(P(*names), P(*names)), out_specs=P("batch"))
    np.testing.assert_allclose(jax.jit(spread)(p, q), rows(p, q), rtol=1e-11, atol=1e-12)


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
            program = found.lower(*given).compile()
            assert small(program.as_text(), rows), (name, spec, "nothing is merged")
            for g, w in zip(jax.tree.leaves(program(*given)), want, strict=True):
                np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6, err_msg=name)


MAPPED = {
    "kl": (jd.kl_divergence, (64, 4096)),
    "renyi": (lambda p, q: jd.renyi_divergence(p, q, 0.5), (64, 4096)),
    "chernoff": (jd.chernoff_information, (8, 16)),
    "cross-entropy": (jd.cross_entropy, (8, 16)),
}


def check_mapped_batches():
    """Rows divided by `shard_map`, of q alone and of both, in few numbers and in many."""
    some = P("vocabulary", None)
    for name, (verb, shape) in MAPPED.items():
        x, y = (draw(*shape).astype("float32") for _ in range(2))

        def rows(p, q, verb=verb):
            return verb(jd.Logits(jnp.broadcast_to(p, q.shape)), jd.Logits(q))

        for p, spec in ((x, some), (x[:1], P())):
            mapped = jax.shard_map(
                rows, mesh=MESH, in_specs=(spec, some), out_specs=P("vocabulary")
            )
            found, want = (
                jax.jit(jax.value_and_grad(lambda p, q, f=f: f(p, q).sum(), (0, 1)))(p, y)
                for f in (mapped, rows)
            )
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5, err_msg=name)


def check_mapped_heads():
    """Hidden states divided over devices, weights whole on each."""
    shapes = (8, D), (D, 300), (8, D), (D, 300)
    args = [draw(*shape) for shape in shapes]

    def loss(hidden, weight, teacher, table, reduced=False):
        p, q = jd.Head(teacher, table), jd.Head(hidden, weight)
        total = jd.weighted_sum(jd.CATALOGUE["renyi_half"], p, q, jnp.ones(1))
        return jax.lax.psum(total, "vocabulary") if reduced else total

    def part(*args):
        return loss(*args, reduced=True)

    some = P("vocabulary", None)
    mapped = jax.shard_map(part, mesh=MESH, in_specs=(some, P()) * 2, out_specs=P())
    found, want = (jax.jit(jax.value_and_grad(f, range(4)))(*args) for f in (mapped, loss))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def check_heads_by_plain_jit():
    """A head's weight, a teacher's logits or the rows, divided by where arrays lie."""
    rows, size, d = 24, 1240, D
    hidden, weight, bias, teacher = draw(rows, d), draw(d, size), draw(size), draw(rows, size)
    labels = jnp.asarray(RNG.integers(size, size=rows))
    # So little memory that there are several blocks of rows and tiles, the last ones ragged.
    memory = 16 * 4 * 8 * size

    def of_rows(hidden, weight, bias, teacher):
        q = jd.Head(hidden, weight, bias, memory=memory)
        return jd.renyi_divergence(jd.Logits(teacher), q, 0.5).sum()

    def weighted(hidden, weight, bias, teacher):
        q = jd.Head(hidden, weight, bias, memory=memory)
        return jd.weighted_sum(jd.js_divergence, jd.Logits(teacher), q, jnp.ones(rows))

    def of_labels(hidden, weight, bias, teacher):
        q = jd.Head(hidden, weight, bias, memory=memory)
        return jd.cross_entropy(jd.Labels(labels), q).sum()

    def of_two(hidden, weight, bias, teacher):
        p = jd.Head(2 * hidden, weight, memory=memory)
        return jd.kl_divergence(p, jd.Head(hidden, weight, bias, memory=memory)).sum()

    args = hidden, weight, bias, teacher
    over_outcomes = P(), PART, P("vocabulary"), PART
    over_rows = P("vocabulary", None), P(), P(), P("vocabulary", None)
    for loss in (weighted, of_rows, of_labels, of_two):
        name = loss.__name__
        f = jax.jit(jax.value_and_grad(loss, range(4)))
        want = jax.tree.leaves(f(*args))
        for specs in (over_outcomes, over_rows):
            given = [placed(x, spec) for x, spec in zip(args, specs, strict=True)]
            program = f.lower(*given).compile()
            for g, w in zip(jax.tree.leaves(program(*given)), want, strict=True):
                np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-11, err_msg=name)
            # Gradients that are of all devices' rows, or outcomes, are summed over them.
            sums = {over_outcomes: rows * d, over_rows: d * size + size}[specs]
            assert small(program.as_text(), 8 * rows + sums, 1), (name, "nothing is merged")


def check_kernels_are_not_given_divided_arrays():
    """XLA cannot divide a kernel's call: plain jit takes none where it may have to."""

    def rows(p, q, implementation="auto"):
        return jd.kl_divergence(jd.Logits(p), jd.Logits(q), implementation=implementation)

    def has_kernel(f, *args):
        lowered = jax.jit(f).trace(*args).lower(lowering_platforms=("cuda",))
        return "mosaic_gpu" in lowered.as_text()

    some = P("vocabulary", None)
    alone = [draw(256, 8192).astype("float32") for _ in range(2)]
    divided = [placed(x, some) for x in alone]
    mapped = jax.shard_map(rows, mesh=MESH, in_specs=some, out_specs=P("vocabulary"))
    assert has_kernel(rows, *alone)
    assert has_kernel(mapped, *divided)
    assert not has_kernel(rows, *divided)
    paths = [
        jd.implementation_of(jd.CATALOGUE["kl"].divergence, *map(jd.Logits, x), platform="cuda")
        for x in (alone, divided)
    ]
    assert [x.name for x in paths] == ["mosaic_gpu", "reference"]
    assert "4 devices" in paths[1].reason
    try:
        has_kernel(lambda p, q: rows(p, q, "mosaic_gpu"), *divided)
    except NotImplementedError as error:
        assert "4 devices" in str(error) and "shard_map" in str(error), error
    else:
        raise AssertionError("a kernel was given divided arrays")


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
    for kind, name in (("Logits", "kl"), ("Probs", "renyi_half"), ("Head", "total_variation")):
        check_second(kind, name)
    check_chernoff()
    check_unknown_axis()
    check_gradients_gather_nothing()
    check_plain_jit_gathers_nothing()
    check_mapped_batches()
    check_mapped_heads()
    check_heads_by_plain_jit()
    check_kernels_are_not_given_divided_arrays()
    check_batches_gather_nothing()


if __name__ == "__main__":
    main(sys.argv[1:] or VERBS)
