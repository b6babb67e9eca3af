"""The EXIF orientation of an image: cameras store how the sensor was held, and viewers turn the image upright.

The loaders of timm and torchvision ignore it, and so does `data.exif="ignore"`. `"apply"` turns images in training,
evaluation and `predict`. It costs a look at each file, and decoding and encoding of the images that are turned.
"""

import io

import numpy as np
import tensorflow as tf

ORIENTATION = 274  # the number of the EXIF tag
TIFF = (b"II*\0", b"MM\0*")  # Pillow applies the orientation of these itself


def orientation(content: bytes) -> int:
    """The EXIF orientation of an image file, 1 (upright) to 8; 1 if it has none or cannot be read."""
    from PIL import Image

    if not any(mark in content for mark in (b"Exif", b"eXIf", b"EXIF")) or content.startswith(TIFF):
        return 1
    try:
        with Image.open(io.BytesIO(content)) as image:
            found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # of any kind: a broken file is found where it is decoded
        return 1
    return found if found in range(1, 9) else 1


def upright(content: tf.Tensor) -> tf.Tensor:
    """The content of an image file, as PNG if it had to be turned: a string scalar, in the graph."""
    if tf.executing_eagerly():  # where a NumPy function gets an array instead of bytes
        return tf.constant(turn_upright(content.numpy()))
    turned = tf.numpy_function(turn_upright, [content], tf.string, stateful=False)
    return tf.ensure_shape(turned, ())


def turn_upright(content: bytes) -> bytes:
    """The content of an image file, unchanged if it is upright or broken, else as PNG."""
    from PIL import Image, ImageOps

    if orientation(content) == 1:
        return content
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content)) as image:
            turned = ImageOps.exif_transpose(image).convert("RGB")
        Image.fromarray(np.asarray(turned)).save(out, "PNG")  # without EXIF
    except Exception:
        return content
    return out.getvalue()
