"""The choice of a strategy, and errors for unavailable ones."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

tf = pytest.importorskip("tensorflow")

import keras_tricks as kt  # noqa: E402
from keras_tricks import distribution  # noqa: E402
from keras_tricks.distribution import rendezvous  # noqa: E402
from keras_tricks.utils.errors import UserError  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]


def config(**changes):
    return json.dumps({"cluster": {"worker": ["localhost:1234"]}, "task": {"type": "worker", "index": 0}, **changes})


def test_auto_is_one_device_here():
    assert distribution.strategy("auto").num_replicas_in_sync == 1
    assert distribution.is_chief(distribution.strategy("one"))


def test_mirrored_over_the_devices_there_are():
    assert distribution.strategy("mirrored", logical_devices=4).num_replicas_in_sync == 4


@pytest.mark.parametrize("text, word", [
    ("{not json", "not JSON"),
    ("[]", "cluster"),
    (config(task={"type": "worker", "index": 3}), "not in the cluster"),
    (config(cluster={"worker": ["no-such-host.invalid:1", "localhost:2"]}), "no-such-host.invalid"),
    (config(cluster={"worker": ["localhost"]}), "host:port"),
    (config(cluster={"worker": ["localhost:99999"]}), "65535"),
    (config(cluster={"worker": ["localhost:" + "9" * 5000]}), "65535"),
    (config(cluster={"worker": [2222]}), "host:port"),
    (config(cluster={"worker": "localhost:1234"}), "list of addresses"),
    (config(cluster={"worker": []}), "list of addresses"),
    (config(cluster={"worker": ["localhost:1", "localhost:1"]}), "worker 0 and worker 1 have the same address"),
    (config(cluster=["localhost:1234"]), "`cluster` must be an object"),
    (config(cluster=7), "`cluster` must be an object"),
    (config(task=[0]), "`task` must be an object"),
    (config(task={"type": ["worker"], "index": 0}), "not in the cluster"),
    (config(task={"type": "worker", "index": True}), "not in the cluster"),
    (config(task={"type": "worker", "index": "0"}), "not in the cluster"),
    (config(task={"type": "worker"}), "not in the cluster"),
    ("[" * 100_000, "not JSON"),
    ('{"cluster": ' + "9" * 5000 + "}", "not JSON"),
])
def test_tf_config(text, word, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=word):
        distribution.strategy("multi_worker")


def test_the_experiment_is_compared_by_all_workers(monkeypatch):
    compared = []

    def refuse(*arguments):
        compared.append(arguments)
        raise UserError("worker 1 trains with seed 1, worker 0 with 0")

    monkeypatch.setenv("TF_CONFIG", config(cluster={"worker": ["localhost:1234", "localhost:1235"]}))
    monkeypatch.setattr(rendezvous, "wait_for_workers", refuse)
    with pytest.raises(UserError, match="seed"):
        distribution.strategy("multi_worker", experiment={"seed": "0"})
    assert compared == [({"worker": ["localhost:1234", "localhost:1235"]}, "worker", 0, {"seed": "0"})]


def test_names_of_the_workers(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config(cluster={"worker": ["a:1", "b:1"], "chief": ["c:1"], "evaluator": ["d:1"]}))
    assert distribution.worker_names(3) == ["chief 0", "worker 0", "worker 1"]
    monkeypatch.delenv("TF_CONFIG")
    assert distribution.worker_names(2) == ["worker 0", "worker 1"]
    monkeypatch.setenv("TF_CONFIG", "{not json")
    assert distribution.worker_names(1) == ["worker 0"], "one process does not read it"


@pytest.mark.parametrize("arguments, word", [
    ({"name": "mirored"}, "mirrored"),
    ({"name": "mirrored"}, "logical-devices"),
    ({"name": "mirrored", "logical_devices": 3}, "before TensorFlow is used"),
    ({"name": "mirrored", "logical_devices": 1}, "2 or more"),
    ({"name": "one", "logical_devices": 2}, "mirrored"),
    ({"name": "multi_worker"}, "TF_CONFIG"),
    ({"name": "tpu"}, "No TPU"),
])
def test_what_is_not_there(arguments, word, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match=word):
        distribution.strategy(**arguments)


def test_a_tpu_without_its_package_is_a_warning_and_not_a_refusal_by_version(monkeypatch, caplog):
    """tensorflow-tpu exists for other versions than the one that an earlier message named."""
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.TPUClusterResolver
    monkeypatch.setattr(resolver, "connect", staticmethod(lambda tpu: "resolver"))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda resolver: f"strategy of {resolver}")
    assert distribution.strategy("tpu") == "strategy of resolver"
    assert "tensorflow-tpu" in caplog.text


def test_slurm_without_a_number_of_tasks(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "many")
    with pytest.raises(UserError, match="SLURM_NTASKS"):
        distribution.strategy("multi_worker")


@pytest.mark.parametrize("arguments", [
    {"clipnorm": 1.0}, {"global_clipnorm": 1.0}, {"clipvalue": 1.0}, {"gradient_accumulation_steps": 2},
])
@pytest.mark.parametrize("wrap", [kt.optimizers.AGC, kt.optimizers.LossScale])
def test_keras_clipping_is_refused_on_replicas(wrap, arguments):
    import keras
    from support import replicas

    strategy = distribution.strategy("mirrored", logical_devices=4)
    with strategy.scope(), pytest.raises(UserError, match=next(iter(arguments))):
        model = replicas.network()
        model.compile(wrap(keras.optimizers.SGD(0.1, **arguments)), "categorical_crossentropy", jit_compile=False)
        model.fit(replicas.batches(steps=1), verbose=0)


def test_two_logical_devices_from_the_command_line(tmp_path):
    """`--strategy mirrored --logical-devices 2` plans a batch of half the size per replica."""
    command = [sys.executable, "-m", "keras_tricks", "plan", "quickstart", "--strategy", "mirrored",
               "--logical-devices", "2"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert result.returncode == 0, result.stderr
    assert "64 = 32 per replica x 2 replicas x 1 micro-batch" in result.stdout


def test_a_batch_that_replicas_cannot_share():
    from keras_tricks.recipe import load_recipe
    from keras_tricks.training import plan_of_recipe

    recipe = load_recipe("quickstart").replace(schedule={"batch_size": 66})
    with pytest.raises(UserError, match="multiple of 4"):
        plan_of_recipe(recipe, 1198, replicas=4)
    phase = plan_of_recipe(recipe.replace(optimizer={"accumulation_steps": 3}), 1198, replicas=2)[0]
    assert (phase.step_size, phase.micro_batch) == (22, 11)


@pytest.mark.parametrize("batch, images, message", [
    (8, 1198, "A batch of 8 images cannot be divided into 16 replicas x 1 accumulation steps. Use a multiple of 16."),
    (16, 10, "`batch_size` 16 is larger than the data set of 10 examples."),
], ids=["more replicas than images in a batch", "more processes than images"])
def test_too_few_images_for_the_workers(batch, images, message):
    """Validation needs no image for each process: see `tests/data/test_parts.py`, one image and four processes."""
    from keras_tricks.recipe import load_recipe
    from keras_tricks.training import plan_of_recipe

    recipe = load_recipe("quickstart").replace(schedule={"batch_size": batch})
    with pytest.raises(UserError) as error:
        plan_of_recipe(recipe, images, replicas=16)
    assert str(error.value) == message
