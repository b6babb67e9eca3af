"""One set of photographs through every kind of source: the same weights after one epoch.

    python benchmarks/same_sources.py --data-dir CIFAR10    # train/<class>/*.jpg and test/<class>/*.jpg

Takes 50 training and 10 validation images of each of ten classes, writes them as a CSV file, a Hugging Face data set,
WebDataset shards, arrays and `tf.data.Dataset`s, trains one epoch on each with crop, flip, colour jitter and mixup, and
prints a hash of the weights. Ends with 1 if they differ. Needs `datasets`.
"""

import argparse
import hashlib
import io
import pathlib
import sys
import tarfile
import tempfile

import numpy as np
import tensorflow as tf
from PIL import Image

import keras_tricks as kt

RECIPE = kt.Recipe(
    name="same_sources", seed=3, data={"image_size": 32, "eval_crop": "whole"},
    augment={"crop": "pad", "flip": True, "color_jitter": "gluoncv", "mixup_alpha": 0.2},
    model={"name": "test_resnet", "options": {"stem": "cifar", "dropout_rate": 0.1, "drop_path_rate": 0.1}},
    loss={"label_smoothing": 0.1}, schedule={"epochs": 1, "batch_size": 50, "base_learning_rate": 0.1},
    export={"formats": ()})


def examples(folder, count):
    """(the content of a file, its class) of the first `count` images of each class, the classes in turn."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    files = {name: sorted((folder / name).glob("*.jpg"))[:count] for name in classes}
    return [(files[name][i].read_bytes(), name) for i in range(count) for name in classes]


def of_csv(folder, splits):
    lines = ["path,label,split"]
    for split, own in splits.items():
        for number, (content, name) in enumerate(own):
            (folder / f"{split}{number}.jpg").write_bytes(content)
            lines.append(f"{split}{number}.jpg,{name},{split}")
    (folder / "photos.csv").write_text("\n".join(lines) + "\n")
    return None, {"source": "csv", "data_dir": str(folder / "photos.csv")}


def of_hugging_face(folder, splits):
    import datasets

    names = sorted({name for _, name in splits["train"]})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    made = {split: datasets.Dataset.from_dict({"image": [{"bytes": content, "path": None} for content, _ in own],
                                               "label": [name for _, name in own]}, features=features)
            for split, own in splits.items()}
    datasets.DatasetDict(made).save_to_disk(folder / "hf")
    return None, {"source": f"hf:{folder / 'hf'}"}


def of_webdataset(folder, splits):
    for split, own in splits.items():
        with tarfile.open(folder / f"{split}-000000.tar", "w") as shard:
            for number, (content, name) in enumerate(own):
                for extension, value in (("jpg", content), ("cls", name.encode())):
                    member = tarfile.TarInfo(f"{number:05d}.{extension}")
                    member.size = len(value)
                    shard.addfile(member, io.BytesIO(value))
    return None, {"source": "webdataset", "data_dir": str(folder)}


def pixels(own):
    images = np.stack([np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) for content, _ in own])
    return images, np.array([name for _, name in own])


def of_arrays(folder, splits):
    return tuple(map(pixels, splits.values())), {}


def of_tf_data(folder, splits):
    names = sorted({name for _, name in splits["train"]})
    return tuple(tf.data.Dataset.from_tensor_slices(([content for content, _ in own],
                                                     [names.index(name) for _, name in own]))
                 for own in splits.values()), {}


SOURCES = {"CSV": of_csv, "Hugging Face": of_hugging_face, "WebDataset": of_webdataset, "arrays": of_arrays,
           "tf.data": of_tf_data}


def weights_after_an_epoch(make, splits, folder, recipe=RECIPE):
    """sha256 of all weights, 12 digits, and the validation loss."""
    folder.mkdir()
    data, section = make(folder, splits)
    run = kt.train(recipe.replace(data=section), folder / "run", data=data, verbose=0)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in run.network.get_weights()))
    return digest.hexdigest()[:12], run.history["val_loss"][-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, type=pathlib.Path)
    args = parser.parse_args()
    splits = {"train": examples(args.data_dir / "train", 50), "validation": examples(args.data_dir / "test", 10)}
    print(f"{len(splits['train'])} training and {len(splits['validation'])} validation images, 1 epoch\n")
    print("| source | weights | validation loss |\n|---|---|---|")
    found = set()
    with tempfile.TemporaryDirectory() as scratch:
        for name, make in SOURCES.items():
            weights, loss = weights_after_an_epoch(make, splits, pathlib.Path(scratch) / make.__name__)
            print(f"| {name} | `{weights}` | {loss:.6f} |", flush=True)
            found.add(weights)
    sys.exit(len(found) > 1)


if __name__ == "__main__":
    main()
