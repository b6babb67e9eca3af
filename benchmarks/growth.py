"""What grows with the data set and with the replicas: memory of an index, seconds to the first batch, bytes that a data
service receives, sums of `sync_bn`, seconds to trace a step.

Run      python benchmarks/growth.py [--only index opening service sums trace] [--output JSON]
Work     index    memory of the process for each example of 1,000,000: a folder with names as ImageNet's, and shards
         opening  `kt.data.open_source("tfrecord")`, plan, and first shuffled batch of 64, for 14 and 50 million
                  images. The shards are sparse files in which only the records of that batch exist. Then plan and first
                  batch of 300 million examples whose reading is simulated: their index would not fit 8 GB of memory
         service  the graph that a worker of `data serve` receives, for 10,000 and 1,000,000 examples
         sums     tensors that are summed over replicas in one forward and backward pass of a network with `sync_bn`
         trace    the first step of `quickstart` on 1, 2, 4, 8, 16 logical CPU devices, less the second
Method   every row in a process of its own
"""

import argparse
import gc
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.environ.get("GROWTH_PACKAGE") or str(pathlib.Path(__file__).resolve().parents[1]))
MILLION, BATCH, PER_SHARD = 1_000_000, 64, 10_000
ROWS = {
    "index": [("folder", MILLION), ("shards", MILLION)],
    "opening": [("shards", 100_000), ("shards", 14 * MILLION), ("shards", 50 * MILLION), ("simulated", 300 * MILLION)],
    "service": [(kind, count) for kind in ("folder", "shards") for count in (10_000, MILLION)],
    "sums": [("keras_tricks", 2), ("keras", 2)],
    "trace": [("quickstart", replicas) for replicas in (1, 2, 4, 8, 16)],
}


# --- simulated data ---------------------------------------------------------------------------------------------------


def folder_split(count):
    """A split of files that do not exist, in 1,000 classes."""
    from keras_tricks.data.sources.bad_images import BadImages
    from keras_tricks.data.sources.image_folder import file_split

    per_class = count // 1000
    files = [[f"/data/imagenet/train/n{label:08d}/n{label:08d}_{i}.JPEG" for i in range(per_class)]
             for label in range(1000)]
    return file_split(files, BadImages(100))


def write_shards(root, count):
    """A packed data set of `count` examples of one image, in sparse files without records."""
    import io
    import zlib

    import numpy as np
    from PIL import Image

    from keras_tricks.data.sources import shard_index, tfrecord

    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")).save(out, "JPEG", quality=90)
    image = out.getvalue()
    record = tfrecord._record(image, 7)
    size = shard_index.HEADER + len(record) + shard_index.FOOTER
    description = {"version": shard_index.VERSION, "name": "simulated", "class_names": list(map(str, range(10))),
                   "splits": {}}
    for name, examples in (("train", count), ("validation", PER_SHARD)):
        numbers = np.arange(examples)
        start = numbers % PER_SHARD * size
        columns = {"shard": numbers // PER_SHARD, "start": start,
                   "offset": start + shard_index.HEADER + record.index(image), "length": np.full(examples, len(image)),
                   "label": np.full(examples, 7), "crc32": np.full(examples, zlib.crc32(image))}
        path = root / f"{name}.index.npz"
        np.savez(path, **{key: values.astype(shard_index.COLUMNS[key]) for key, values in columns.items()})
        shards = []
        for shard in range(-(-examples // PER_SHARD)):
            file = root / f"{name}-{shard:05d}.tfrecord"
            with open(file, "wb") as opened:
                opened.truncate(min(PER_SHARD, examples - shard * PER_SHARD) * size)
            shards.append({"file": file.name, "bytes": file.stat().st_size, "sha256": ""})
        description["splits"][name] = {"examples": examples, "index_sha256": shard_index.file_sha256(path),
                                       "shards": shards}
    (root / "dataset.json").write_text(json.dumps(description))
    return record, size


def write_records(root, record, size, numbers):
    """Writes the records of some examples into the sparse files."""
    from keras_tricks.data.sources import shard_index

    for number in numbers:
        with open(root / f"train-{number // PER_SHARD:05d}.tfrecord", "r+b") as file:
            file.seek(number % PER_SHARD * size + shard_index.HEADER)
            file.write(record)


# --- rows -------------------------------------------------------------------------------------------------------------


def resident():
    """Bytes of memory of this process, after everything unused was given back."""
    import ctypes

    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def index(kind, count):
    if kind == "folder":
        folder_split(1000)
        before = resident()
        kept = folder_split(count)
        return {"bytes of an example": round((resident() - before) / kept.num_examples, 1)}
    from keras_tricks.data.sources.tfrecord import tfrecord

    with tempfile.TemporaryDirectory() as root:
        for examples in (1000, count):
            (pathlib.Path(root) / str(examples)).mkdir()
            write_shards(pathlib.Path(root) / str(examples), examples)
        tfrecord(pathlib.Path(root) / "1000")
        before = resident()
        kept = tfrecord(pathlib.Path(root) / str(count))
        return {"bytes of an example": round((resident() - before) / kept.train.num_examples, 1)}


def first_batch(split, num_classes, seconds):
    import keras_tricks as kt

    recipe, start = kt.load_recipe("quickstart"), time.perf_counter()
    plan = kt.schedules.batch_size_plan(0.1, BATCH, 90, split.num_examples, mode="decay")
    seconds["plan"] = round(time.perf_counter() - start, 2)

    def batch():
        start = time.perf_counter()
        batches = kt.data.training_batches(split, recipe.data, recipe.augment, num_classes, plan, 0)
        images, _ = next(iter(batches))
        assert images.shape[0] == BATCH
        seconds["first batch"] = round(time.perf_counter() - start, 2)

    return plan, batch


def opening(kind, count):
    import tensorflow as tf

    from keras_tricks.data import batch_indices
    from keras_tricks.data.sources.source import Split
    from keras_tricks.data.sources.tfrecord import tfrecord

    seconds = {}
    if kind == "simulated":
        image = tf.io.encode_jpeg(tf.zeros((64, 64, 3), tf.uint8))
        split = Split(count, fetch=lambda i: (image, tf.cast(i % 10, tf.int32), tf.constant(True)))
        first_batch(split, 10, seconds)[1]()
        return seconds
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as root:
        root = pathlib.Path(root)
        record, size = write_shards(root, count)
        start = time.perf_counter()
        split = tfrecord(root).train
        seconds["open"] = round(time.perf_counter() - start, 2)
        plan, batch = first_batch(split, 10, seconds)
        ahead = [i for step in range(4) for i in batch_indices(split, plan, 0, 0, step)]  # batches are read ahead
        write_records(root, record, size, ahead)
        batch()
        assert not split.bad.reasons
    return seconds


def service(kind, count):
    import tensorflow as tf

    from keras_tricks.data.sources import remote_split

    with tempfile.TemporaryDirectory() as root:
        if kind == "folder":
            local = folder_split(count)
            split = remote_split.remote_file_split(local.paths, local.labels, folder=pathlib.Path(root))
        else:
            write_shards(pathlib.Path(root), count)
            split = remote_split.remote_record_split(pathlib.Path(root), "train")
        sent = tf.data.Dataset.range(count).map(split.fetch)
        graph = tf.raw_ops.DatasetToGraphV2(input_dataset=tf.data.experimental.to_variant(sent))
        return {"MB of the graph": round(len(graph.numpy()) / 1e6, 2)}


def sums(kind, replicas):
    import tensorflow as tf

    import keras_tricks as kt

    if kind == "keras":  # the layers inside other layers too
        kt.layers.BatchNormalization.can_pack = lambda self, inputs: False
    strategy = kt.distribution.strategy("mirrored", replicas)
    with strategy.scope():
        model = kt.models.create_model("resnet20d", classes=10, classifier_activation=None, input_shape=(32, 32, 3),
                                       sync_bn=True)
    norms = sum(weight.path.endswith("moving_mean") for weight in model.weights)
    found, original = [0], tf.distribute.ReplicaContext.all_reduce

    def counted(self, reduce_op, value, options=None):
        found[0] += len(tf.nest.flatten(value))
        return original(self, reduce_op, value, options)

    tf.distribute.ReplicaContext.all_reduce = counted

    @tf.function
    def step():
        def one():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(tf.ones((2, 32, 32, 3)), training=True))
            return [tf.reduce_sum(g) for g in tape.gradient(loss, [w.value for w in model.trainable_variables])]

        return strategy.run(one)

    step.get_concrete_function()
    total = found[0] / replicas
    return {"layers": norms, "tensors summed": total, "of a layer": round(total / norms, 2)}


def trace(_, replicas):
    import keras_tricks as kt
    from keras_tricks.training import prepare, training_batches

    recipe = kt.load_recipe("quickstart")
    if replicas > 1:
        recipe = recipe.replace(train={"strategy": "mirrored", "logical_devices": replicas})
    ready, seconds = prepare(recipe), []
    batches = training_batches(ready, range(1))
    with ready.devices.fit_scope():
        for _ in range(2):
            start = time.perf_counter()
            ready.trainer.fit(batches, steps_per_epoch=1, verbose=0, shuffle=False)
            seconds.append(time.perf_counter() - start)
    return {"seconds": round(seconds[0] - seconds[1], 1)}


# --- program ----------------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--row", nargs=3, metavar=("TABLE", "KIND", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=pathlib.Path, metavar="JSON")
    args = parser.parse_args()
    if args.row:
        table, kind, count = args.row
        print("ROW " + json.dumps(globals()[table](kind, int(count))))
        return
    found = {"cpus": os.cpu_count(), "python": platform.python_version(), "rows": []}
    for table in args.only:
        for kind, count in ROWS[table]:
            done = subprocess.run([sys.executable, __file__, "--row", table, kind, str(count)], capture_output=True,
                                  text=True)
            rows = [line.removeprefix("ROW ") for line in done.stdout.splitlines() if line.startswith("ROW ")]
            result = json.loads(rows[0]) if rows else {"failed": (done.stderr.splitlines() or ["?"])[-1][:300]}
            found["rows"].append({"table": table, "kind": kind, "count": count, **result})
            print(f"{table:<9}{kind:<14}{count:>12,}  {result}", flush=True)
            if args.output:
                args.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
