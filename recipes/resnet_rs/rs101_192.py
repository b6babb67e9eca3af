"""ResNet-RS-101 at 192 pixels, 350 epochs.

Run      keras-tricks train resnet_rs/rs101_192 --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, section 6: 81.2 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/rs50_160").replace(
    about={"expected_top1": 81.2},
    data={"image_size": 192},
    augment={"rand_augment_magnitude": 15},
    model={"name": "resnet_rs101", "options": {"dropout_rate": 0.25, "bn_momentum": 0.0}},
)
