"""The cost of checkpoints: seconds that training waits for them, and seconds that the writing thread works.

Run      python benchmarks/checkpoint_cost.py --images cifar10 [--epochs 3] [--output JSON]
Data     cifar10/{train,test}/<class>/*.jpg
Work     `bag_of_tricks/cifar10_resnet20d` at its default interval (each epoch, and 15 minutes), with 10,000 images to
         keep the run short: a full epoch takes five times as long, so the share is an upper bound.
Method   The time in every method of the callback, in the training thread; the time of writing, in the writing thread;
         the wall-clock time of `fit`. For a network of 25 million parameters: one checkpoint of ResNet-50-D with
         momentum.
"""

import argparse
import json
import os
import pathlib
import platform
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True, metavar="FOLDER")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path, metavar="JSON")
    args = parser.parse_args()
    import keras
    import tensorflow as tf

    import keras_tricks as kt

    spent = {"waited": 0.0, "written": 0.0, "fit": 0.0, "checkpoints": 0}

    def timed(owner, name, key, count=None):
        original = getattr(owner, name)

        def method(*args, **kwargs):
            start = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                spent[key] += time.perf_counter() - start
                if count:
                    spent[count] += 1

        setattr(owner, name, method)

    for name in ("on_epoch_begin", "on_train_batch_end", "on_epoch_end", "on_train_end"):
        timed(kt.callbacks.Checkpoint, name, "waited")
    timed(kt.callbacks.Checkpoint, "_write", "written", "checkpoints")
    timed(keras.Model, "fit", "fit")
    recipe = kt.load_recipe("bag_of_tricks/cifar10_resnet20d").replace(
        data={"data_dir": args.images, "train_images": 10_000}, schedule={"epochs": args.epochs},
        export={"formats": ()})
    with tempfile.TemporaryDirectory() as folder:
        kt.train(recipe, folder, verbose=0)
        run = dict(spent)
        model = kt.models.ResNet50D()
        model.compile(kt.optimizers.SGD(0.1))
        model.optimizer.build(model.trainable_variables)
        checkpoint = kt.callbacks.Checkpoint(pathlib.Path(folder) / "large")
        checkpoint.set_model(model)
        start = time.perf_counter()
        checkpoint.save()
        copied = time.perf_counter() - start
        checkpoint.flush()
        large = {"waited": copied, "written": time.perf_counter() - start - copied,
                 "MiB": sum(file.stat().st_size for file in checkpoint.folder.iterdir()) / 2**20}
    setting = {"cpus": os.cpu_count(), "platform": platform.platform(), "keras": keras.__version__,
               "tensorflow": tf.__version__}
    found = {"setting": setting, "cifar10_resnet20d": run, "resnet50d": large}
    print(json.dumps(found, indent=1))
    print(f"training waited for {100 * run['waited'] / run['fit']:.2f} % of its wall-clock time; the thread worked for "
          f"{100 * run['written'] / run['fit']:.2f} %")
    if args.output:
        args.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
