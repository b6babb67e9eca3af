"""Images per second of the input pipeline on the CPU, compared with other libraries.

Run      python benchmarks/input_pipeline.py --images FOLDER --python-keras-tricks PY --python-tf PY --python-torch PY \
             --output results.json [--only ours timm] [--rounds 5]
         FOLDER holds JPEG files, at any depth. PY is an interpreter with the packages below. A side that has none, or
         fails, is left out and reported.
           --python-keras-tricks   the dependencies of this package (the package itself is that of this checkout)
           --python-tf             tensorflow, tf-models-official (Model Garden), keras-cv-attention-models (kecam)
           --python-torch          torch, torchvision, timm
Work     Read, decode, random-resized crop to 224 pixels, flip with probability 0.5, augment, normalize to float32;
         batches of 100. RandAugment has two layers at magnitude 10 unless the name has another number. timm and kecam
         apply each operation with probability 0.5 (p05); Model Garden, Keras and the papers always apply it. Only sides
         with the same probability are comparable.
Reading  timm: its own transforms, bilinear, in a DataLoader with one worker per CPU. Model Garden, kecam and Keras: a
         plain tf.data pipeline (sample_distorted_bounding_box, decode_and_crop_jpeg, resize, flip), as in Model Garden.
Method   Each side runs in a separate process and makes one pass over `--passes` copies of the files, after a first pass
         that does not count. The sides alternate. The result is the median of the rounds.
Service  `service`: two worker processes of a tf.data service on the same CPUs make the batches.
CPUs     The number of CPUs that a side used; for timm only the main process counts. `1cpu` sides are pinned to one CPU.
"""

import argparse
import atexit
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

SIZE, BATCH = 224, 100
MEAN, STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)
PACKAGES = "keras_tricks official keras_cv_attention_models timm keras tensorflow torch torchvision PIL".split()


# The sides. Each takes a list of files and returns an iterable of batches, over `2 * passes` copies of the files.


def ours(files, args, packed=False, workers=0, **augment):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
    from keras_tricks.data import training_batches
    from keras_tricks.data.sources.image_folder import BadImages, file_split
    from keras_tricks.recipe import Augment, Data
    from keras_tricks.schedules import batch_size_plan

    split = file_split([list(map(str, files))], BadImages(0))
    if packed:
        split = pack(split)
    plan = batch_size_plan(0.1, BATCH, 2 * args.passes, len(files), mode="decay")
    data = Data(image_size=SIZE, mean=MEAN, std=STD)
    service = data_service(files, workers) if workers else None
    return training_batches(split, data, Augment(**augment), 1000, plan, seed=0, service=service)


def data_service(files, workers):
    """A tf.data service on this machine, whose workers make the batches."""
    from keras_tricks.data.service import Service
    from keras_tricks.data.sources.remote_split import remote_file_split

    def serve(*arguments):
        command = [sys.executable, "-m", "keras_tricks", "data", "serve", "--host", "localhost", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=sys.path[0])
        atexit.register(process.kill)
        return process.stdout.readline().rpartition(",")[0].split()[-1]

    address = serve("--port", "0")
    for _ in range(workers - 1):
        serve("--dispatcher", address)
    return Service(address, remote_file_split(list(map(str, files)), [0] * len(files)))


def pack(split):
    import tempfile

    from keras_tricks.data import Source
    from keras_tricks.data.sources.tfrecord import pack, tfrecord

    folder = pathlib.Path(tempfile.mkdtemp()) / "packed"
    pack(Source("images", ("all",), split, split), folder)
    return tfrecord(folder).train


def tf_pipeline(files, args, augment=None):
    """A plain pipeline like that of Model Garden; `augment` maps uint8 to uint8."""
    import tensorflow as tf

    def example(path):
        content = tf.io.read_file(path)
        shape = tf.io.extract_jpeg_shape(content)
        start, size, _ = tf.image.sample_distorted_bounding_box(
            shape, tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), aspect_ratio_range=(3 / 4, 4 / 3), area_range=(0.08, 1.0))
        box = tf.stack([start[0], start[1], size[0], size[1]])
        image = tf.image.resize(tf.image.decode_and_crop_jpeg(content, box, channels=3), (SIZE, SIZE))
        image = tf.image.random_flip_left_right(image)
        image.set_shape((SIZE, SIZE, 3))
        if augment is not None:
            image = tf.cast(augment(tf.cast(image, tf.uint8)), tf.float32)
        return (image - MEAN) / STD

    paths = tf.data.Dataset.from_tensor_slices(list(map(str, files))).shuffle(len(files)).repeat(2 * args.passes)
    return paths.map(example, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def model_garden(files, args, layers=2):
    from official.vision.ops import augment

    return tf_pipeline(files, args, augment.RandAugment(num_layers=layers, magnitude=10.0).distort)


def kecam(files, args, layers=2):
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # read when TensorFlow is imported
    from keras_cv_attention_models.imagenet.augment import RandAugment

    return tf_pipeline(files, args, RandAugment(num_layers=layers, magnitude=10.0).distort)


def keras_layer(files, args):
    import keras

    layer = keras.layers.RandAugment(value_range=(0, 255), num_ops=2, factor=1.0)
    return tf_pipeline(files, args, layer)


def timm(files, args, policy=None):
    try:
        import tv_shim  # noqa: F401
    except ImportError:
        pass  # declares torchvision's operators on a machine without CUDA
    import torch
    from PIL import Image
    from timm.data import create_transform

    mean, std = tuple(m / 255 for m in MEAN), tuple(s / 255 for s in STD)
    transform = create_transform(SIZE, is_training=True, interpolation="bilinear", auto_augment=policy, mean=mean,
                                 std=std, color_jitter=None)

    class Files(torch.utils.data.Dataset):
        def __len__(self):
            return len(files) * 2 * args.passes

        def __getitem__(self, index):
            with Image.open(files[index % len(files)]) as image:
                return transform(image.convert("RGB"))

    torch.set_num_threads(1)
    return torch.utils.data.DataLoader(Files(), BATCH, shuffle=True, num_workers=os.cpu_count(), drop_last=True)


def rand_augment(layers, probability=1.0):
    return {"rand_augment_layers": layers, "rand_augment_probability": probability}


BOTH_HALVES = {"mixup_alpha": 0.2, "cutmix_alpha": 1.0, "mixup_per": "sample", "mix_first": True}
OURS, TF, TORCH = "--python-keras-tricks", "--python-tf", "--python-torch"
SIDES = {  # name: (function, the flag that gives its interpreter)
    "ours crop+flip": (ours, OURS),
    "timm crop+flip": (timm, TORCH),
    "ours p05": (lambda f, a: ours(f, a, **rand_augment(2, 0.5)), OURS),
    "timm p05": (lambda f, a: timm(f, a, "rand-m10-n2"), TORCH),
    "kecam p05": (kecam, TF),
    "ours always": (lambda f, a: ours(f, a, **rand_augment(2)), OURS),
    "model garden always": (model_garden, TF),
    "keras layer always": (keras_layer, TF),
    "ours p05 4 layers": (lambda f, a: ours(f, a, **rand_augment(4, 0.5)), OURS),
    "timm p05 4 layers": (lambda f, a: timm(f, a, "rand-m10-n4"), TORCH),
    "kecam p05 4 layers": (lambda f, a: kecam(f, a, 4), TF),
    "model garden 4 layers": (lambda f, a: model_garden(f, a, 4), TF),
    "ours 1 layer": (lambda f, a: ours(f, a, **rand_augment(1)), OURS),
    "ours 4 layers": (lambda f, a: ours(f, a, **rand_augment(4)), OURS),
    "ours 8 layers": (lambda f, a: ours(f, a, **rand_augment(8)), OURS),
    "ours always, shards": (lambda f, a: ours(f, a, packed=True, **rand_augment(2)), OURS),
    "ours always, service": (lambda f, a: ours(f, a, workers=2, **rand_augment(2)), OURS),
    "ours always, 1cpu": (lambda f, a: ours(f, a, **rand_augment(2)), OURS),
    "ours crop+flip, 1cpu": (ours, OURS),
    "ours nfnet": (lambda f, a: ours(f, a, **rand_augment(4), **BOTH_HALVES), OURS),
}


def measure(name, args):
    """The measurements of one process of a side."""
    if "1cpu" in name:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    files = sorted(p for p in args.images.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    batches = SIDES[name][0](files, args)
    half, seen, started = len(files) * args.passes, 0, None
    for batch in batches:
        images = batch[0] if isinstance(batch, (tuple, list)) else batch
        seen += len(images)
        ended, cpu_ended = time.perf_counter(), cpu_seconds()  # not after the loop: tf.data may take seconds to end it
        if started is None and seen >= half:
            started, cpu, first = ended, cpu_ended, seen
    wall = ended - started
    return {
        "images_per_s": (seen - first) / wall,
        "cpus_used": (cpu_ended - cpu) / wall,
        "versions": [f"{m} {getattr(sys.modules[m], '__version__', '?')}" for m in PACKAGES if m in sys.modules],
    }


def cpu_seconds():
    """CPU seconds of this process and of its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure_in_child(name, args):
    flag = SIDES[name][1]
    if vars(args)[flag] is None:
        raise RuntimeError(f"no {flag}")
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [vars(args)[flag], __file__, *sys.argv[1:], "--child", name]
    child = subprocess.run(command, env=environment, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError(f"exit status {child.returncode}, {child.stderr.strip().splitlines()[-1:]}")
    return json.loads(child.stdout.splitlines()[-1])


def take_turns(args):
    """{side: one `measure` per round}, without the sides that cannot run."""
    runs = {name: [] for name in SIDES if not args.only or any(name.startswith(only) for only in args.only)}
    for turn, name in itertools.product(range(1, args.rounds + 1), list(runs)):
        if name in runs:
            try:
                runs[name].append(measure_in_child(name, args))
                run = runs[name][-1]
                print(f"round {turn}: {name} {run['images_per_s']:.0f} ({run['cpus_used']:.2f})", flush=True)
            except (RuntimeError, OSError) as error:
                del runs[name]
                print(f"{name} is left out: {error}", flush=True)
    return runs


def speed(runs):
    return statistics.median(run["images_per_s"] for run in runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in (OURS, TF, TORCH):
        parser.add_argument(flag, dest=flag, metavar="PY")
    parser.add_argument("--images", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--only", nargs="*", metavar="SIDE", help="sides whose names start with these")
    parser.add_argument("--output", type=pathlib.Path, metavar="JSON")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return print(json.dumps(measure(args.child, args)))
    sides = take_turns(args)
    setting = {"rounds": args.rounds, "passes": args.passes, "cpus": os.cpu_count(), "platform": platform.platform()}
    print("\n" + ", ".join(f"{key} {value}" for key, value in setting.items()) + "\n")
    print("| side | images/s | rounds (CPUs used) | versions |\n" + "|---" * 4 + "|")
    for name, runs in sides.items():
        rounds = ", ".join(f"{run['images_per_s']:.0f} ({run['cpus_used']:.2f})" for run in runs)
        print(f"| {name} | {speed(runs):.0f} | {rounds} | {', '.join(runs[0]['versions'])} |")
    if args.output:
        args.output.write_text(json.dumps({"setting": setting, "sides": sides}, indent=1) + "\n")


if __name__ == "__main__":
    main()
