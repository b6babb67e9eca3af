"""What a training leaves of its process, and who may train at the same time."""

import random
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.tiny_runs import leave_tensorflow_as_it_was, tiny  # noqa: F401

import keras_tricks as kt
from keras_tricks.run.process import own_process
from keras_tricks.utils.errors import UserError


def state():
    from tensorflow.python.framework import config

    return (keras.config.dtype_policy().name, config.is_op_determinism_enabled(), random.getstate(),
            np.random.get_state()[1].tolist())


def test_a_training_leaves_the_process_as_it_was():
    keras.config.set_dtype_policy("mixed_bfloat16")
    random.seed(1)
    np.random.seed(2)
    before = state()
    kt.train(tiny(train={"precision": "mixed_float16", "deterministic": True}), dry_run=True, verbose=0)
    assert state() == before
    assert keras.layers.Dense(1).compute_dtype == "bfloat16"


def test_also_when_it_fails():
    before = state()
    with pytest.raises(UserError, match="no model"):
        kt.train(tiny(model={"name": "resnet50e"}, train={"precision": "mixed_float16"}), dry_run=True, verbose=0)
    assert state() == before
    with own_process("another"):
        pass  # the next one may begin


def test_determinism_that_was_on_stays_on():
    from tensorflow.python.framework import config

    config.enable_op_determinism()
    with own_process("kt.train"):
        pass
    assert config.is_op_determinism_enabled()


def test_a_second_training_in_the_process_is_refused():
    inside, over = threading.Event(), threading.Event()

    def first():
        with own_process("kt.train"):
            inside.set()
            over.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(60)
    try:
        with pytest.raises(UserError, match="kt.train: another training or evaluation is running in this process"):
            kt.train(tiny(), dry_run=True, verbose=0)
        with pytest.raises(UserError, match="kt.evaluate: another training or evaluation is running"):
            with own_process("kt.evaluate"):
                pass
    finally:
        over.set()
        thread.join()


def test_inside_a_strategy_of_the_user_it_is_refused(tmp_path):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        with pytest.raises(UserError, match="kt.train creates its own strategy: call it outside of strategy.scope"):
            kt.train(tiny(), tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()
