"""What every test starts from: quiet TensorFlow, four CPU devices to spread replicas over, float32."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
    )


@pytest.fixture(autouse=True)
def float32_policy():
    """A test may set a precision policy; the next one starts from float32 again."""
    yield
    keras.config.set_dtype_policy("float32")
