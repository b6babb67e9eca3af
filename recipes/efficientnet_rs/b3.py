"""EfficientNet-B3 at 300 pixels, otherwise as `efficientnet_rs/b0`.

Run      keras-tricks train efficientnet_rs/b3 --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, section 7.2
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("efficientnet_rs/b0").replace(
    data={"image_size": 300},
    augment={"rand_augment_magnitude": 15},
    model={"name": "efficientnet_rs_b3", "options": {"dropout_rate": 0.3}},
)
