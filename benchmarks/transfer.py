"""Transfer from nine classes to ten: the benefit of weights from 45,000 images on a data set of 1,000.

Run      python benchmarks/transfer.py --images cifar10 [--output transfer] [--seeds 3]
Data     cifar10/{train,test}/<class>/*.jpg. The script links its files into two folders: `nine`, without the class
         truck, and `few`, with 100 evenly spaced training images and 200 test images of each of the ten classes.
Method   `transfer/cifar10_nine` once. Then `transfer/cifar10_few` from random weights, and from the nine-class network
         with all parts trained, with the stem and two stages frozen, and with all but the classifier frozen. Mean and
         standard deviation of the last top-1 over the seeds; all seeds use the same images.
"""

import argparse
import csv
import json
import pathlib
import statistics
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
EXCLUDED_CLASS = "truck"
ARMS = {  # name: frozen parts, or None for random weights
    "random weights": None,
    "everything trained": (),
    "stem, stage1, stage2 frozen": ("stem", "stage1", "stage2"),
    "all but the classifier frozen": ("stem", "stage1", "stage2", "stage3"),
}


def link(images, folder, split, name, count=None):
    """Links `count` evenly spaced images of a class, or all of them."""
    files = sorted((images / split / name).iterdir())
    chosen = files if count is None else [files[i] for i in np.linspace(0, len(files) - 1, count).astype(int)]
    target = folder / split / name
    target.mkdir(parents=True, exist_ok=True)
    for file in chosen:
        if not (target / file.name).exists():
            (target / file.name).symlink_to(file.resolve())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--output", type=pathlib.Path, default="transfer")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    import keras_tricks as kt

    classes = sorted(p.name for p in (args.images / "train").iterdir())
    for name in classes:
        if name != EXCLUDED_CLASS:
            link(args.images, args.output / "nine", "train", name)
            link(args.images, args.output / "nine", "test", name)
        link(args.images, args.output / "few", "train", name, 100)
        link(args.images, args.output / "few", "test", name, 200)

    def run(recipe, folder, **changes):
        """Top-1 in percent and minutes of a run, which is trained unless it exists."""
        if not (folder / "export" / "classes.json").is_file():
            kt.train(kt.load_recipe(recipe).replace(**changes), folder, verbose=0)
        rows = list(csv.DictReader(open(folder / "summary.csv")))
        return float(rows[-1]["top1"]), sum(float(row["seconds"]) for row in rows) / 60

    nine = args.output / "runs" / "nine"
    found = {"nine classes": [run("transfer/cifar10_nine", nine, data={"data_dir": str(args.output / "nine")})]}
    weights = str(nine / "checkpoints" / "best.safetensors")
    for arm, frozen in ARMS.items():
        model = {} if frozen is None else {"weights": weights, "freeze": frozen}
        found[arm] = [
            run("transfer/cifar10_few", args.output / "runs" / f"{arm.replace(', ', '_').replace(' ', '_')}_seed{seed}",
                seed=seed, data={"data_dir": str(args.output / "few")}, model=model)
            for seed in range(args.seeds)
        ]
    print("| from | top-1 | minutes | n |\n|---|---|---|---|")
    for arm, rows in found.items():
        top1, minutes = zip(*rows, strict=True)
        spread = f" ± {statistics.stdev(top1):.2f}" if len(top1) > 1 else ""
        print(f"| {arm} | {statistics.mean(top1):.2f}{spread} | {statistics.mean(minutes):.1f} | {len(top1)} |")
    (args.output / "transfer.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
