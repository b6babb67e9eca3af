"""Contracts of every tiny model of the registry, and completeness of `cases.py`."""

import re
import subprocess
import sys

import cases
import keras
import numpy as np
import pytest
from cases import MODEL_CLASSES, MODELS, names

import keras_tricks as kt
from keras_tricks.models import registry

models = pytest.mark.parametrize("name, kwargs", MODELS, ids=names(MODELS))
classes = pytest.mark.parametrize("cls, arguments, shape", MODEL_CLASSES, ids=names(MODEL_CLASSES))


def images(kwargs, count=2):
    return np.random.default_rng(0).normal(size=(count, *kwargs["input_shape"])).astype("float32")


def test_cases_hold_every_registered_class_and_every_test_model():
    lists = (cases.LAYERS, cases.LOSSES, cases.METRICS, cases.INITIALIZERS, cases.SCHEDULES, cases.OPTIMIZERS,
             cases.MODEL_CLASSES)
    covered = {case[0] for rows in lists for case in rows}
    registered = {cls for key, cls in keras.saving.get_custom_objects().items() if key.startswith("keras_tricks>")}
    assert registered == covered
    assert {name for name, _ in MODELS} == set(kt.models.list_models("test_*"))


def opened(model):
    """The model with small random numbers for weights that start as zero, because some of them disable a branch."""
    rng = np.random.default_rng(1)
    for v in model.trainable_variables:
        if not np.any(v.numpy()):
            v.assign(rng.normal(size=v.shape, scale=0.1))
    return model


def forward(model, x):
    """The outputs. Compiled as a whole on JAX, which would otherwise compile each operation alone."""
    return model.predict_on_batch(x) if keras.backend.backend() == "jax" else np.asarray(model(x, training=False))


@models
def test_forward(name, kwargs):
    model = opened(kt.models.create_model(name, **kwargs))
    y = forward(model, images(kwargs))
    assert y.shape == (2, kwargs["classes"]) and y.dtype == "float32"
    np.testing.assert_allclose(y.sum(axis=1), 1.0, rtol=1e-5)
    assert not np.allclose(y[0], y[1], atol=1e-7), "the output must depend on the image"


@models
def test_any_batch_and_any_image_size(name, kwargs):
    height, width, channels = kwargs["input_shape"]
    model = kt.models.create_model(name, **{**kwargs, "input_shape": (None, None, channels)})
    assert model.output_shape == (None, kwargs["classes"])
    assert np.isfinite(model(np.ones((1, height + 3, width + 5, channels), "float32"))).all()


def fit_once(name, kwargs, **options):
    model = opened(kt.models.create_model(name, **kwargs))
    before = {v.path: v.numpy() for v in model.trainable_variables}
    model.compile(kt.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(), **options)
    model.fit(images(kwargs, 4), np.arange(4) % kwargs["classes"], epochs=3, batch_size=4, verbose=0)
    return {v.path: not np.array_equal(before[v.path], v.numpy()) for v in model.trainable_variables}


def one_of_each_family():
    """The cases. The second one of a family differs in its stem and is slow."""
    seen = set()
    for name, kwargs in MODELS:
        yield pytest.param(name, kwargs, marks=pytest.mark.slow if name in seen else ())
        seen.add(name)


@pytest.mark.parametrize("name, kwargs", one_of_each_family(), ids=names(MODELS))
def test_training_changes_every_weight(name, kwargs):
    without = {"drop_path_rate": 0.0} if "drop_path_rate" in kt.models.arguments_of(name) else {}
    # XLA needs longer than the step on TensorFlow. JAX would otherwise compile each operation of the step alone.
    changed = fit_once(name, {**kwargs, **without}, jit_compile=keras.backend.backend() == "jax")
    assert [path for path, moved in changed.items() if not moved] == []


FAMILIES = [  # every family at its smallest size, for XLA
    *MODELS,
    ("efficientnet_rs_b0", {"input_shape": (32, 32, 3), "classes": 3}),
    ("inception_v3", {"input_shape": (75, 75, 3), "classes": 3}),
    ("mobilenet", {"input_shape": (32, 32, 3), "classes": 3}),
]


def family(name):
    """The builder that a registered model names in its docstring."""
    return re.search(r"`(\w+)` with (builder='\w+')?", registry._entry(name).build.__doc__).groups()


def test_families_hold_one_model_of_every_family():
    assert {family(name) for name, _ in FAMILIES} == {family(name) for name in kt.models.list_models()}


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name, kwargs", FAMILIES, ids=names(FAMILIES))
def test_training_compiled_by_xla(name, kwargs, policy):
    """`jit_compile=True` compiles the whole step or fails at the first one: XLA has no fallback for an operation that
    it does not know."""
    tf = pytest.importorskip("tensorflow")
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(1)
    model = opened(kt.models.create_model(name, **kwargs))
    optimizer = kt.optimizers.SGD(0.1)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(), jit_compile=True)
    optimizer.build(model.trainable_variables)  # variables that are created in the first trace would need a second one
    before = [v.numpy() for v in model.trainable_variables]
    graphs, step = [], model.train_step

    def traced(data):
        logs = step(data)
        graphs.append(tf.compat.v1.get_default_graph())
        return logs

    model.train_step = traced
    data = tf.data.Dataset.from_tensor_slices((images(kwargs, 4), np.arange(4) % kwargs["classes"]))
    history = model.fit(data.batch(4, drop_remainder=True).repeat(3), shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    pairs = list(zip(before, model.trainable_variables, strict=True))
    assert [v.path for old, v in pairs if np.array_equal(old, v.numpy())] == []
    assert [v.path for _, v in pairs if not np.isfinite(v.numpy()).all()] == []
    (graph,) = graphs
    convolved = {op.outputs[0].dtype.name for op in graph.get_operations() if op.type == "Conv2D"}
    assert convolved == {keras.config.dtype_policy().compute_dtype}
    open_shapes = [(op.type, output.shape) for op in graph.get_operations() for output in op.outputs
                   if output.dtype != tf.resource and not output.shape.is_fully_defined()]
    # The batch normalization kernel gives its gradient a private tensor, whose shape TensorFlow does not know.
    assert [(kind, shape) for kind, shape in open_shapes if shape.rank is not None] == []
    assert {kind for kind, _ in open_shapes} <= {"FusedBatchNormV3", "ZerosLike"}


@classes
def test_model_classes_have_a_config(cls, arguments, shape):
    model = cls(**arguments())
    config = model.get_config()
    assert arguments().keys() <= config.keys()
    assert cls.from_config(config).get_config().keys() == config.keys(), "from_config must not empty the config"


FRESH = """
import sys
import numpy as np
import keras
import keras_tricks
for path in sys.argv[1:]:
    saved = keras.models.load_model(path + ".keras")
    forward = saved.predict_on_batch if keras.backend.backend() == "jax" else saved
    np.save(path + ".fresh.npy", forward(np.load(path + ".npy")))
"""


def test_files_open_in_a_fresh_process(tmp_path):
    made = [(kt.models.create_model(name, **kwargs), images(kwargs)) for name, kwargs in MODELS]
    for cls, arguments, shape in MODEL_CLASSES:
        x = np.random.default_rng(0).normal(size=shape).astype("float32")
        made.append((cls(**arguments()), x))
        made[-1][0](x)
    paths = []
    for i, (model, x) in enumerate(made):
        paths.append(str(tmp_path / f"{i}"))
        model.save(f"{paths[-1]}.keras")
        np.save(f"{paths[-1]}.npy", x)
    subprocess.run([sys.executable, "-c", FRESH, *paths], check=True)
    for path, (model, x) in zip(paths, made, strict=True):
        np.testing.assert_allclose(np.load(f"{path}.fresh.npy"), forward(model, x), rtol=1e-5)
