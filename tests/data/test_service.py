"""A service (a dispatcher and two workers) in separate processes; tests that kill a worker start their own."""

import logging
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import servers
from support.batches import assert_same
from support.image_folders import mixed_folder

from keras_tricks import cli
from keras_tricks.data import open_source, service, training_batches
from keras_tricks.data.sources.source import Split
from keras_tricks.data.sources.tfrecord import pack
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import Step, batch_size_plan
from keras_tricks.utils.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
CLASSES = 2


@pytest.fixture(scope="module")
def address():
    program = [sys.executable, "-m", "keras_tricks", "data", "serve", "--host", "localhost"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    first, place = servers.start([*program, "--port", "0"], env)
    second, _ = servers.start([*program, "--dispatcher", f"grpc://{place}"], env)
    yield f"grpc://{place}"
    servers.stop([second, first])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    mixed_folder(root, images=22, growth=1)
    return root


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("packed") / "shards"
    pack(open_source("image_folder", folder), target, shard_bytes=6000)
    return target


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A server, and 40 images of 100 kB: (its process id, address, packed data)."""
    root = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 1)):
        for label in ("ant", "bee"):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, 256, (200, 220, 3), dtype="uint8"))
                image.save(root / split / label / f"{i:03d}.png")
    pack(open_source("image_folder", root), root / "shards")
    program = [sys.executable, "-m", "keras_tricks", "data", "serve", "--host", "localhost"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process, place = servers.start([*program, "--port", "0"], env)
    yield process.pid, f"grpc://{place}", root / "shards"
    servers.stop([process])


def growing(dataset_size, epochs=3):
    """Batches of 5, then 10."""
    return batch_size_plan(0.1, 5, epochs, dataset_size, decay=Step((1,), 0.5), max_batch_size=10)


def constant(dataset_size):
    return batch_size_plan(0.1, 8, 2, dataset_size, mode="decay")


def both(data, root, augment, plan=growing, epochs=None, timeout=60):
    """(local batches, batches of the service, their datasets, the source)."""
    source = open_source(data.source, root)
    served = service.Service(data.service, service.connect(data, source).split, timeout)
    arguments = source.train, data, augment, CLASSES, plan(source.train.num_examples), 7, epochs
    datasets = training_batches(*arguments), training_batches(*arguments, service=served)
    return *(list(d.as_numpy_iterator()) for d in datasets), datasets, source


COLOUR = Augment(color_jitter="gluoncv", pca_noise=0.1, mixup_alpha=0.4)
CASES = {  # augmentation, plan, batch sizes
    "growth": (COLOUR, growing, [5] * 8 + [10] * 8),
    "mixing ends": (Augment(crop="pad", pad=1, cutmix_alpha=1.0, mix_off_epoch=1), constant, [8] * 10),
    "nfnet": (Augment(rand_augment_layers=1, mixup_alpha=0.2, cutmix_alpha=1.0, mixup_per="sample", mix_first=True),
              constant, [8] * 10),
}


@pytest.mark.parametrize("augment, plan, sizes", CASES.values(), ids=CASES)
def test_batches_are_those_made_here_bit_by_bit(address, packed, augment, plan, sizes):
    data = Data(source="tfrecord", data_dir=str(packed), image_size=8, service=address)
    here, there, datasets, _ = both(data, packed, augment, plan)
    assert [len(x) for x, _ in here] == sizes
    assert_same(here, there)
    assert datasets[0].element_spec == datasets[1].element_spec and len(datasets[0]) == len(datasets[1])


def bytes_read(pid):
    """Bytes that a process has read from files since it started."""
    return int(pathlib.Path(f"/proc/{pid}/io").read_text().split()[1])


@pytest.mark.skipif(not pathlib.Path("/proc/self/io").exists(), reason="Linux counts the bytes")
def test_two_trainers_let_the_workers_read_as_much_as_one(large):
    pid, address, packed = large
    data = Data(source="tfrecord", data_dir=str(packed), image_size=8, service=address)
    source = open_source(data.source, packed)
    plan, read = batch_size_plan(0.1, 8, 2, source.train.num_examples, mode="decay"), []
    for parts in (1, 2):
        before, images = bytes_read(pid), 0
        for part in range(parts):
            served = service.Service(address, service.connect(data, source).split)
            made = training_batches(source.train, data, Augment(), CLASSES, plan, 7, service=served, part=part,
                                    parts=parts)
            images += sum(len(x) for x, _ in made.as_numpy_iterator())
        read.append(bytes_read(pid) - before)
        assert images == 2 * 40
    files = sum(path.stat().st_size for path in packed.glob("train-*.tfrecord"))
    assert read[0] > 1.5 * files and read[1] == pytest.approx(read[0], rel=0.02)


def test_broken_and_unusual_files_are_read_by_the_trainer(address, folder):
    data = Data(source="image_folder", data_dir=str(folder), image_size=8, service=address)
    here, there, _, source = both(data, folder, Augment())
    assert_same(here, there)
    assert list(source.train.bad.reasons) == [str(folder / "train" / "bee" / "005.jpg")]


def test_a_file_that_cannot_be_decoded_is_the_same_error(address, tmp_path):
    """A JPEG with intact ends and no content between them."""
    for split in ("train", "val"):
        for label in ("ant", "bee"):
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(10):
                Image.new("RGB", (9, 9)).save(tmp_path / split / label / f"{i}.jpg")
    file = tmp_path / "train" / "ant" / "3.jpg"
    file.write_bytes(file.read_bytes()[:30] + file.read_bytes()[-30:])
    data = Data(source="image_folder", data_dir=str(tmp_path), image_size=8, service=address)
    source = open_source("image_folder", tmp_path)
    served = service.connect(data, source)
    for through in (None, served):
        batches = training_batches(source.train, data, Augment(), CLASSES, growing(20), 7, service=through)
        with pytest.raises(tf.errors.OpError, match="JPEG"):
            list(batches)
    assert isinstance(served.error, tf.errors.InvalidArgumentError) and "JPEG" in served.error.message


def test_a_resumed_run_and_static_shapes(address, packed):
    data = Data(source="tfrecord", data_dir=str(packed), image_size=8, service=address)
    here, there, datasets, _ = both(data, packed, COLOUR, epochs=range(1, 3))
    assert_same(here, there)
    assert datasets[1].element_spec[0].shape == datasets[0].element_spec[0].shape == (10, 8, 8, 3)


def test_an_iteration_that_ends_early_stops_reading(address, packed):
    data = Data(source="tfrecord", data_dir=str(packed), image_size=8, service=address)
    source, before = open_source("tfrecord", packed), threading.active_count()
    served = service.connect(data, source)
    dataset = training_batches(source.train, data, Augment(), CLASSES, growing(44, 200), 7, service=served)
    assert len(list(dataset.take(2).as_numpy_iterator())) == 2
    for _ in range(100):
        if threading.active_count() <= before:
            return
        time.sleep(0.1)
    raise AssertionError("the reading thread is still running")


def test_a_file_that_workers_do_not_have(address, folder, tmp_path):
    from keras_tricks.data.sources import remote_split

    source = open_source("image_folder", folder)
    elsewhere = [str(tmp_path / pathlib.Path(path).name) for path in source.train.paths]
    served = service.Service(address, remote_split.remote_file_split(elsewhere, [0] * len(elsewhere)), 60)
    data = Data(image_size=8, service=address)
    batches = training_batches(source.train, data, Augment(), CLASSES, growing(44), 7, service=served)
    with pytest.raises(tf.errors.OpError, match="put the data at the same path on every worker"):
        list(batches)
    assert isinstance(served.error, UserError) and str(tmp_path) in str(served.error)


def test_large_batches_are_sent_in_parts(address, packed, monkeypatch):
    monkeypatch.setattr(service, "PART_BYTES", 8 * 8 * 3 * 4 * 3)  # three images
    data = Data(source="tfrecord", data_dir=str(packed), image_size=8, service=address)
    here, there, datasets, _ = both(data, packed, COLOUR, epochs=range(2))
    assert_same(here, there)
    assert datasets[0].element_spec == datasets[1].element_spec


@pytest.mark.parametrize("total, parts, counts", [(10, 4, [2, 3, 2, 3]), (10, 1, [10]), (3, 8, [1, 1, 1])])
def test_how_a_batch_is_divided(total, parts, counts):
    assert service.near_equal_parts(total, parts) == counts


# ---- the order


def batch(step, intact=True, made="there"):
    return step, intact, made


def arrivals(items):
    """A `receive` that reads from a list. `None` in the list means that no batch arrives in time."""
    left = list(items)
    return lambda seconds=None: left.pop(0) if left else service.END_OF_DATA


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5), st.integers(1, 40), st.randoms(use_true_random=False))
def test_batches_in_any_order_are_reordered(first, count, rng):
    steps = range(first, first + count)
    shuffled = random.Random(rng.random()).sample(steps, count)
    found = service.reorder(steps, arrivals(batch(s) for s in shuffled), None, timeout=9, max_ahead=count + 1)
    assert list(found) == [batch(s) for s in steps]


@pytest.mark.parametrize("lost", [[0], [3], [9], [2, 3, 7]])
def test_lost_batches_are_made_by_the_trainer_and_logged(lost, caplog):
    items = [batch(s) for s in range(10) if s not in lost]
    with caplog.at_level(logging.WARNING, logger="absl"):
        found = service.reorder(range(10), arrivals(items), lambda s: batch(s, made="here"), timeout=9, max_ahead=99)
        found = list(found)
    assert found == [batch(s, made="here" if s in lost else "there") for s in range(10)]
    assert [r.args[0] for r in caplog.records] == lost and "lost or late" in caplog.text


def test_a_batch_is_made_here_when_many_later_ones_wait_and_its_own_is_dropped():
    items = [batch(s) for s in (1, 2, 3, 4, 0, 5)]
    found = service.reorder(range(6), arrivals(items), lambda s: batch(s, made="here"), timeout=9, max_ahead=3)
    assert list(found) == [batch(0, made="here"), *(batch(s) for s in range(1, 6))]


def test_a_batch_is_made_here_when_later_ones_have_waited_long_enough():
    items = [batch(1), None, None, batch(0), batch(2)]
    found = service.reorder(range(3), arrivals(items), lambda s: batch(s, made="here"), timeout=0, max_ahead=99)
    assert list(found) == [batch(0, made="here"), batch(1), batch(2)]


def test_a_batch_with_a_broken_image_is_made_here():
    items = [batch(0), batch(1, intact=False), batch(2)]
    found = service.reorder(range(3), arrivals(items), lambda s: batch(s, made="here"), timeout=9, max_ahead=99)
    assert list(found) == [batch(0), batch(1, made="here"), batch(2)]


# ---- errors of the connection


def numbers():
    return Split(64, fetch=lambda i: (tf.zeros((8, 8, 3), tf.uint8), tf.cast(i % 2, tf.int32), tf.constant(True)))


def unanswered(address, monkeypatch):
    """The error message when nothing arrives from `address` for half a second."""
    monkeypatch.setattr(service._Receiver, "_read", lambda self: None)  # else TensorFlow keeps retrying
    served = service.Service(address, numbers(), timeout=0.5)
    batches = training_batches(numbers(), Data(image_size=8), Augment(), CLASSES, growing(64), 7, service=served)
    with pytest.raises(tf.errors.OpError):
        list(batches)
    assert isinstance(served.error, UserError)
    return str(served.error)


def test_a_service_that_sends_nothing_is_an_error(address, monkeypatch):
    error = unanswered(address, monkeypatch)
    assert "has sent nothing for 0.5 s" in error and f"keras-tricks data serve --dispatcher {address}" in error


def test_a_dispatcher_that_has_ended_is_an_error(monkeypatch):
    address = f"grpc://localhost:{closed_port()}"
    assert f"The data service at {address} has ended (" in unanswered(address, monkeypatch)


def closed_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def test_an_address_where_nothing_listens(capsys):
    nowhere = f"grpc://localhost:{closed_port()}"
    with pytest.raises(UserError, match=f"Nothing listens at the data service's address {nowhere}"):
        service.connect(Data(service=nowhere), open_source("digits"))
    with pytest.raises(SystemExit) as stop:
        cli.run(cli.parse(["keras-tricks", "train", "quickstart", "--data-service", nowhere]))
    assert stop.value.code == 2 and f"address {nowhere}" in capsys.readouterr().err
    with pytest.raises(UserError, match=f"Nothing listens at the dispatcher's address {nowhere}.*--dispatcher"):
        service.serve(dispatcher=nowhere)


def test_a_stream_has_no_service(address):
    with pytest.raises(UserError, match="is a stream. Pack it"):
        service.connect(Data(source="tfds:cifar10", service=address), None)


@pytest.mark.parametrize("wrong", ["host", ":5050", "host:port", "host:0", "host:65536"])
def test_an_invalid_address(wrong):
    with pytest.raises(UserError, match="The address of a data service is grpc://host:port"):
        service.serve(dispatcher=wrong)


def test_a_taken_port(address):
    _, port = service.host_and_port(address)
    with pytest.raises(UserError, match=f"Port {port} cannot be used .*give --port another"):
        service.serve(port)
    with pytest.raises(UserError, match="Port 70000 cannot be used"):
        service.serve(70000)


def test_an_invalid_timeout(monkeypatch):
    monkeypatch.setenv("KERAS_TRICKS_TIMEOUT", "soon")
    with pytest.raises(UserError, match="KERAS_TRICKS_TIMEOUT must be a number .* Received: 'soon'"):
        service.Service("grpc://localhost:1", numbers())


@pytest.mark.slow  # TensorFlow takes a minute to end a dispatcher before its worker
def test_serving_from_the_command_line(monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout=None: interrupted(self))
    cli.run(cli.parse(["keras-tricks", "data", "serve", "--port", "0", "--host", "localhost"]))
    out = capsys.readouterr().out
    assert "a dispatcher and a worker at grpc://localhost:" in out and out.endswith("stopped\n")
    assert "every network of this machine, whatever --host says" in out


# ---- processes


KILLED = """
import os, subprocess, sys
import numpy as np
from keras_tricks.data import open_source, service, training_batches
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import batch_size_plan

join = "import sys, time; from keras_tricks.data.service import serve; " \\
       "kept = serve(dispatcher=sys.argv[1], host='localhost'); print('up', flush=True); time.sleep(600)"
serving = service.serve(0, host="localhost")
worker = subprocess.Popen([sys.executable, "-c", join, serving.address], stdout=subprocess.PIPE, text=True)
assert worker.stdout.readline() == "up\\n"
data = Data(source="tfrecord", data_dir=sys.argv[1], image_size=64, service=serving.address)
source = open_source("tfrecord", sys.argv[1])
served = service.Service(serving.address, service.connect(data, source).split, timeout=10)
plan = batch_size_plan(0.1, 4, 20, source.train.num_examples, mode="decay")
arguments = source.train, data, Augment(mixup_alpha=0.2), 2, plan, 7
there = []
for count, batch in enumerate(training_batches(*arguments, service=served).as_numpy_iterator()):
    there.append(batch)
    if count == 5:
        worker.kill()
here = list(training_batches(*arguments).as_numpy_iterator())
same = all((x == y).all() for a, b in zip(here, there, strict=True) for x, y in zip(a, b, strict=True))
print(len(there), "the same" if same else "others", flush=True)
os._exit(0)  # TensorFlow would keep looking for the worker
"""


@pytest.mark.slow
def test_a_worker_that_dies_loses_no_batch(packed):
    done = subprocess.run([sys.executable, "-c", KILLED, packed], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.stdout == "200 the same\n", done.stderr


@pytest.mark.slow
def test_a_whole_run_ends_with_the_same_weights(address, packed, tmp_path):
    import keras_tricks as kt
    from keras_tricks.recipe import Model, Recipe, Schedule
    from keras_tricks.weights import safetensors_io

    recipe = Recipe(
        data=Data(source="tfrecord", data_dir=str(packed), image_size=8, eval_crop="whole"), augment=COLOUR,
        model=Model(name="test_resnet", options={"stem": "cifar"}), export={"formats": ()},
        schedule=Schedule(epochs=3, batch_size=5, milestones=(1,), factor=0.5, mode="increase_batch",
                          max_batch_size=10),
    )
    runs = [kt.train(r, output=tmp_path / name, verbose=0)
            for name, r in (("here", recipe), ("there", recipe.replace(data={"service": address})))]
    (here, _), (there, _) = (safetensors_io.read(run.folder / "checkpoints" / "last.safetensors") for run in runs)
    assert here.keys() == there.keys() and len(here) > 20
    for name, value in here.items():
        np.testing.assert_array_equal(value, there[name], err_msg=name)


@pytest.mark.slow
def test_a_dispatcher_without_workers_ends_the_program_with_one_line(tmp_path):
    dispatcher = tf.data.experimental.service.DispatchServer()
    command = [sys.executable, "-m", "keras_tricks", "train", "quickstart", "--data-service", dispatcher.target,
               "--output", str(tmp_path / "run")]
    environment = {**os.environ, "KERAS_TRICKS_TIMEOUT": "3"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("keras-tricks: ")]
    assert done.returncode == 2 and "has sent nothing for 3 s" in line and "Traceback" not in done.stderr
