"""ResNet-RS-101 at 160 pixels, 350 epochs.

Run      keras-tricks train resnet_rs/rs101_160 --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, section 6: 80.3 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/rs50_160").replace(
    about={"expected_top1": 80.3},
    model={"name": "resnet_rs101", "options": {"dropout_rate": 0.25, "bn_momentum": 0.0}},
)
