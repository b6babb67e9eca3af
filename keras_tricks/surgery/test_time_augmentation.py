"""Test-time augmentation: the mean output of a model on mirrored and translated views of each image.

Formula    f'(x) = (f(x) + f(mirrored x)) / 2;  with p = `translate`: f'(x) / 2 + f'(x moved by -p) / 4 + f'(... p) / 4
Paper      Krizhevsky et al. 2012 (ten crops); the six views: Jordan 2024, arXiv:2404.00498, section 3.5 (airbench)
Recipe     none: `keras-tricks evaluate RUN --views flip_translate`
Use when   a result of a paper was measured with it
Do not     compare it with numbers of one view
Cost       2 forward passes per image with flips, 6 with translations
Differs    nothing from airbench: logits are averaged, borders are reflected
Status     not measured here
"""

from typing import Any

import keras

from keras_tricks.utils.errors import UserError, check_choice

VIEWS = {"one": (False, 0), "flip": (True, 0), "flip_translate": (True, 1)}


def views_of(images: Any, flip: bool = True, translate: int = 0) -> list[tuple[float, Any]]:
    """The views of images as (weight, images of the same shape); the weights sum to 1.

    Args:
        images: float `(batch, height, width, channels)`.
        flip: bool, whether each view is also mirrored. Defaults to `True`.
        translate: integer >= 0, pixels by which two further views are moved along the diagonal. Defaults to `0`.
    """
    ops = keras.ops
    found = [(1.0, images)]
    if translate:
        p, (height, width) = translate, images.shape[1:3]
        padded = ops.pad(images, [[0, 0], [p, p], [p, p], [0, 0]], mode="reflect")
        moved = [padded[:, :height, :width], padded[:, 2 * p : 2 * p + height, 2 * p : 2 * p + width]]
        found = [(0.5, images), *((0.25, view) for view in moved)]
    if flip:
        found = [(weight / 2, side) for weight, view in found for side in (view, ops.flip(view, axis=2))]
    return found


def test_time_augmentation(model: keras.Model, flip: bool = True, translate: int = 0) -> keras.Model:
    """A model with the same weights whose output is the mean over views of its images.

    Args:
        model: `keras.Model` of one input, images `(batch, height, width, channels)`, and one output: logits, as in
            airbench, or probabilities.
        flip, translate: as for `views_of`.

    Returns:
        A functional `keras.Model` that shares the layers of `model`.

    Raises:
        UserError: other inputs or outputs, a negative `translate`, or an input of unknown size with `translate`.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.inputs[0].shape) != 4:
        raise UserError(f"Test-time augmentation needs a model of one image and one output. Received: {model.name}, "
                        f"with {len(model.inputs)} inputs and {len(model.outputs)} outputs.")
    image = model.inputs[0]
    if translate < 0 or (translate and None in image.shape[1:3]):
        raise UserError("`translate` must be >= 0 and needs a model of known image size. Received: "
                        f"translate={translate}, image {tuple(image.shape[1:3])}")
    inputs = keras.Input(tuple(image.shape[1:]), name="image")
    outputs = [weight * keras.ops.cast(model(view), "float32") for weight, view in views_of(inputs, flip, translate)]
    return keras.Model(inputs, sum(outputs[1:], outputs[0]), name=f"{model.name}_views")


def with_views(model: keras.Model, views: str = "one") -> keras.Model:
    """The model itself for `"one"`; else `test_time_augmentation` of it, by name: `"flip"` or `"flip_translate"`."""
    flip, translate = VIEWS[check_choice("views", views, tuple(VIEWS))]
    return test_time_augmentation(model, flip, translate) if flip else model
