"""Decoding, cropping and resizing: encoded file or uint8 array -> float32 `(size, size, 3)` in 0-255.

Formula    random-resized crop: area ~ U[0.08, 1] of the image, aspect ratio ~ U[3/4, 4/3], resized to the model's size
Paper      He et al. 2018, arXiv:1812.01187, section 2.1 (training) and 2.2 (validation: short side 256, centre crop).
           The other works give their validation crop only in code: `center_crop` and `squash_crop`
Recipe     random_resized_crop: augment.crop=random_resized; distorted_crop: augment.crop=distorted;
           pad_crop: augment.crop=pad
Use when   photographs; for 32-pixel images `pad_crop`
Do not     evaluate with another crop than that of the checkpoint: it costs up to several points of top-1
Cost       JPEG files: only the crop is decoded
Differs    the aspect ratio is drawn uniformly, as in the paper's text (torchvision: log-uniform). Bilinear resizing has
           no antialiasing, as the OpenCV resize of the paper's code; `antialias=True` is PIL's behaviour. Bicubic
           resizing (Keys, a = -0.5, half-pixel centres) is not clamped: values may leave 0-255, as in DeepMind's code.
           JPEG files are decoded at full size: decoding at half size where the crop allows it gains 1 % on ImageNet
           and changes pixels by 4 of 255 (docs/data.md)
Status     used by every recipe on image files
"""

import tensorflow as tf

from keras_tricks.data.augment import pixmap

ATTEMPTS = 10  # candidate boxes drawn at once; the first one that fits in the image is used


def is_encoded(image: tf.Tensor) -> bool:
    """Whether an image is the content of a file, not an array of pixels."""
    return image.dtype == tf.string


def image_shape(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width, int32 scalars. Those of a JPEG or a `pixmap` are read from its header."""
    if not is_encoded(image):
        return tf.shape(image)[0], tf.shape(image)[1]
    shape = tf.cond(tf.io.is_jpeg(image), lambda: tf.io.extract_jpeg_shape(image), lambda: tf.cond(
        pixmap.is_pixmap(image), lambda: pixmap.shape(image), lambda: tf.shape(_decode(image))))
    return shape[0], shape[1]


def crop(image: tf.Tensor, top, left, height, width) -> tf.Tensor:
    """Decodes and crops an image to the box `(top, left, height, width)`, uint8. Of a JPEG only the box is decoded."""
    if not is_encoded(image):
        return tf.slice(image, [top, left, 0], [height, width, image.shape[-1] or 3])
    box = tf.stack([top, left, height, width])
    cropped = tf.cond(
        tf.io.is_jpeg(image),
        lambda: tf.io.decode_and_crop_jpeg(image, box, channels=3, dct_method="INTEGER_ACCURATE"),  # as PIL
        lambda: tf.cond(
            pixmap.is_pixmap(image), lambda: pixmap.crop(image, top, left, height, width),
            lambda: tf.slice(_decode(image), [top, left, 0], [height, width, 3])),
    )
    return tf.ensure_shape(cropped, (None, None, 3))


def _decode(image):
    return tf.io.decode_png(image, channels=3)


def resize(image: tf.Tensor, height, width, interpolation: str = "bilinear", antialias: bool = False) -> tf.Tensor:
    """Resizes to float32 `(height, width, 3)`. An image that already has this size is only cast."""
    resized = tf.image.resize(image, (height, width), interpolation, antialias=antialias)
    return tf.cast(resized, tf.float32)


def random_resized_box(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor, area: tuple[float, float] = (0.08, 1.0),
                       aspect: tuple[float, float] = (3 / 4, 4 / 3)) -> tuple[tf.Tensor, ...]:
    """A random box in an image of `height` x `width` pixels.

    Args:
        height, width: int32 scalars > 0.
        seed: int64 `(2,)`. The box depends on nothing else.
        area: range of the box's share of the image, in (0, 1].
        aspect: range of width / height.

    Returns:
        int32 scalars `top, left, height, width`. If no candidate fits, the largest centred box whose aspect ratio is
        within the range.
    """
    h, w = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    draws = tf.random.stateless_uniform([4, ATTEMPTS], seed)
    areas = (area[0] + draws[0] * (area[1] - area[0])) * h * w
    aspects = aspect[0] + draws[1] * (aspect[1] - aspect[0])
    widths = tf.cast(tf.round(tf.sqrt(areas * aspects)), tf.int32)
    heights = tf.cast(tf.round(tf.sqrt(areas / aspects)), tf.int32)
    fits = (widths >= 1) & (heights >= 1) & (widths <= width) & (heights <= height)
    first = tf.argmax(tf.cast(fits, tf.int32))

    def drawn():
        box_h, box_w = heights[first], widths[first]
        top = tf.cast(draws[2, first] * tf.cast(height - box_h + 1, tf.float32), tf.int32)
        left = tf.cast(draws[3, first] * tf.cast(width - box_w + 1, tf.float32), tf.int32)
        return tf.minimum(top, height - box_h), tf.minimum(left, width - box_w), box_h, box_w

    def centred():
        box_w = tf.cast(tf.round(tf.minimum(w, h * aspect[1])), tf.int32)
        box_h = tf.cast(tf.round(tf.minimum(h, w / aspect[0])), tf.int32)
        return (height - box_h) // 2, (width - box_w) // 2, box_h, box_w

    return tf.cond(tf.reduce_any(fits), drawn, centred)


def random_resized_crop(image: tf.Tensor, size: int, seed: tf.Tensor, area: tuple[float, float] = (0.08, 1.0),
                        aspect: tuple[float, float] = (3 / 4, 4 / 3), **resizing) -> tf.Tensor:
    """Crops a random box and resizes it to `(size, size, 3)`."""
    box = random_resized_box(*image_shape(image), seed, area, aspect)
    return resize(crop(image, *box), size, size, **resizing)


def distorted_box(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor, area: tuple[float, float] = (0.08, 1.0),
                  aspect: tuple[float, float] = (3 / 4, 4 / 3), covered: float = 0.1) -> tuple[tf.Tensor, ...]:
    """A random box by the law of `tf.image.sample_distorted_bounding_box` for an image without object boxes.

    The aspect ratio is drawn uniformly, then the height uniformly between the sides of the smallest and the largest
    area. Small boxes are rarer than in `random_resized_box`, whose area is uniform. The random numbers differ from
    those of TensorFlow's op.

    Args:
        height, width: int32 scalars > 0.
        seed: int64 `(2,)`. The box depends on nothing else.
        area: range of the box's share of the image, in (0, 1].
        aspect: range of width / height.
        covered: float in [0, 1), least share of the image, the op's `min_object_covered`. Defaults to `0.1`, as
            DeepMind's NFNets (nfnets/dataset.py).

    Returns:
        int32 scalars `top, left, height, width`. The whole image if none of the ten candidates fits.
    """
    h, w = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    draws = tf.random.stateless_uniform([4, ATTEMPTS], seed)
    aspects = aspect[0] + draws[0] * (aspect[1] - aspect[0])
    least, most = area[0] * h * w, area[1] * h * w
    tallest = tf.round(tf.sqrt(most / aspects))
    tallest = tf.where(tf.round(tallest * aspects) > w, tf.floor((w + 0.5 - 1e-7) / aspects), tallest)
    tallest = tf.minimum(tf.where(tf.round(tallest * aspects) > w, tallest - 1, tallest), h)
    shortest = tf.minimum(tf.round(tf.sqrt(least / aspects)), tallest)
    heights = shortest + _below(draws[1], tallest - shortest + 1)
    heights += tf.cast(tf.round(heights * aspects) * heights < least, tf.float32)  # rounding left the range
    heights -= tf.cast(tf.round(heights * aspects) * heights > most, tf.float32)
    widths = tf.round(heights * aspects)
    areas = widths * heights
    fits = (areas >= tf.maximum(least, covered * h * w)) & (areas <= most) & (widths <= w) & (heights <= h)
    fits &= (widths >= 1) & (heights >= 1)
    first = tf.argmax(tf.cast(fits, tf.int32))

    def drawn():
        box_h, box_w = heights[first], widths[first]
        box = _below(draws[2, first], h - box_h), _below(draws[3, first], w - box_w), box_h, box_w
        return tuple(tf.cast(side, tf.int32) for side in box)

    return tf.cond(tf.reduce_any(fits), drawn, lambda: (tf.constant(0), tf.constant(0), height, width))


def _below(uniform, number):
    """Whole numbers 0 ... `number` - 1, or 0, from uniform numbers in [0, 1)."""
    return tf.maximum(tf.minimum(tf.floor(uniform * number), number - 1), 0.0)


def distorted_crop(image: tf.Tensor, size: int, seed: tf.Tensor, area: tuple[float, float] = (0.08, 1.0),
                   aspect: tuple[float, float] = (3 / 4, 4 / 3), covered: float = 0.1, **resizing) -> tf.Tensor:
    """Crops a box of `distorted_box` and resizes it to `(size, size, 3)`; a box of the whole image: `center_crop`."""
    height, width = image_shape(image)
    box = distorted_box(height, width, seed, area, aspect, covered)
    whole = (box[2] == height) & (box[3] == width)
    box = tf.cond(whole, lambda: center_box(height, width, size), lambda: box)
    return resize(crop(image, *box), size, size, **resizing)


def pad_crop(image: tf.Tensor, size: int, seed: tf.Tensor, pad: int = 4, mode: str = "REFLECT",
             **resizing) -> tf.Tensor:
    """Resizes to `size`, pads `pad` pixels on each side and takes a random `size` x `size` crop (CIFAR; WRN code)."""
    image = resize_whole(image, size, **resizing)
    padded = tf.pad(image, [[pad, pad], [pad, pad], [0, 0]], mode)
    offset = tf.random.stateless_uniform([2], seed, 0, 2 * pad + 1, tf.int32)
    return tf.slice(padded, [offset[0], offset[1], 0], [size, size, padded.shape[-1]])


def resize_whole(image: tf.Tensor, size: int, **resizing) -> tf.Tensor:
    """Resizes the whole image to `size` x `size`, whatever its aspect ratio."""
    height, width = image_shape(image)
    return resize(crop(image, 0, 0, height, width), size, size, **resizing)


def short_side_crop(image: tf.Tensor, size: int, short_side: int, **resizing) -> tf.Tensor:
    """Bag-of-Tricks validation: resizes the short side to `short_side`, keeping the aspect ratio; centre crop."""
    height, width = image_shape(image)
    scale = short_side / tf.cast(tf.minimum(height, width), tf.float64)
    new_h, new_w = (tf.cast(tf.round(tf.cast(s, tf.float64) * scale), tf.int32) for s in (height, width))
    resized = resize(crop(image, 0, 0, height, width), new_h, new_w, **resizing)
    channels = resized.shape[-1]
    cropped = tf.slice(resized, [(new_h - size) // 2, (new_w - size) // 2, 0], [size, size, channels])
    return tf.ensure_shape(cropped, (size, size, channels))


def center_box(height: tf.Tensor, width: tf.Tensor, size: int, crop_pct: float = 0.875) -> tuple[tf.Tensor, ...]:
    """The centred square that `center_crop` takes.

    Args:
        height, width: int32 scalars > 0, of the image.
        size: integer > 0, pixels of the result.
        crop_pct: float in (0, 1].

    Returns:
        int32 scalars `top, left, side, side`. `side` is size / (size + padding) of the short side, rounded down, with
        padding = round(size (1 / crop_pct - 1)). It is computed in float32, as in the published code, to give the same
        pixel.
    """
    padding = round(size * (1 / crop_pct - 1))
    short = tf.cast(tf.minimum(height, width), tf.float32)
    side = tf.maximum(tf.cast(size / (size + padding) * short, tf.int32), 1)
    return (height - side + 1) // 2, (width - side + 1) // 2, side, side


def center_crop(image: tf.Tensor, size: int, crop_pct: float = 0.875, **resizing) -> tf.Tensor:
    """ResNet-RS and EfficientNet validation: crops a centred square of `crop_pct` of the short side and resizes it.

    Args:
        image: encoded file or uint8 `(height, width, 3)`.
        size: integer > 0, pixels of the result.
        crop_pct: float in (0, 1], approximately the share of the short side that is kept. Defaults to `0.875`, 224 of
            256 pixels (`CROP_FRACTION` of tensorflow/tpu, models/official/efficientnet/preprocessing.py). timm's
            `crop_pct` is the same share, but timm resizes first and crops afterwards.
        **resizing: `interpolation` and `antialias` of `resize`. The published code uses bicubic interpolation by
            TensorFlow 1's kernel, which is shifted by half a pixel against this one.

    Returns:
        float32 `(size, size, 3)`.
    """
    return resize(crop(image, *center_box(*image_shape(image), size, crop_pct)), size, size, **resizing)


def squash_crop(image: tf.Tensor, size: int, padding: int = 32, **resizing) -> tf.Tensor:
    """NFNet validation: resizes both sides to `size` + `padding`, whatever the aspect ratio; centre crop.

    Args:
        image: encoded file or uint8 `(height, width, 3)`.
        size: integer > 0.
        padding: integer >= 0. Defaults to `32` (`resize_crop_32` of deepmind-research, nfnets/dataset.py).
        **resizing: `interpolation` and `antialias` of `resize`. The published code uses bicubic, not antialiased.

    Returns:
        float32 `(size, size, 3)`.
    """
    first = (padding + 1) // 2
    return resize_whole(image, size + padding, **resizing)[first : first + size, first : first + size]
