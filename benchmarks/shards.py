"""Packed shards beside the files they were made from: images per second of the input pipeline, and changes of pixels.

Run      python benchmarks/shards.py --data-dir FOLDER [--rounds 3] [--batches 12] [--output JSON]
Data     a folder of JPEG files, in sub-folders or not, such as a sample of ImageNet
Work     training batches of 64 images of 224 pixels: random resized crop and flip, then with RandAugment (2 layers)
Method   files, and shards packed as copies, with `--max-side 500 --quality 90`, and with `--uncompressed`: half and all
         of the images with a longer side of 500 pixels, all with one of 400 pixels. All sides in one process, taking
         turns; median of the rounds. Everything is in the page cache. CPU: milliseconds of all cores for an image,
         which depend less on other processes. PSNR: between the evaluation crops (224 pixels) of the files and of the
         shards, over all images
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
BATCH, SIZE = 64, 224
SIDES = {"copies": None, "500 q90": (500, 90), "500 half": (500, 90, 0.5), "500 raw": (500, 90, 1.0),
         "400 raw": (400, 90, 1.0)}  # arguments of `Encoding`


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--output", type=pathlib.Path, metavar="JSON")
    args = parser.parse_args()
    import tensorflow as tf

    import keras_tricks as kt

    files = sorted(str(path) for path in args.data_dir.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    found = {"images": len(files), "cpus": os.cpu_count(), "python": platform.python_version(),
             "tensorflow": tf.__version__, "rounds": args.rounds, "bytes": {}, "psnr": {},
             "images_per_s": {}, "cpu_ms": {}}
    with tempfile.TemporaryDirectory() as folder:
        splits = {"files": as_source(files).train}
        for name in args.sides:
            start = time.perf_counter()
            splits[name] = packed(as_source(files), pathlib.Path(folder) / name.replace(" ", "_"), SIDES[name])
            found["bytes"][name] = sum(p.stat().st_size for p in (pathlib.Path(folder) / name.replace(" ", "_")).glob(
                "train-*")) // len(files)
            print(f"packed {name} in {time.perf_counter() - start:.1f} s", flush=True)
        found["bytes"]["files"] = sum(os.path.getsize(path) for path in files) // len(files)
        recipe = kt.load_recipe("bag_of_tricks/resnet50d")
        plain = type(recipe.augment)(flip=True)
        work = {"crop + flip": plain, "RandAugment": plain.model_copy(update={"rand_augment_layers": 2})}
        for title, augment in work.items():
            speeds, cpu = compare(splits, recipe.data, augment, args.rounds, args.batches)
            found["images_per_s"][title], found["cpu_ms"][title] = speeds, cpu
            for name, speed in speeds.items():
                print(f"{title:<14}{name:<10}{speed:8.0f} images/s {speed / speeds['files']:5.2f} x   "
                      f"{cpu[name]:.2f} ms of CPU {cpu['files'] / cpu[name]:5.2f} x", flush=True)
            if args.output:
                args.output.write_text(json.dumps(found, indent=1) + "\n")
        for name in splits.keys() - {"files", "copies"}:
            found["psnr"][name] = psnr(splits["files"], splits[name], recipe.data)
            print(f"PSNR of {name}: {found['psnr'][name]}", flush=True)
        if args.output:
            args.output.write_text(json.dumps(found, indent=1) + "\n")


def as_source(files):
    """The files as one class, all for training; a few for validation, which packing needs."""
    from keras_tricks.data.sources.bad_images import BadImages
    from keras_tricks.data.sources.image_folder import file_split
    from keras_tricks.data.sources.source import Source

    return Source("sample", ("a", "b"), file_split([files, []], BadImages(10)), file_split([files[:2]], BadImages(10)))


def packed(source, folder, encoding):
    from keras_tricks.data.sources.reencode import Encoding
    from keras_tricks.data.sources.tfrecord import pack, tfrecord

    pack(source, folder, encoding=None if encoding is None else Encoding(*encoding))
    return tfrecord(folder).train


def compare(splits, data, augment, rounds, batches):
    """Images per second and CPU milliseconds of an image for each split, medians of rounds in which all take turns."""
    import keras_tricks as kt

    speeds, cpu = {name: [] for name in splits}, {name: [] for name in splits}
    for _ in range(rounds):
        for name, split in splits.items():
            plan = kt.schedules.batch_size_plan(0.1, BATCH, 100, split.num_examples, mode="decay")
            iterator = iter(kt.data.training_batches(split, data, augment, 2, plan, seed=0))
            next(iterator)
            start, used = time.perf_counter(), time.process_time()
            for _ in range(batches):
                next(iterator)
            speeds[name].append(batches * BATCH / (time.perf_counter() - start))
            cpu[name].append((time.process_time() - used) / batches / BATCH * 1000)
            del iterator  # its read-ahead ends before the next side starts
    return ({name: round(statistics.median(values), 1) for name, values in speeds.items()},
            {name: round(statistics.median(values), 3) for name, values in cpu.items()})


def psnr(one, other, data):
    """Median and first percentile of the PSNR of evaluation crops, in dB; 138 for an image that is stored unchanged."""
    import numpy as np
    import tensorflow as tf

    from keras_tricks.data.augment.preprocessing import evaluation_image

    plain = data.model_copy(update={"mean": (0.0,) * 3, "std": (1.0,) * 3})
    values = []
    for i in range(one.num_examples):
        a, b = (tf.cast(evaluation_image(split.fetch(tf.constant(i, tf.int64))[0], plain), tf.float32) for split in
                (one, other))
        values.append(10 * np.log10(255**2 / max(float(tf.reduce_mean((a - b) ** 2)), 1e-9)))
    return {"median": round(float(np.median(values)), 1), "percentile 1": round(float(np.percentile(values, 1)), 1)}


if __name__ == "__main__":
    main()
