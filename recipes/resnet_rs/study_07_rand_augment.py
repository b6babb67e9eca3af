"""ResNet-200, + RandAugment.

Run      keras-tricks train resnet_rs/study_07_rand_augment --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 81.0 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/study_06_drop_path").replace(
    about={"expected_top1": 81.0},
    augment={"rand_augment_layers": 2, "rand_augment_magnitude": 15},
)
