"""On JAX, every trick on 2 and 4 devices equals one device, under jit. Keras' own clipping is right there as well."""

import functools

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("KERAS_BACKEND=jax", allow_module_level=True)
pytest.importorskip("tensorflow")  # for tf.data

from support import replicas  # noqa: E402

from keras_tricks import distribution  # noqa: E402

SEVERAL = {"one_clip": replicas.Case(lambda: replicas.keras_sgd(global_clipnorm=0.05)),
           "clipvalue": replicas.Case(lambda: replicas.keras_sgd(clipvalue=0.005)),
           **replicas.CASES}


@functools.cache
def on_one_device(name):
    return replicas.train(SEVERAL[name])


def devices(count):
    layout = keras.distribution.DataParallel(devices=keras.distribution.list_devices()[:count],
                                             auto_shard_dataset=False)
    return distribution.GlobalArrays(layout)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if case.family else ())
                                  for name, case in SEVERAL.items()])
def test_devices_equal_one(name, count):
    case = SEVERAL[name]
    one, several = on_one_device(name), replicas.train(case, devices(count))
    assert replicas.difference(one, several) <= case.tolerance
    plain = on_one_device("sgd")
    if len(plain) == len(one) and name not in ("sgd", "one_clip"):
        assert replicas.difference(one, plain) > 1e-4, "the case trains as plain SGD does"
