"""What `data check --duplicates` and `data check --labels RUN` find of planted faults, and how much else: docs/data.md.

Run      python benchmarks/data_check.py DIR [--run RUN] [--output docs/data.md]
         DIR has train/<class>/*.jpg and test/<class>/*.jpg, such as CIFAR-10; RUN is a run on images of these classes.
Method   2,000 training and 400 validation images, evenly from all classes, as links. For each kind, 50 training images
         are repeated: copied, compressed again (JPEG quality 75), resized to 7/8 and back, 4 % brighter, or compressed
         again and put into the validation images. 5 % of 1,000 validation images get the label of the next class.
"""

import argparse
import io
import os
import pathlib
import sys
import tempfile
import time

import numpy as np
from PIL import Image, ImageEnhance

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
PLANTED = 50


def encoded(image, quality=95):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def resized(image):
    small = image.resize((image.width * 7 // 8, image.height * 7 // 8), Image.Resampling.BICUBIC)
    return small.resize(image.size, Image.Resampling.BICUBIC)


KINDS = {
    "copy": ("train", lambda path: path.read_bytes()),
    "compressed again, quality 75": ("train", lambda path: encoded(Image.open(path), 75)),
    "resized": ("train", lambda path: encoded(resized(Image.open(path)))),
    "4 % brighter": ("train", lambda path: encoded(ImageEnhance.Brightness(Image.open(path)).enhance(1.04))),
    "leak, compressed again": ("test", lambda path: encoded(Image.open(path), 75)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--run", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, help="page with the markers of data_check")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        lines = list(duplicates(args.folder.resolve(), pathlib.Path(scratch)))
    if args.run:
        with tempfile.TemporaryDirectory() as scratch:
            lines += ["", *labels(args.folder.resolve(), args.run, pathlib.Path(scratch))]
    print("\n".join(lines))
    if args.output:
        from page_section import replace_section

        replace_section(args.output, "data_check", "\n".join(lines))


def link(folder, target, split, count):
    """Links `count` images of a split, evenly from all classes. Returns their paths by class."""
    chosen = {}
    classes = sorted(path.name for path in (folder / split).iterdir())
    for name in classes:
        (target / split / name).mkdir(parents=True)
        chosen[name] = sorted((folder / split / name).glob("*.jpg"))[: count // len(classes)]
        for path in chosen[name]:
            (target / split / name / path.name).symlink_to(path)
    return chosen


def duplicates(folder, scratch):
    from keras_tricks.data import open_source
    from keras_tricks.data.duplicates import find_duplicates

    train, _ = link(folder, scratch, "train", 2000), link(folder, scratch, "test", 400)
    paths = [(name, path) for name, own in train.items() for path in own]
    order = np.random.default_rng(0).permutation(len(paths))
    planted = {}
    for number, (kind, (split, change)) in enumerate(KINDS.items()):
        for i in order[PLANTED * number : PLANTED * (number + 1)]:
            name, path = paths[i]
            new = scratch / split / name / f"planted_{number}_{path.name}"
            new.write_bytes(change(path))
            planted[str(new)] = (kind, str(scratch / "train" / name / path.name))
    started = time.perf_counter()
    groups = [{example.name for example in group.examples}
              for group in find_duplicates(open_source("image_folder", scratch))]
    seconds = time.perf_counter() - started
    yield "| planted | found |"
    yield "|---|---|"
    for kind in KINDS:
        own = [(new, old) for new, (what, old) in planted.items() if what == kind]
        found = sum(any({new, old} <= group for group in groups) for new, old in own)
        yield f"| {kind} | {found} of {len(own)} |"
    originals = {old for _, old in planted.values()}
    others = [group for group in groups if len(group - planted.keys()) > 1]
    for group in others:
        print("not planted:", " = ".join(sorted(str(pathlib.Path(name).relative_to(scratch)) for name in group)))
    extra = sum(len(group - planted.keys() - originals) or 1 for group in others)
    yield ""
    yield (f"Of the 2,400 other images, {extra} are named as repeated without being planted "
           f"({100 * extra / 2400:.2f} %). {seconds:.0f} s for {2400 + len(planted):,} images.")


def labels(folder, run, scratch):
    from keras_tricks.analysis import label_issues
    from keras_tricks.report.answers import answer
    from keras_tricks.run.folder import recipe_of
    from keras_tricks.run.weights import run_weights

    chosen = link(folder, scratch, "test", 1000)
    names, wrong = sorted(chosen), set()
    rng = np.random.default_rng(0)
    for place, name in enumerate(names):
        for i in rng.permutation(len(chosen[name]))[: len(chosen[name]) // 20]:
            old = scratch / "test" / name / chosen[name][i].name
            new = scratch / "test" / names[(place + 1) % len(names)] / f"planted_{name}_{old.name}"
            old.rename(new)
            wrong.add(str(new))
    changed = recipe_of(run).replace(data={"data_dir": str(scratch / "test"), "source": "image_folder"})
    answers = answer(changed, run_weights(run).path, None)
    found, _ = label_issues(answers.probabilities, answers.labels)
    named = [answers.path(i) for i in found]
    hits, n = sum(path in wrong for path in named), len(answers.labels)
    first = sum(path in wrong for path in named[: len(wrong)])
    yield (f"Wrong labels: a network of {100 * answers.correct.mean():.1f} % top-1 names {hits} of {len(wrong)} "
           f"planted ones, and {len(named) - hits} of {n - len(wrong)} right ones "
           f"({100 * (len(named) - hits) / (n - len(wrong)):.1f} %); {first} of its {len(wrong)} most suspicious are "
           "planted.")


if __name__ == "__main__":
    main()
