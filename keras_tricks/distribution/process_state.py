"""State of the whole process that a run changes, and restores afterwards.

TensorFlow 2.21 has a public function that enables determinism, and none that disables or queries it.
`tests/run/test_process.py` fails when the private functions are gone.
"""

import keras


def in_strategy_scope():
    """Whether the caller is inside `strategy.scope()` of TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.distribute.has_strategy()


def is_deterministic():
    """Whether TensorFlow's operations are deterministic in this process."""
    config = _tensorflow_config()
    return bool(config and config.is_op_determinism_enabled())


def set_deterministic(deterministic):
    """Restores what `is_deterministic` returned."""
    config = _tensorflow_config()
    if config is not None and config.is_op_determinism_enabled() != deterministic:
        (config.enable_op_determinism if deterministic else config.disable_op_determinism)()


def _tensorflow_config():
    if keras.backend.backend() != "tensorflow":
        return None
    try:
        from tensorflow.python.framework import config
    except ImportError:
        return None
    return config if hasattr(config, "disable_op_determinism") else None
