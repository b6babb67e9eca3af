"""Measurements behind three decisions (docs/data.md): a cache, scaled decoding, and the format of the data service.

Run      python benchmarks/data_choices.py --images FOLDER [--rounds 5]
         FOLDER holds JPEG files, at any depth. They should fit in memory, and are read once before the measurements.
Cache    reading alone, from files in the operating system's cache and from the same bytes in a tensor, alternating; for
         comparison the pipeline that reads them (random-resized crop to 224 pixels, flip).
Decode   validation (short side 256, centre crop of 224) of the files whose short side is 512 pixels or more, decoded at
         full size and at half size (`decode_jpeg(ratio=2)`), and the difference of the pixels.
Service  CPU time of the training process per image, for images that it makes itself and for images of a worker process
         on the same machine: float32 pixels (no RandAugment) and uint8 pixels (RandAugment with two layers).
Numbers  medians of the rounds. CPU time counts all threads, and does not depend on other processes.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import numpy as np
import tensorflow as tf

from keras_tricks.data import service, training_batches, training_examples
from keras_tricks.data.augment import crops
from keras_tricks.data.sources.image_folder import BadImages, file_split
from keras_tricks.data.sources.remote_split import remote_file_split
from keras_tricks.data.sources.source import Split
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import batch_size_plan

BATCH, DATA, LARGE = 100, Data(image_size=224), 512
CHILD = "import sys, time; from keras_tricks.data.service import serve; kept = serve(0, host='localhost'); " \
        "print(kept.address, flush=True); time.sleep(3600)"


def per_image(dataset):
    """(images/s, milliseconds of CPU time per image) after the first two batches."""
    iterator = iter(dataset)
    next(iterator), next(iterator)
    wall, cpu, images = time.perf_counter(), time.process_time(), 0
    for batch, _ in iterator:
        images += len(batch)
    return images / (time.perf_counter() - wall), 1000 * (time.process_time() - cpu) / images


def take_turns(sides, rounds):
    """{side: (images/s, ms per image)}, medians; each side is a function that returns a dataset."""
    found = {name: [] for name in sides}
    for turn in range(rounds):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            found[name].append(per_image(sides[name]()))
    return {name: tuple(map(statistics.median, zip(*values, strict=True))) for name, values in found.items()}


def report(title, results):
    print(f"\n{title}")
    for name, (speed, cpu) in results.items():
        print(f"  {name:<28}{speed:>8.0f} images/s{cpu:>8.3f} ms of CPU time per image", flush=True)


def batches(split, augment, served=None, epochs=5):
    plan = batch_size_plan(0.1, BATCH, epochs, split.num_examples, mode="decay")
    return training_batches(split, DATA, augment, 1000, plan, seed=0, service=served)


def cache(files, split, rounds):
    contents = tf.constant([file.read_bytes() for file in files])
    held = Split(len(files), fetch=lambda i: (tf.gather(contents, i), tf.constant(0), tf.constant(True)))

    def read(split):
        examples = training_examples(split, range(10), seed=0)
        return examples.map(lambda image, *_: (tf.strings.length(image), 0), tf.data.AUTOTUNE).batch(BATCH)

    results = take_turns({"read, files": lambda: read(split), "read, tensor": lambda: read(held)}, 4 * rounds)
    results |= take_turns({"pipeline, files": lambda: batches(split, Augment())}, rounds)
    (_, file), (_, tensor), (_, pipeline) = results.values()
    print(f"\na cache could save {100 * (file - tensor) / pipeline:.1f} % of the pipeline's CPU time")
    return results


def half_decoded(image):
    """`short_side_crop(image, 224, 256)` of a JPEG that is decoded at half size."""
    height, width = crops.image_shape(image)
    scale = 256 / tf.cast(tf.minimum(height, width), tf.float64)
    new_h, new_w = (tf.cast(tf.round(tf.cast(s, tf.float64) * scale), tf.int32) for s in (height, width))
    half = tf.io.decode_jpeg(image, channels=3, ratio=2, dct_method="INTEGER_ACCURATE")
    resized = crops.resize(half, new_h, new_w)
    return tf.slice(resized, [(new_h - 224) // 2, (new_w - 224) // 2, 0], [224, 224, 3])


def decode(files, rounds):
    images = [tf.constant(file.read_bytes()) for file in files]
    large = [image for image in images if min(crops.image_shape(image)) >= LARGE]
    signature = [tf.TensorSpec((), tf.string)]
    full = tf.function(lambda image: crops.short_side_crop(image, 224, 256), input_signature=signature)
    half = tf.function(half_decoded, input_signature=signature)

    def milliseconds(function, images):
        function(images[0])
        start = time.process_time()
        for image in images:
            function(image)
        return 1000 * (time.process_time() - start) / len(images)

    times = [(milliseconds(full, images), milliseconds(full, large), milliseconds(half, large)) for _ in range(rounds)]
    everything, whole, halved = map(statistics.median, zip(*times, strict=True))
    apart = np.mean([np.abs(full(image).numpy() - half(image).numpy()).mean() for image in large])
    gain = len(large) * (whole - halved) / (len(images) * everything)
    print(f"\ndecoding: {len(large)} of {len(images)} files are large; {whole:.2f} ms each at full size, {halved:.2f} "
          f"at half size; over all files this saves {100 * gain:.1f} %; pixels differ by {apart:.2f} of 255 on average")


def serving(files, split, rounds):
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True,
                             cwd=pathlib.Path(__file__).resolve().parents[1])
    try:
        workers_split = remote_file_split(list(map(str, files)), [0] * len(files))
        served = service.Service(child.stdout.readline().strip(), workers_split)
        sides = {}
        for name, augment in (("float32", Augment()), ("uint8", Augment(rand_augment_layers=2))):
            sides[f"{name}, local"] = lambda a=augment: batches(split, a)
            sides[f"{name}, from a worker"] = lambda a=augment: batches(split, a, served)
        return take_turns(sides, rounds)
    finally:
        child.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    files = sorted(p for p in args.images.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    total = sum(len(file.read_bytes()) for file in files)
    print(f"{len(files)} files, {total / 2**20:.0f} MiB, {os.cpu_count()} CPUs, tensorflow {tf.__version__}")
    split = file_split([list(map(str, files))], BadImages(0))
    report("cache", cache(files, split, args.rounds))
    decode(files, args.rounds)
    report("data service", serving(files, split, args.rounds))
    sys.stdout.flush()
    os._exit(0)  # TensorFlow would keep looking for the worker


if __name__ == "__main__":
    main()
