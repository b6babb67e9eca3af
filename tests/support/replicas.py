"""One small training run on any devices, which `contracts/test_replicas*.py`, the multi-worker tests and the table of
`docs/replicas.md` compare. A case defines the difference to plain SGD."""

import contextlib
import dataclasses
import functools
import typing

import keras
import numpy as np
import tensorflow as tf

import keras_tricks as kt

STEPS, BATCH = 20, 16


def sgd():
    return kt.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-2, no_bias_decay=True)


def keras_sgd(**arguments):
    return keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, **arguments)


@dataclasses.dataclass(frozen=True)
class Case:
    optimizer: typing.Callable = sgd
    policy: str = "float32"
    soft_labels: bool = False  # label smoothing on labels mixed by mixup
    loss: typing.Callable = kt.losses.LabelSmoothingCrossentropy
    sync_bn: bool = False
    norm: str = ""  # "keras": Keras' own batch normalization
    family: str = ""  # registry name of the network; "": a network of a few layers
    ema: bool = False
    sam: dict | None = None  # arguments of `SharpnessAware`
    steps: int = STEPS
    tolerance: float = 1e-5  # of max|w|


CASES = {
    "sgd": Case(),
    "sgd_decoupled_decay": Case(lambda: keras_sgd(weight_decay=1e-2)),
    "agc": Case(lambda: kt.optimizers.AGC(sgd(), 0.02)),
    "agc_keras_decoupled": Case(lambda: kt.optimizers.AGC(keras_sgd(weight_decay=1e-2), 0.02)),
    "accumulation": Case(lambda: kt.optimizers.GradientAccumulation(sgd(), 2)),
    "agc_accumulation": Case(lambda: kt.optimizers.GradientAccumulation(kt.optimizers.AGC(sgd(), 0.02), 2)),
    "lookahead_agc": Case(lambda: kt.optimizers.Lookahead(kt.optimizers.AGC(sgd(), 0.02), 3)),
    "lamb": Case(lambda: keras.optimizers.Lamb(0.01, weight_decay=1e-2)),
    "muon": Case(lambda: kt.optimizers.Muon(0.05, weight_decay=1e-3)),
    "loss_scale_agc_float16": Case(
        lambda: kt.optimizers.LossScale(kt.optimizers.AGC(sgd(), 0.02)), "mixed_float16", tolerance=2e-3),
    "ema": Case(ema=True),
    "sharpness_aware_agc": Case(lambda: kt.optimizers.AGC(sgd(), 0.02), sam={"rho": 0.5, "stride": 2}),
    "binary_crossentropy_mixup": Case(soft_labels=True, loss=kt.losses.BinaryCrossentropy),
    "label_smoothing_mixup": Case(soft_labels=True),
    "class_weight_mixup": Case(
        soft_labels=True, loss=functools.partial(kt.losses.ClassWeightedCrossentropy, (0.2, 1.0, 1.0, 5.0))),
    "sync_bn": Case(sync_bn=True),
    "nf_resnet_agc": Case(lambda: kt.optimizers.AGC(sgd(), 0.02), family="test_nf_resnet"),
    # Few steps: one device and several sum in different orders, and batch normalization over 16 numbers amplifies this.
    "resnet_rs": Case(sync_bn=True, family="test_resnet_rs", steps=4),
}


def network(sync_bn=False, family="", norm=""):
    # tanh: with the kink of a ReLU the last digit of a sum could switch the gradient
    if family == "test_nf_resnet":
        return kt.models.create_model(family, stem="cifar", input_shape=(8, 8, 3), classes=4,
                                      classifier_activation=None, activation="tanh", skip_gain_init=0.5)
    if family == "test_resnet_rs":
        large = keras.layers.UpSampling2D(4)(keras.Input((8, 8, 3)))
        return kt.models.create_model(family, input_tensor=large, classes=4, classifier_activation=None,
                                      activation="tanh", sync_bn=sync_bn)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, use_bias=not sync_bn)(inputs)
    if sync_bn:
        x = kt.layers.BatchNormalization(synchronized=True)(x)
    elif norm == "keras":
        x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Activation("tanh")(x)
    x = keras.layers.DepthwiseConv2D(3, activation="tanh")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(4, dtype="float32", kernel_initializer="zeros")(x))


def batches(soft_labels=False, steps=STEPS, batch=BATCH, seed=0):
    """`steps` global batches of `batch` images, the same for every strategy."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(steps * batch, 8, 8, 3)).astype("float32")
    labels = tf.one_hot(rng.integers(0, 4, steps * batch), 4)
    images[:, :, :, 0] += rng.normal(size=(steps * batch, 1, 1))  # examples differ, so replicas do
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch, drop_remainder=True)
    if soft_labels:
        mix = lambda i, xy: kt.data.mixup(*xy, 0.4, tf.stack([7, i]))  # noqa: E731
        data = data.enumerate().map(mix).apply(tf.data.experimental.assert_cardinality(steps))
    return data


def train(case, devices=None, steps=None):
    """The weights after `steps` batches (by default those of the case) as one vector; for an EMA case, the averages.

    `devices`: what `distribution.make_devices` returns, a strategy of TensorFlow, or `None` for one device.
    """
    steps = steps or case.steps
    scope = (lambda: devices.scope()) if devices is not None else contextlib.nullcontext
    fit_scope = getattr(devices, "fit_scope", contextlib.nullcontext)
    keras.config.set_dtype_policy(case.policy)
    keras.utils.set_random_seed(1)
    try:
        with scope():
            model = network(case.sync_bn, case.family, case.norm)
            model = model if case.sam is None else kt.optimizers.SharpnessAware(model, **case.sam)
            loss = case.loss(0.1 if case.soft_labels else 0.0, from_logits=True)
            model.compile(case.optimizer(), loss, jit_compile=keras.backend.backend() == "jax")
        average = kt.callbacks.WeightEMA(0.9)
        with fit_scope():
            model.fit(batches(case.soft_labels, steps), epochs=1, verbose=0, shuffle=False,
                      callbacks=[average] if case.ema else [])
    finally:
        keras.config.set_dtype_policy("float32")
    variables = average.averages if case.ema else [v for v in model.variables if "float" in v.dtype]
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(v)) for v in variables])


def difference(one, several):
    """max|Δw| / max|w|."""
    return float(np.abs(one - several).max() / np.abs(one).max())
