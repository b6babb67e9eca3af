"""What a type checker sees of the public API: the annotations, and the errors in a user's script."""

import importlib
import importlib.util
import inspect
import os
import pathlib
import re
import subprocess
import sys

import pytest

import keras_tricks as kt

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("analysis", "callbacks", "export", "initializers", "layers", "losses", "models", "ops", "optimizers",
           "schedules", "surgery", "weights")

RIGHT = """\
import keras_tricks as kt

model = kt.models.ResNet50D(classes=10, zero_gamma=True, input_shape=(None, None, 3))
scaled = kt.models.create_model("resnet_rs50", classes=10)
schedule = kt.schedules.WarmupLinearScaling(256, steps_per_epoch=100, decay=kt.schedules.Cosine(120))
optimizer = kt.optimizers.AGC(kt.optimizers.SGD(schedule, momentum=0.9, weight_decay=5e-5), clip_factor=0.01)
scheduler = kt.callbacks.BatchSizeScheduler.instead_of_decay(
    learning_rate=0.1, batch_size=128, factor=5, milestones=(60, 120), epochs=200, dataset_size=50_000)
sizes: list[int] = [phase.batch_size for phase in scheduler.plan]
run = kt.train("quickstart", output="runs/typed")
"""
WRONG = """\
import keras_tricks as kt

kt.models.ResNet50D(clases=10)
kt.optimizers.SGD(learning_rate="0.1")
kt.optimizers.AGC(kt.optimizers.SGD(0.1), clip_factor=[0.01])
kt.callbacks.BatchSizeSchedule
"""


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """{script: [(line, code of the error)]} of one run of mypy, 2 CPU seconds."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    folder = tmp_path_factory.mktemp("typing")
    for name, text in (("right", RIGHT), ("wrong", WRONG)):
        (folder / f"{name}.py").write_text(text)
    # Without other packages: Keras and TensorFlow have no annotations, and those of NumPy take 3 seconds to read.
    arguments = ["--no-site-packages", "--ignore-missing-imports", "--follow-imports=silent", "--config-file=",
                 f"--cache-dir={folder / 'cache'}", "right.py", "wrong.py"]
    run = f"import sys; from mypy import api; out, error, _ = api.run({arguments}); print(out); sys.exit(error)"
    done = subprocess.run([sys.executable, "-c", run], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "MYPYPATH": str(ROOT)})
    assert "checked 2 source files" in done.stdout, done.stdout + done.stderr
    lines = re.findall(r"^(\w+)\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    return {name: [(int(line), code) for script, line, code in lines if script == name] for name in ("right", "wrong")}


def test_a_right_script_has_no_errors(reported):
    assert reported["right"] == []


def test_wrong_arguments_are_reported_at_their_lines(reported):
    assert reported["wrong"] == [(3, "call-arg"), (4, "arg-type"), (5, "arg-type"), (6, "attr-defined")]


def test_the_package_declares_its_types():
    assert (pathlib.Path(kt.__file__).parent / "py.typed").is_file()


def public_functions():
    """(name, function) of every exported function, and of the public methods and `__init__` of every exported class."""
    for folder in FOLDERS:
        module = importlib.import_module(f"keras_tricks.{folder}")
        for name, thing in vars(module).items():
            if not getattr(thing, "__module__", "").startswith(f"keras_tricks.{folder}."):
                continue
            if inspect.isfunction(thing):
                yield f"{folder}.{name}", thing
            elif inspect.isclass(thing):
                for method, value in vars(thing).items():
                    value = getattr(value, "__func__", getattr(value, "fget", value))
                    if inspect.isfunction(value) and (method in ("__init__", "__call__") or method[0] != "_"):
                        yield f"{folder}.{name}.{method}", value


def test_public_functions_are_annotated():
    bare, count = [], 0
    for name, function in public_functions():
        count += 1
        signature = inspect.signature(function)
        missing = [p.name for p in signature.parameters.values()
                   if p.annotation is p.empty and p.name not in ("self", "cls")]
        if signature.return_annotation is signature.empty and not hasattr(function, "__signature__"):
            missing.append("return")
        bare += [f"{name}: {argument}" for argument in missing]
    assert bare == []
    assert count > 200, "the loop looks at nothing"
