"""EfficientNet-B4 at 380 pixels, otherwise as `efficientnet_rs/b0`.

Run      keras-tricks train efficientnet_rs/b4 --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, section 7.2
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("efficientnet_rs/b0").replace(
    data={"image_size": 380},
    augment={"rand_augment_magnitude": 20},
    model={"name": "efficientnet_rs_b4", "options": {"dropout_rate": 0.4}},
)
