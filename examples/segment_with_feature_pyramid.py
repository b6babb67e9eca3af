"""Trains a segmentation head on a backbone of the zoo, with feature maps merged top-down. About 30 seconds on a CPU.

    python examples/segment_with_feature_pyramid.py

The images show discs on noise. The example prints the intersection over union and draws the predicted masks of four
images (runs/segmentation.png). KerasHub's DeepLabV3 and RetinaNet accept the same backbones: see
keras_tricks/models/feature_pyramid.py.
"""

import pathlib

import keras
import matplotlib
import numpy as np

import keras_tricks as kt

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (works without a display)

keras.utils.set_random_seed(0)
SIZE = 64


def draw(count, seed):
    """Images `(count, SIZE, SIZE, 3)` with one bright disc each, and its mask `(count, SIZE, SIZE, 1)`."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centre = rng.uniform(16, 48, (2, count, 1, 1))
    radius = rng.uniform(8, 16, (count, 1, 1))
    mask = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2)[..., None].astype("float32")
    color = rng.uniform(0.5, 1.0, (count, 1, 1, 3))
    return (rng.normal(0, 0.3, (count, SIZE, SIZE, 3)) + mask * color).astype("float32"), mask


backbone = kt.models.feature_pyramid("test_resnet", strides=(1, 2), input_shape=(SIZE, SIZE, 3), stem="cifar")
fine, coarse = backbone.outputs
print("feature maps:", [tuple(map_.shape[1:]) for map_ in backbone.outputs])

x = keras.layers.Conv2D(16, 1)(coarse)
x = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
x = keras.layers.Add()([x, keras.layers.Conv2D(16, 1)(fine)])
x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
model = keras.Model(backbone.inputs, keras.layers.Conv2D(1, 1, activation="sigmoid")(x))

model.compile(kt.optimizers.SGD(0.1, weight_decay=1e-4, no_bias_decay=True), "binary_crossentropy")
model.fit(*draw(256, seed=1), batch_size=16, epochs=4, verbose=2)

images, masks = draw(32, seed=2)
found = model.predict(images, verbose=0) > 0.5
iou = np.logical_and(found, masks > 0.5).sum() / np.logical_or(found, masks > 0.5).sum()
print(f"intersection over union {iou:.3f}")

figure, axes = plt.subplots(2, 4, figsize=(8, 4), layout="constrained")
for column, (image, mask) in enumerate(zip(images[:4], found[:4], strict=True)):
    axes[0, column].imshow(np.clip(image, 0, 1))
    axes[1, column].imshow(np.clip(image, 0, 1))
    axes[1, column].imshow(np.ma.masked_equal(mask[..., 0], False), cmap="autumn", alpha=0.6)
for axis in axes.flat:
    axis.set_axis_off()
pathlib.Path("runs").mkdir(exist_ok=True)
figure.savefig("runs/segmentation.png")
print("drawn to runs/segmentation.png")
if iou < 0.7:
    raise SystemExit("the example must reach 0.7")
