"""The setup of every test: quiet TensorFlow, four CPU devices for replicas, no wait for the disk, one seed, float32."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # one process per CPU: more threads would compete for it
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")  # JAX reads it when it starts

import keras
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
    )

os.fsync = lambda descriptor: None  # tests end processes, never the machine: waiting for the disk would show nothing

gc.freeze()  # collections skip the half million objects of the imports
gc.set_threshold(10_000, 5, 5)  # fewer passes over young objects; models that are dropped are still freed soon


def pytest_runtest_setup():
    """Every test starts from the same seed, so that its weights do not depend on which tests ran before it."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def float32_policy():
    """Resets the precision policy to float32 for the next test."""
    yield
    keras.config.set_dtype_policy("float32")
