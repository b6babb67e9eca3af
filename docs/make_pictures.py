"""Draws the pictures of the documentation into docs/images.

    python docs/make_pictures.py [NAME ...]

The photograph is `china.jpg` of scikit-learn, by danielbuechele, https://www.flickr.com/photos/danielbuechele, licence
https://creativecommons.org/licenses/by/2.0; it is cropped to a square and made smaller.
"""

import argparse
import dataclasses
import io
import pathlib

import keras
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_image

import keras_tricks as kt
from keras_tricks.analysis.signal_propagation import draw
from keras_tricks.data.rand_augment import operations

FOLDER = pathlib.Path(__file__).parent / "images"
CREDIT = "Photograph: danielbuechele\nCC BY 2.0, cropped"
DPI = 100  # everything below is in pixels
INK, PALE = "#24292f", "#6e7781"


def photograph(size=224):
    """The middle of a real photograph, a PIL image."""
    whole = Image.fromarray(load_sample_image("china.jpg"))
    left = (whole.width - whole.height) // 2 - 60
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
    draw = tf.constant([0.75, 0.62, 0.45])  # a positive sign; where the square of cutout lies

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
          "scale of 10,\n224 x 224 pixels.", linespacing=1.5)  # fmt: skip
    write(beside, top + TILE - 24, CREDIT, size=7.5, color=PALE, linespacing=1.4)
    save(figure, path)


# ---- signal_propagation.png


def signal_propagation(path):
    """Three fresh networks of 50 layers: batch-normalized, the same with its norms removed, normalizer-free."""
    keras.utils.set_random_seed(0)
    normalized = keras.applications.ResNet50V2(weights=None)
    networks = [("ResNet-50-V2", normalized, {}),
                ("ResNet-50-V2, norms removed, He initialization", without_norms(normalized), {}),
                ("NF-ResNet-50, branches open", kt.models.NFResNet50(), {"open_branches": True})]  # fmt: skip
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


def save(figure, path, step=4):
    """A PNG file. Colours are rounded to multiples of `step`: a third fewer bytes, and the eye sees no difference."""
    drawn = io.BytesIO()
    FigureCanvasAgg(figure).print_png(drawn)
    image = Image.open(drawn).convert("RGB")
    image.point(lambda value: min(round(value / step) * step, 255)).save(path, optimize=True)


PICTURES = {"rand_augment": rand_augment, "signal_propagation": signal_propagation}


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
