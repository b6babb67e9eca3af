"""Short texts that the processes of a run share, by key, and what they compare with them.

They travel through the service with which the backend joins the processes. It has no public interface: checked with
TensorFlow 2.21 and jax 0.10.2; `tests/distribution/test_shared_texts.py` fails when they change.
"""

import contextlib
import itertools
import json

import keras

from keras_tricks.utils.errors import UserError
from keras_tricks.utils.timeouts import default_timeout

_comparisons = itertools.count()  # every process makes the same comparisons, in the same order


class TensorFlowStore:
    """Texts in the coordination service of `MultiWorkerMirroredStrategy`."""

    def set(self, key, text):
        import tensorflow as tf

        with contextlib.suppress(tf.errors.AlreadyExistsError):  # two processes received a signal
            _tensorflow_context().set_config_key_value(key, text)

    def get(self, key, seconds):
        import tensorflow as tf

        try:
            return _tensorflow_context().get_config_key_value(key, int(1000 * seconds))
        except tf.errors.OpError:
            return None


class JaxStore:
    """Texts in the service that `keras.distribution.initialize` starts."""

    def set(self, key, text):
        from jax.errors import JaxRuntimeError

        with contextlib.suppress(JaxRuntimeError):  # two processes received a signal
            _jax_client().key_value_set(key, text)

    def get(self, key, seconds):
        from jax.errors import JaxRuntimeError

        try:
            return _jax_client().blocking_key_value_get(key, int(1000 * seconds))
        except JaxRuntimeError:
            return None


def _tensorflow_context():
    from tensorflow.python.eager import context

    return context.context()


def _jax_client():
    from jax._src import distributed

    return distributed.global_state.client


def make_store():
    """The store of this process, once the processes are joined."""
    return TensorFlowStore() if keras.backend.backend() == "tensorflow" else JaxStore()


def check_equal(facts, names, process_index, store=None, timeout=None):
    """Returns when all processes have called it with the same facts. Does nothing for a single process.

    Args:
        facts: dict of str to str, such as `{"number of training images": "1198"}`.
        names: names of all processes in messages.
        process_index: index of this process.
        store: where the processes share texts. Defaults to `None`, the service of the backend.
        timeout: seconds. Defaults to `KERAS_TRICKS_TIMEOUT`, or `300`.

    Raises:
        UserError: in every process: a process has other facts, or did not answer in time.
    """
    if len(names) == 1:
        return
    store, timeout = store or make_store(), default_timeout() if timeout is None else timeout
    key = f"keras_tricks/facts/{next(_comparisons)}"
    store.set(f"{key}/{process_index}", json.dumps(facts))
    if process_index == 0:
        texts = [store.get(f"{key}/{i}", timeout) for i in range(len(names))]
        found = [text and json.loads(text) for text in texts]
        store.set(f"{key}/verdict", _difference(names, found, timeout) or "equal")
    verdict = store.get(f"{key}/verdict", timeout + 5)
    if verdict != "equal":
        raise UserError(verdict or f"{names[0]} did not compare the data within {timeout:g} s.")


def _difference(names, found, timeout):
    for name, facts in zip(names, found, strict=True):
        if facts is None:
            return f"{name} did not open its data within {timeout:g} s: KERAS_TRICKS_TIMEOUT changes how long to wait."
        for key, value in found[0].items():
            if facts.get(key) != value:
                return (f"{name} has other data than {names[0]}: the {key} is {_short(facts.get(key))}, not "
                        f"{_short(value)}. Give all workers the same images.")
    return None


def _short(text):
    text = str(text)
    return text if len(text) <= 100 else f"{text[:100]}..."
