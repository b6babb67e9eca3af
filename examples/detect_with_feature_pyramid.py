"""Trains a detection head on backbones before and after the tweaks of the Bag of Tricks: ResNet-20 and ResNet-20-D.

    python examples/detect_with_feature_pyramid.py

The images show two squares on noise. As in FCOS, every cell of a feature map inside a square learns that it is inside
and the distances to the four sides. The example prints the mean intersection over union of each square with the most
probable box that overlaps it. Faster R-CNN and RetinaNet need a library such as KerasHub, which accepts the same
backbones. About a minute on a CPU.
"""

import keras
import numpy as np

import keras_tricks as kt

SIZE, STRIDE, SQUARES, CELLS = 48, 4, 2, 12
CENTRES = (np.mgrid[:CELLS, :CELLS].transpose(1, 2, 0) + 0.5) * STRIDE  # (row, column) of each cell in pixels


def draw(count, seed):
    """Images, boxes `(count, SQUARES, 4)` as (top, left, bottom, right), and targets `(count, CELLS, CELLS, 5)`."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 0.3, (count, SIZE, SIZE, 3)).astype("float32")
    boxes = np.zeros((count, SQUARES, 4), "float32")
    targets = np.zeros((count, CELLS, CELLS, 5), "float32")
    for index in range(count):
        for square in range(SQUARES):
            side = rng.integers(10, 20)
            top, left = rng.integers(0, SIZE - side), square * SIZE // SQUARES + rng.integers(0, 24 - side + 1)
            images[index, top:top + side, left:left + side] += rng.uniform(0.5, 1.0, 3)
            box = boxes[index, square] = (top, left, top + side, left + side)
            sides = np.concatenate([CENTRES - box[:2], box[2:] - CENTRES], axis=-1)
            inside = sides.min(axis=-1) > 0
            targets[index, inside] = np.concatenate([np.ones((inside.sum(), 1)), sides[inside] / SIZE], axis=-1)
    return images, boxes, targets


def loss(targets, outputs):
    """Cross entropy of "inside", and the intersection over union of the boxes in the cells that are inside."""
    ops = keras.ops
    inside, sides, found = targets[..., 0], targets[..., 1:], ops.softplus(outputs[..., 1:])
    entropy = ops.mean(ops.binary_crossentropy(inside, outputs[..., 0], from_logits=True), axis=(1, 2))
    shared = ops.minimum(sides, found)
    area = lambda s: (s[..., 0] + s[..., 2]) * (s[..., 1] + s[..., 3])  # noqa: E731
    overlap = area(shared) / (area(sides) + area(found) - area(shared) + 1e-6)
    return entropy + ops.sum(inside * (1 - overlap), axis=(1, 2)) / (ops.sum(inside, axis=(1, 2)) + 1e-6)


def boxes_of(outputs):
    """The box that each cell predicts, `(count, CELLS, CELLS, 4)`, and its score."""
    sides = np.log1p(np.exp(outputs[..., 1:])) * SIZE
    return np.concatenate([CENTRES - sides[..., :2], CENTRES + sides[..., 2:]], axis=-1), outputs[..., 0]


def overlap(box, other):
    """Intersection over union of boxes, the last axis of two arrays."""
    shared = np.clip(np.minimum(box[..., 2:], other[..., 2:]) - np.maximum(box[..., :2], other[..., :2]), 0, None)
    area = lambda b: np.prod(np.clip(b[..., 2:] - b[..., :2], 0, None), axis=-1)  # noqa: E731
    return np.prod(shared, axis=-1) / (area(box) + area(other) - np.prod(shared, axis=-1) + 1e-9)


def train(name):
    """The mean overlap of the squares of new images with the most probable box that overlaps each of them."""
    keras.utils.set_random_seed(0)
    backbone = kt.models.feature_pyramid(name, strides=(STRIDE,), input_shape=(SIZE, SIZE, 3))
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(backbone.outputs[0])
    model = keras.Model(backbone.inputs, keras.layers.Conv2D(5, 1)(x))
    model.compile(keras.optimizers.Adam(3e-3), loss)
    images, _, targets = draw(192, seed=1)
    model.fit(images, targets, batch_size=8, epochs=8, verbose=0)
    images, boxes, _ = draw(64, seed=2)
    found, scores = boxes_of(model.predict(images, verbose=0))
    found, scores = found.reshape(64, 1, -1, 4), scores.reshape(64, 1, -1)
    overlaps = overlap(found, boxes[:, :, None]) > 0
    best = np.where(overlaps, scores, -np.inf).argmax(axis=-1)
    chosen = np.take_along_axis(found[:, 0], best[..., None], axis=1)
    return overlap(chosen, boxes).mean()


before, after = train("resnet20"), train("resnet20d")
print(f"mean intersection over union: ResNet-20 {before:.3f}, ResNet-20-D {after:.3f}")
if min(before, after) < 0.4:
    raise SystemExit("the example must reach 0.4")
