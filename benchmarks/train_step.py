"""Training speed of one network (`--model`, by default ResNet-50-D) on the CPU, compared with other libraries.

Run      python benchmarks/train_step.py --python-keras-tricks PY --python-tf PY --python-torch PY --output results.json
         PY is an interpreter with the packages below. A side that has none, or fails, is left out and reported.
           --python-keras-tricks   the dependencies of this package (the package itself is that of this checkout)
           --python-tf             tensorflow, keras-hub, tokenizers, keras-cv-attention-models (kecam), tf-keras
           --python-torch          torch, timm
Work     Forward, backward, SGD with Nesterov momentum; softmax cross-entropy, one random batch in memory; float32, or
         bfloat16 with float32 weights (`--precision bfloat16`: Keras' mixed_bfloat16, torch's autocast).
Networks Any of this package that a side also has: resnet50d, nfnet_f0, resnet_rs50, and at 32 pixels (`--image-size 32
         --classes 10`) airbench94, wide_resnet16_4 and resnet20, which `torch_networks.py` holds for the sides of timm.
Method   Each side runs in a separate process. The sides alternate, so that a slowdown of the machine affects all.
         Median of all steps of all rounds, without the first 3 steps of each process (tracing, compiling).
NFNet    keras_tricks uses timm's variant (`layout="timm_dm"`); timm's name is dm_nfnet_f0. Plain SGD on all sides.
Memory   The peak resident size of the process.
CPUs     The number of CPUs that a side used in a round. A low value means that the machine was shared: measure again.
Unequal  keras_hub and kecam use Keras' SGD, which decouples weight decay; in keras_tricks and torch it is coupled.
"""

import argparse
import itertools
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

SKIPPED_STEPS = 3
LEARNING_RATE = 0.01
OPTIONS = {"nfnet_f0": {"layout": "timm_dm"}}  # of keras_tricks, for equal work
IN_TIMM = {"nfnet_f0": "dm_nfnet_f0", "resnet_rs50": "resnetrs50"}
SGD = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-5}
PACKAGES = "keras_tricks keras_hub keras_cv_attention_models timm keras tf_keras tensorflow torch".split()


# The sides. Each trains on the same batch and returns the time at which every step ended, and the number of trained
# parameters, which shows that all of them train the same network.


def keras_tricks(batch, args):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
    import keras

    import keras_tricks as kt

    if args.precision == "bfloat16":
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    options = OPTIONS.get(args.model, {})
    model = kt.models.create_model(args.model, classes=args.classes, input_shape=batch[0].shape[1:], **options)
    return fit(keras, model, kt.optimizers.SGD(LEARNING_RATE, **SGD), batch, args)


def keras_hub(batch, args):
    import keras
    import keras_hub

    if args.precision == "bfloat16":
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    blocks = {"resnet50d": [3, 4, 6, 3], "resnet101d": [3, 4, 23, 3], "resnet152d": [3, 8, 36, 3]}
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[32, 32, 64],
        input_conv_kernel_sizes=[3, 3, 3],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=blocks[args.model],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block_vd",
        image_shape=batch[0].shape[1:],
    )
    x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    model = keras.Model(backbone.input, keras.layers.Dense(args.classes, activation="softmax")(x))
    return fit(keras, model, keras.optimizers.SGD(LEARNING_RATE, **SGD), batch, args)


def kecam(batch, args):
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # read when TensorFlow is imported
    import tf_keras
    from keras_cv_attention_models import nfnets, resnet_family

    if args.precision == "bfloat16":
        tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    names = {"nfnet_f0": (nfnets, "NFNetF0")}
    resnet = args.model.replace("resnet", "ResNet").replace("d", "D")
    build = getattr(*names.get(args.model, (resnet_family, resnet)))
    model = build(batch[0].shape[1:], num_classes=args.classes, pretrained=None)
    return fit(tf_keras, model, tf_keras.optimizers.SGD(LEARNING_RATE, **SGD), batch, args)


def timm(batch, args, compiled=False, channels_last=True):
    try:
        import tv_shim  # noqa: F401
    except ImportError:
        pass  # declares torchvision's operators on a machine without CUDA
    import timm
    import torch
    import torch_networks

    torch.set_num_threads(os.cpu_count())  # as TensorFlow does
    images, labels = map(torch.from_numpy, batch)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = images.permute(0, 3, 1, 2).contiguous(memory_format=layout)
    if args.model in torch_networks.NETWORKS:
        model = torch_networks.NETWORKS[args.model](args.classes)
    else:
        model = timm.create_model(IN_TIMM.get(args.model, args.model), num_classes=args.classes)
    model = model.train().to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, **SGD)
    forward = torch.compile(model) if compiled else model
    step_ends = []
    for _ in range(SKIPPED_STEPS + args.steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bfloat16"):
            loss = torch.nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        loss.item()  # `fit` reads every loss, too
        step_ends.append(now())
    return step_ends, sum(p.numel() for p in model.parameters() if p.requires_grad)


SIDES = {  # name: (function, the flag that gives its interpreter)
    "keras_tricks": (keras_tricks, "--python-keras-tricks"),
    "keras_hub": (keras_hub, "--python-tf"),
    "kecam": (kecam, "--python-tf"),
    "timm": (timm, "--python-torch"),  # eager, channels last
    "timm_nchw": (lambda batch, args: timm(batch, args, channels_last=False), "--python-torch"),  # eager, its default
    "timm_compile": (lambda batch, args: timm(batch, args, compiled=True), "--python-torch"),
}


def fit(keras, model, optimizer, batch, args):
    """Trains by `Model.fit`; `keras` is Keras 3 or tf_keras."""
    import tensorflow as tf

    step_ends = []
    clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: step_ends.append(now()))
    batches = tf.data.Dataset.from_tensors(batch).repeat(SKIPPED_STEPS + args.steps)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(), jit_compile=False)
    model.fit(batches, callbacks=[clock], verbose=0)
    return step_ends, sum(weight.shape.num_elements() for weight in model.trainable_weights)


def now():
    return time.perf_counter(), time.process_time()


def measure(name, args):
    """The measurements of one process of a side."""
    import numpy as np

    rng = np.random.default_rng(0)
    images = rng.random((args.batch, args.image_size, args.image_size, 3), "float32")
    step_ends, parameters = SIDES[name][0]((images, rng.integers(args.classes, size=args.batch)), args)
    wall, cpu = zip(*step_ends[SKIPPED_STEPS - 1 :], strict=True)
    return {
        "seconds": [end - start for start, end in itertools.pairwise(wall)],
        "cpus_used": (cpu[-1] - cpu[0]) / (wall[-1] - wall[0]),
        "parameters": parameters,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "versions": [f"{m} {getattr(sys.modules[m], '__version__', '?')}" for m in PACKAGES if m in sys.modules],
    }


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
    runs = {name: [] for name in args.sides}
    for turn, name in itertools.product(range(1, args.rounds + 1), args.sides):
        if name in runs:
            try:
                runs[name].append(measure_in_child(name, args))
                print(f"round {turn}: {name} {speed(runs[name][-1:], args):.2f} images/s", flush=True)
            except (RuntimeError, OSError) as error:
                del runs[name]
                print(f"{name} is left out: {error}", flush=True)
    return runs


def speed(runs, args):
    """Images per second at the median step of these runs."""
    return args.batch / statistics.median(second for run in runs for second in run["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("--python-keras-tricks", "--python-tf", "--python-torch"):
        parser.add_argument(flag, dest=flag, metavar="PY")
    defaults = {"model": "resnet50d", "rounds": 3, "steps": 8, "batch": 16, "image_size": 224, "classes": 1000}
    for key, value in defaults.items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--output", type=pathlib.Path, metavar="JSON")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return print(json.dumps(measure(args.child, args)))
    sides = take_turns(args)
    setting = {key: vars(args)[key] for key in (*defaults, "precision")}
    setting |= {"cpus": os.cpu_count(), "platform": platform.platform()}
    print("\n" + ", ".join(f"{key} {value}" for key, value in setting.items()) + f", n {args.rounds * args.steps}\n")
    print("| side | images/s | rounds (CPUs used) | keras_tricks / side | peak GiB | parameters | versions |")
    print("|---" * 7 + "|")
    for name, runs in sides.items():
        rounds = ", ".join(f"{speed([run], args):.2f} ({run['cpus_used']:.2f})" for run in runs)
        ratio = f"{speed(sides['keras_tricks'], args) / speed(runs, args):.2f}" if "keras_tricks" in sides else "-"
        memory, parameters, versions = (runs[0][key] for key in ("peak_gib", "parameters", "versions"))
        print(f"| {name} | {speed(runs, args):.2f} | {rounds} | {ratio} | {memory:.1f} | {parameters:,} | "
              f"{', '.join(versions)} |")
    if args.output:
        args.output.write_text(json.dumps({"setting": setting, "sides": sides}, indent=1) + "\n")


if __name__ == "__main__":
    main()
