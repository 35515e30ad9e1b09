"""A classifier on real input: handwritten digits, trained by KL from labels, then verified."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

import jaxdiv as jd
from jaxdiv.cli import main


@pytest.mark.slow
def test_training_and_verifying_a_classifier(tmp_path, capsys):
    images, labels = load_digits(return_X_y=True)
    images = jnp.asarray(images / 16, jnp.float32)
    labels = jnp.asarray(labels, jnp.int32)
    train, test = slice(0, 1400), slice(1400, None)
    parameters = {"weight": jnp.zeros((64, 10)), "bias": jnp.zeros((1, 10))}
    optimizer = optax.adam(0.05)

    def logits(parameters, images):
        return images @ parameters["weight"] + parameters["bias"]

    def loss(parameters):
        z = logits(parameters, images[train])
        return jd.kl_divergence(jd.Labels(labels[train]), jd.Logits(z)).mean()

    @jax.jit
    def step(carry, _):
        parameters, state = carry
        value, slope = jax.value_and_grad(loss)(parameters)
        updates, state = optimizer.update(slope, state)
        return (optax.apply_updates(parameters, updates), state), value

    start = (parameters, optimizer.init(parameters))
    with jax.numpy_dtype_promotion("standard"):  # which optax relies on
        (parameters, _), losses = jax.lax.scan(step, start, length=150)
    z = logits(parameters, images[test])
    accuracy = float((z.argmax(-1) == labels[test]).mean())
    assert abs(losses[0] - np.log(10)) < 1e-5  # uniform before training
    assert losses[-1] < 0.12
    assert accuracy > 0.88  # the last fifth was written by other people

    np.save(tmp_path / "logits.npy", z[:40])
    np.save(tmp_path / "predictions.npy", jax.nn.softmax(z[:40]))
    own = str(tmp_path / "logits.npy")
    assert main(["verify", "--input", own, "--logits"]) == 0, capsys.readouterr().out
    own = str(tmp_path / "predictions.npy")
    assert main(["verify", "--input", own]) == 0, capsys.readouterr().out
