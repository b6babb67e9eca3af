"""Colour jitter and PCA noise of the Bag of Tricks; float32 images in 0-255.

Formula    jitter: hue, saturation, value each times U[0.6, 1.4]; PCA: x + eigenvectors @ (alpha * eigenvalues),
           alpha ~ N(0, 0.1) once per image
Paper      He et al. 2018, arXiv:1812.01187, section 2.1 steps 4 and 5; PCA noise: Krizhevsky et al. 2012, section 4.1
Recipe     color_jitter: augment.color_jitter=paper; pca_noise: augment.pca_noise=0.1
Use when   ImageNet-like photographs
Do not     apply PCA noise after normalization: its eigenvalues are for the 0-255 scale
Cost       measured with the pipeline (`keras-tricks benchmark`), not here
Differs    "scale hue by a coefficient" has no standard meaning: `scale_hsv` multiplies the hue (0-1, wrapping around).
           The paper's code (gluon-cv) jitters brightness, contrast and saturation instead: `jitter_bcs`, in
           every recipe that quotes the paper's numbers. The first turns colours by 17 degrees on average, the second
           by 1
Status     both in recipes; ImageNet results not reproduced here
"""

import tensorflow as tf

PCA_EIGENVALUES = (55.46, 4.794, 1.148)
PCA_EIGENVECTORS = (  # rows R, G, B; one column per eigenvalue
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
LUMA = (0.299, 0.587, 0.114)
ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


def scale_hsv(image: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Multiplies hue (wrapping), saturation and value (clipped) by the three `factors`."""
    hsv = tf.image.rgb_to_hsv(tf.clip_by_value(image / 255.0, 0.0, 1.0)) * factors
    hsv = tf.stack([hsv[..., 0] % 1.0, tf.minimum(hsv[..., 1], 1.0), tf.minimum(hsv[..., 2], 1.0)], axis=-1)
    return tf.image.hsv_to_rgb(hsv) * 255.0


def adjust_brightness(image: tf.Tensor, factor: tf.Tensor | float) -> tf.Tensor:
    """Multiplies the image by `factor`."""
    return tf.clip_by_value(image * factor, 0.0, 255.0)


def adjust_contrast(image: tf.Tensor, factor: tf.Tensor | float) -> tf.Tensor:
    """Blends the image with its mean luma."""
    mean = tf.reduce_mean(tf.tensordot(image, tf.constant(LUMA), 1))
    return tf.clip_by_value(mean + factor * (image - mean), 0.0, 255.0)


def adjust_saturation(image: tf.Tensor, factor: tf.Tensor | float) -> tf.Tensor:
    """Blends each pixel with its luma."""
    gray = tf.tensordot(image, tf.constant(LUMA), 1)[..., None]
    return tf.clip_by_value(gray + factor * (image - gray), 0.0, 255.0)


def jitter_bcs(image: tf.Tensor, factors: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Adjusts brightness, contrast and saturation by the three `factors`, in one of six orders (`order` in 0-5)."""
    steps = (adjust_brightness, adjust_contrast, adjust_saturation)

    def apply(permutation):
        result = image
        for i in permutation:
            result = steps[i](result, factors[i])
        return result

    return tf.switch_case(order, [lambda p=p: apply(p) for p in ORDERS])


def color_jitter(image: tf.Tensor, seed: tf.Tensor, kind: str = "paper", strength: float = 0.4) -> tf.Tensor:
    """Jitters one image. `kind`: `"paper"` (hue, saturation, value) or `"gluoncv"` (brightness, contrast, saturation).

    The factors are drawn from U[1 - strength, 1 + strength], with `strength` in [0, 1].
    """
    draws = tf.random.stateless_uniform([4], seed)
    factors = 1.0 - strength + 2.0 * strength * draws[:3]
    if kind == "paper":
        return scale_hsv(image, factors)
    return jitter_bcs(image, factors, tf.cast(draws[3] * len(ORDERS), tf.int32))


def pca_noise(image: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """Adds one colour to all pixels. `alpha`: float `(3,)`, one coefficient per principal component."""
    return image + tf.linalg.matvec(tf.constant(PCA_EIGENVECTORS), alpha * tf.constant(PCA_EIGENVALUES))
