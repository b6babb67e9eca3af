"""Draws the pictures of the documentation into docs/images.

    python docs/make_pictures.py [NAME ...]

The photographs are those of scikit-learn (sklearn/datasets/images/README.txt), cropped, mixed and made smaller; licence
of both: https://creativecommons.org/licenses/by/2.0. `china.jpg` is by danielbuechele,
https://www.flickr.com/photos/danielbuechele/6061409035; `flower.jpg` by vultilion, whose page it comes from,
https://www.flickr.com/photos/vultilion/6056698931 (scikit-learn's text names danielbuechele again).
"""

import argparse
import dataclasses
import io
import json
import pathlib
import re
import statistics

import keras
import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image
from sklearn.datasets import load_sample_image

import keras_tricks as kt
from keras_tricks.analysis.signal_propagation import draw
from keras_tricks.data.augment.rand_augment import operations

FOLDER = pathlib.Path(__file__).parent / "images"
CREDIT = "Photograph: danielbuechele\nCC BY 2.0, cropped"
FLOWER_CREDIT = "Photographs: danielbuechele (pagoda), vultilion (flower), CC BY 2.0, cropped and mixed"
DPI = 100  # everything below is in pixels
INK, PALE = "#24292f", "#6e7781"


def photograph(size=224, name="china.jpg", shift=-60):
    """The middle of a real photograph, moved by `shift` pixels, a PIL image."""
    whole = Image.fromarray(load_sample_image(name))
    left = (whole.width - whole.height) // 2 + shift
    square = whole.crop((left, 0, left + whole.height, whole.height))
    return square.resize((size, size), Image.Resampling.LANCZOS)


# ---- rand_augment.png

MAGNITUDES = 3, 6, 9
WITHOUT_MAGNITUDE = "autocontrast", "equalize", "invert"
ARGUMENTS = {  # what a magnitude means, in the order of the picture
    "rotate": lambda m: f"{3 * m}°",
    "shear_x": lambda m: f"{0.03 * m:.2f}",
    "shear_y": lambda m: f"{0.03 * m:.2f}",
    "translate_x": lambda m: f"{10 * m} pixels",
    "translate_y": lambda m: f"{10 * m} pixels",
    "cutout": lambda m: f"{2 * (4 * m)} pixels",
    "color": lambda m: f"factor {0.18 * m + 0.1:.2f}",
    "contrast": lambda m: f"factor {0.18 * m + 0.1:.2f}",
    "brightness": lambda m: f"factor {0.18 * m + 0.1:.2f}",
    "sharpness": lambda m: f"factor {0.18 * m + 0.1:.2f}",
    "posterize": lambda m: f"{4 * m // 10} bits" if 4 * m // 10 > 1 else "1 bit",
    "solarize": lambda m: f"from {256 * m // 10} on",
    "solarize_add": lambda m: f"{11 * m} added",
}
TILE, GAP, BLOCK_GAP = 104, 4, 22
TITLE, LABEL, MARGIN, BLOCKS_PER_ROW = 22, 32, 16, 3


def rand_augment(path):
    """All 16 operations of RandAugment at three magnitudes; random signs are positive."""
    original = photograph()
    pixels = tf.constant(original)
    draw = tf.constant([0.75, 0.62, 0.45])  # a positive sign; the position of cutout's square

    def after(name, magnitude):
        return Image.fromarray(operations(magnitude)[name](pixels, draw).numpy())

    blocks = [("RandAugment", [(original, "original")])]
    blocks += [("without magnitude", [(after(name, 1), name) for name in WITHOUT_MAGNITUDE])]
    blocks += [(name, [(after(name, m), argument(m)) for m in MAGNITUDES]) for name, argument in ARGUMENTS.items()]
    assert set(operations(1)) == {*WITHOUT_MAGNITUDE, *ARGUMENTS}

    block_width, block_height = 3 * TILE + 2 * GAP, TITLE + TILE + LABEL
    rows = -(-len(blocks) // BLOCKS_PER_ROW)
    width = 2 * MARGIN + BLOCKS_PER_ROW * block_width + (BLOCKS_PER_ROW - 1) * BLOCK_GAP
    height = MARGIN + rows * block_height
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")

    def write(x, y, text, **style):
        figure.text(x / width, 1 - y / height, text, **{"size": 9, "color": INK, "va": "top", **style})

    for number, (title, tiles) in enumerate(blocks):
        x = MARGIN + number % BLOCKS_PER_ROW * (block_width + BLOCK_GAP)
        y = MARGIN + number // BLOCKS_PER_ROW * block_height
        write(x, y + 14, title, weight="bold", size=10.5, va="baseline")
        for column, (image, label) in enumerate(tiles):
            left, top = x + column * (TILE + GAP), y + TITLE
            small = image.resize((TILE, TILE), Image.Resampling.LANCZOS)
            figure.figimage(small, left, height - top - TILE, origin="upper")
            write(left + TILE / 2, top + TILE + 13, label, size=8, color=PALE, ha="center", va="baseline")
    beside, top = MARGIN + TILE + 14, MARGIN + TITLE
    write(beside, top + 2, f"Each operation at magnitude\n{MAGNITUDES[0]}, {MAGNITUDES[1]} and {MAGNITUDES[2]} on a "
          "scale of 10,\n224 x 224 pixels.", linespacing=1.5)
    write(beside, top + TILE - 24, CREDIT, size=7.5, color=PALE, linespacing=1.4)
    save(figure, path)


# ---- signal_propagation.png


def signal_propagation(path):
    """Three fresh networks of 50 layers: batch-normalized, the same with its norms removed, normalizer-free."""
    keras.utils.set_random_seed(0)
    normalized = keras.applications.ResNet50V2(weights=None)
    networks = [("ResNet-50-V2", normalized, {}),
                ("ResNet-50-V2, norms removed, He initialization", without_norms(normalized), {}),
                ("NF-ResNet-50, branches open", kt.models.NFResNet50(), {"open_branches": True})]
    signals = []
    for name, network, options in networks:
        signal = kt.analysis.signal_propagation(network, batch_size=4, **options)
        signals.append(dataclasses.replace(signal, model=name))
        print(signals[-1], end="\n\n")
    draw(signals, path)


def without_norms(model):
    """A copy of a model whose batch normalizations let everything pass and whose convolutions are He-initialized."""

    def copy(layer):
        if isinstance(layer, keras.layers.BatchNormalization):
            return keras.layers.Identity(name=layer.name)
        he = {"kernel_initializer": "he_normal"} if isinstance(layer, keras.layers.Conv2D) else {}
        return type(layer).from_config({**layer.get_config(), **he})

    def call(layer, *inputs, **options):
        return inputs[0] if isinstance(layer, keras.layers.Identity) else layer(*inputs, **options)

    return keras.models.clone_model(model, clone_function=copy, call_function=call)


# ---- cosine.png, step.png, warmup.png

IMAGES = 1_281_167  # of ImageNet


def rates(epochs, batch_size=1024, warmup_epochs=5, decay=None):
    """Epochs, and the learning rate of a Bag of Tricks run at each: the arguments of `axes.plot`."""
    per_epoch = IMAGES // batch_size
    steps = np.arange(0, epochs * per_epoch, per_epoch // 50)
    peak = kt.schedules.linear_scaling(batch_size)
    return steps / per_epoch, kt.schedules.learning_rate(steps, per_epoch, peak, warmup_epochs, decay)


def cosine(path):
    """Cosine and step decay over 120 epochs."""
    figure, (axes,) = charts()
    axes.plot(*rates(120, decay=kt.schedules.Cosine(120)), label="cosine")
    axes.plot(*rates(120, decay=kt.schedules.Step()), label="step: times 0.1 at epochs 30, 60, 90")
    label(axes, "epoch", "learning rate", xlim=(0, 120), ylim=0, title="Batch 1024, 5 warmup epochs")
    save(figure, path)


def step(path):
    """Step decay at two batch sizes, on a logarithmic scale."""
    figure, (axes,) = charts()
    axes.plot(*rates(120, decay=kt.schedules.Step()), label="batch 1024, 5 warmup epochs")
    axes.plot(*rates(120, 256, 0, kt.schedules.Step()), label="batch 256, no warmup")
    label(axes, "epoch", "learning rate (log scale)", xlim=(0, 120), yscale="log",
          title="Times 0.1 at epochs 30, 60 and 90")
    save(figure, path)


def warmup(path):
    """The first 10 epochs with and without warmup."""
    figure, (axes,) = charts()
    decay = kt.schedules.Cosine(120)
    axes.plot(*rates(10, decay=decay), label="batch 1024, 5 warmup epochs")
    axes.plot(*rates(10, 1024, 0, decay), "--", label="batch 1024, no warmup")
    axes.plot(*rates(10, 256, 0, decay), ":", label="batch 256, no warmup")
    label(axes, "epoch", "learning rate", xlim=(0, 10), ylim=0,
          title="Linear scaling, 0.1 per 256 images; cosine decay over 120 epochs")
    save(figure, path)


# ---- batch_size_plan.png


def batch_size_plan(path):
    """Batch size and learning rate of the three modes, for a decay by 5 at three milestones."""
    figure, (sizes, speeds) = charts(2)
    for mode, style in (("decay", "-"), ("hybrid", "--"), ("increase_batch", ":")):
        plan = kt.callbacks.BatchSizeScheduler.instead_of_decay(
            learning_rate=0.1, batch_size=128, factor=5, milestones=(60, 120, 160), epochs=200, dataset_size=50_000,
            max_batch_size=5120, momentum=0.9, mode=mode).plan
        epochs = range(plan.epochs)
        line = dict(label=f"{mode}: {plan.updates:,} updates", ls=style, lw=2.5, drawstyle="steps-post")
        sizes.plot(epochs, [plan.phase(epoch).batch_size for epoch in epochs], **line)
        speeds.plot(epochs, [plan.rate(epoch) for epoch in epochs], **line)
    label(sizes, "epoch", "batch size (images, log scale)", legend=False, yscale="log")
    label(speeds, "epoch", "learning rate (log scale)", legend=False, yscale="log")
    grown = [phase.batch_size for phase in plan]  # of the last mode, which has all sizes
    sizes.set_yticks(grown, [f"{size:,}" for size in grown])
    sizes.minorticks_off()
    figure.legend(*sizes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save(figure, path)


# ---- noise_scale.png


def noise_scale(path):
    """Epochs in which a momentum forgets a gradient, where the batch grows with 1 / (1 - m) from that at 0.9."""
    figure, (updates, epochs) = charts(2)
    momenta = np.linspace(0.8, 0.99, 400)
    updates.plot(momenta, 1 / (1 - momenta), lw=2.5)
    label(updates, "momentum m", "updates to forget, 1 / (1 - m)", legend=False)
    runs = (("CIFAR-10, batch 640 at 0.9", 50_000, 640, (0.9, 0.98)),
            ("ImageNet, batch 8192 at 0.9", 1_281_167, 8192, (0.9, 0.95, 0.975)))
    for name, dataset_size, batch_size, marked in runs:
        def memory(m, size=dataset_size, start=batch_size):
            grown = kt.schedules.same_noise_batch_size(start, 1.0, 1.0, 0.9, m)
            return kt.schedules.forgetting_epochs(grown, size, m)

        line, = epochs.plot(momenta, memory(momenta), lw=2.5, label=name)
        epochs.plot(marked, [memory(m) for m in marked], "o", color=line.get_color())
    label(epochs, "momentum m", "epochs to forget, B / (N (1 - m)) (log scale)", yscale="log")
    save(figure, path)


# ---- drop_path.png


def drop_path(path):
    """The drop rate of every block, read from models of the real depth but few channels."""
    resnet = kt.models.ResNetRS200(drop_path_rate=0.1, width_factor=1 / 16)
    nfnet = kt.models.NFNetF0(drop_path_rate=0.25, widths=(16,) * 4, group_width=8)
    titles = "ResNet-RS-200, rate 0.1, by stage", "NFNet-F0, rate 0.25, linear (DeepMind)"
    ticks = (1, 10, 20, 30, 40, 50, 60), range(1, 13)
    figure, panels = charts(2, sharey=True)
    for number, (axes, model) in enumerate(zip(panels, (resnet, nfnet), strict=True)):
        layers = {layer.name: layer for layer in model.layers}
        blocks = [name.removesuffix("_out") for name in layers if name.endswith("_out")]
        drops = [getattr(layers.get(f"{block}_drop_path"), "rate", 0.0) for block in blocks]
        axes.bar(range(1, len(drops) + 1), drops, color=f"C{number}")
        label(axes, "residual block", "" if number else "drop rate (probability)", legend=False,
              title=titles[number], xticks=ticks[number])
    save(figure, path)


# ---- label_smoothing.png


def label_smoothing(path):
    """Targets over 10 classes: hard and smoothed both ways."""
    hard = np.eye(10)[3]
    targets = {"hard": hard, **{f'"{way}"': kt.losses.smooth_labels(hard, 0.1, way) for way in ("others", "uniform")}}
    figure, (axes,) = charts()
    for number, (name, target) in enumerate(targets.items()):
        text = f"{name}: label {target[3]:.3g}, other classes {target[0]:.3g}"
        axes.bar(np.arange(10) + (number - 1) * 0.27, target, 0.25, label=text)
    label(axes, "class (3 is the label)", "target probability", xticks=range(10),
          title="10 classes, label_smoothing 0.1")
    save(figure, path)


# ---- agc.png


def agc(path):
    """A unit's gradient norm after clipping against the one before. Every column of the kernel is a unit of norm 1."""
    norms = np.geomspace(1e-3, 10, 200)[None]
    weights = np.ones_like(norms)
    axis = kt.ops.unit_axes(norms.shape)
    figure, (axes,) = charts()
    axes.plot(norms[0], norms[0], "--", color=PALE, label="not clipped")
    for factor in (1, 0.1, 0.01):
        clipped = kt.ops.clip_unitwise(tf.constant(norms), tf.constant(weights), axis, factor)
        axes.plot(norms[0], kt.ops.unitwise_norm(clipped, axis)[0], label=f"clip_factor {factor:g}")
    label(axes, "gradient norm of a unit before clipping (log scale)", "after clipping (log scale)", xscale="log",
          yscale="log", title="Weight norm 1")
    save(figure, path)


# ---- mixing.png

LAMBDA_SEED, BOX_SEED = (0, 1276), (0, 1016)  # lambda 0.7; a box of 0.3 of the area, not cut by the border


def mixing(path):
    """Two photographs, mixed by mixup and by CutMix."""
    pair = [photograph(), photograph(name="flower.jpg", shift=-14)]
    images, labels = tf.cast(tf.stack(pair), tf.float32), tf.eye(2)
    tiles = {
        "$x_i$": (images[0], labels[0]),
        "$x_j$": (images[1], labels[1]),
        "mixup": [both[0] for both in kt.data.mixup(images, labels, 0.2, LAMBDA_SEED)],
        "CutMix": [both[0] for both in kt.data.cutmix(images, labels, 1.0, BOX_SEED)],
    }
    figure = Figure(figsize=(9.6, 2.95), dpi=DPI, layout="constrained")
    for axes, (title, (image, target)) in zip(figure.subplots(1, 4), tiles.items(), strict=True):
        shares = zip(target.numpy(), ("pagoda", "flower"), strict=True)
        tile(axes, image, title, "label: " + " + ".join(f"{share:.2g} {name}" for share, name in shares if share))
    figure.supxlabel(FLOWER_CREDIT, size=7.5, color=PALE)
    save(figure, path, step=8)


# ---- crops.png


def crops(path):
    """Four random-resized crops and the evaluation crop, and their places in the photograph."""
    image, size = tf.constant(load_sample_image("china.jpg")), 224
    height, width = kt.data.augment.crops.image_shape(image)
    figure = Figure(figsize=(9.2, 3.2), dpi=DPI, layout="constrained")
    grid = [["whole", "0", "1", "2"], ["whole", "3", "evaluation", "credit"]]
    panels = figure.subplot_mosaic(grid, width_ratios=(3.2, 1, 1, 1))
    tile(panels["whole"], image, "photograph", alpha=0.6)
    for number, name in enumerate(["0", "1", "2", "3", "evaluation"]):
        if name == "evaluation":
            box, crop = kt.data.augment.crops.center_box(height, width, size), kt.data.crops.center_crop(image, size)
        else:
            seed = 0, number
            box = kt.data.augment.crops.random_resized_box(height, width, seed)
            crop = kt.data.augment.crops.random_resized_crop(image, size, seed)
        top, left, rows, columns = map(int, box)
        frame = dict(fill=False, lw=2.5, ec=f"C{number}")
        panels["whole"].add_patch(Rectangle((left, top), columns, rows, **frame))
        share = f"{100 * rows * columns / int(height * width):.0f} % of the area"
        tile(panels[name], crop, "evaluation crop" if name == "evaluation" else share, border=f"C{number}")
    panels["credit"].axis("off")
    panels["credit"].text(0, 0, CREDIT, size=7.5, color=PALE, linespacing=1.4)
    save(figure, path, step=10)


# ---- input_pipeline.png

TASKS = {  # what is done to the images: {side: its name in sides.json}
    "crop, flip": {"keras_tricks": "ours crop+flip", "timm": "timm crop+flip"},
    "+ RandAugment,\nprobability 0.5": {"keras_tricks": "ours p05", "timm": "timm p05", "kecam": "kecam p05"},
    "+ RandAugment,\nalways": {"keras_tricks": "ours always", "Model Garden": "model garden always",
                              "keras.layers": "keras layer always"},
    "+ four layers,\nprobability 0.5": {"keras_tricks": "ours p05 4 layers", "timm": "timm p05 4 layers",
                                       "kecam": "kecam p05 4 layers"},
}


def input_pipeline(path):
    """Images per second beside other packages, from docs/results/input_pipeline/sides.json: medians."""
    sides = json.loads((FOLDER.parent / "results" / "input_pipeline" / "sides.json").read_text())["sides"]
    figure, (axes,) = charts()
    colours = dict(zip(("keras_tricks", "timm", "kecam", "Model Garden", "keras.layers"), range(5), strict=True))
    for place, (_, names) in enumerate(TASKS.items()):
        for number, (side, name) in enumerate(names.items()):
            speed = statistics.median(run["images_per_s"] for run in sides[name])
            at = place + 0.26 * (number - (len(names) - 1) / 2)
            bar = axes.bar(at, speed, 0.24, color=f"C{colours[side]}", label=side)
            axes.bar_label(bar, [f"{speed:,.0f}"], fontsize=8, color=INK)
    known = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    label(axes, "", "images/s on two CPU cores", legend=False, xticks=range(len(TASKS)),
          title="224-pixel ImageNet photographs, medians of 5 rounds")
    axes.set_xticklabels(TASKS)
    axes.legend(known.values(), known, frameon=False, ncols=len(known), loc="upper right", fontsize=9)
    save(figure, path)


# ---- replicas.png


def replicas(path):
    """Distance of 2 and 4 replicas from one device, from the table of docs/replicas.md."""
    text = (FOLDER.parent / "replicas.md").read_text()
    rows = re.findall(r"^\| ((?:keras|ours).*?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    figure = Figure(figsize=(10, 5.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for place, (name, *cells) in enumerate(rows):
        colour = "C1" if name.startswith("keras") else "C0"
        for cell, marker in zip(cells, "os", strict=True):
            if cell.startswith("fails"):
                axes.text(2e-8, place, f"{cell} (2 and 4 replicas)", color=colour, va="center", size=9)
                break
            axes.plot(float(cell), place, marker, color=colour, ms=7, alpha=0.8)
    names = [name.removeprefix("ours: ").replace("keras SGD", "SGD").replace("keras Loss", "Loss") for name, *_ in rows]
    label(axes, "max|Δw| / max|w| against one device after 20 steps (log scale)", "", legend=False, xscale="log",
          xlim=(1e-8, 1), yticks=range(len(rows)), title="Circles: 2 replicas. Squares: 4 replicas.")
    axes.set_yticklabels(names)
    axes.invert_yaxis()
    sides = [Line2D([], [], marker="o", ls="", color=colour, label=side)
             for side, colour in (("keras.optimizers", "C1"), ("keras_tricks", "C0"))]
    axes.legend(handles=sides, loc="lower right")
    save(figure, path)


# ---- what they share


def charts(columns=1, **options):
    """A figure 1000 pixels wide and its axes, side by side."""
    figure = Figure(figsize=(10, 4), dpi=DPI, layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, **options)[0]


def label(axes, x, y, legend=True, **settings):
    """Titles, a thin grid and a legend. `settings` are those of `axes.set`."""
    axes.set(xlabel=x, ylabel=y, **settings)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend()


def tile(axes, image, title, below="", border=None, alpha=1.0):
    """An image without ticks."""
    axes.imshow(np.clip(image, 0, 255).astype("uint8"), alpha=alpha)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, size=9, color=INK)
    axes.set_xlabel(below, size=9, color=INK)
    axes.spines[:].set(visible=border is not None, color=border, lw=2)


def save(figure, path, step=4):
    """A PNG file. Colours are rounded to multiples of `step`: a third fewer bytes, and the eye sees no difference."""
    drawn = io.BytesIO()
    FigureCanvasAgg(figure).print_png(drawn)
    image = Image.open(drawn).convert("RGB")
    image.point(lambda value: min(round(value / step) * step, 255)).save(path, optimize=True)


PICTURES = {
    function.__name__: function
    for function in (rand_augment, signal_propagation, cosine, step, warmup, batch_size_plan, noise_scale, drop_path,
                     label_smoothing, agc, mixing, crops, input_pipeline, replicas)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(PICTURES)}; all of them if none")
    names = parser.parse_args().names or PICTURES
    unknown = [name for name in names if name not in PICTURES]
    if unknown:
        parser.error(f"no picture {', '.join(unknown)}; there are {', '.join(PICTURES)}")
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        path = FOLDER / f"{name}.png"
        PICTURES[name](path)
        print(f"{path} ({path.stat().st_size // 1000} kB)")


if __name__ == "__main__":
    main()
