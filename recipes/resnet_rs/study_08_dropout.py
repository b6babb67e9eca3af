"""ResNet-200, + dropout before the classifier.

Run      keras-tricks train resnet_rs/study_08_dropout --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 80.7 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/study_07_rand_augment").replace(
    about={"expected_top1": 80.7},
    model={"options": {"bn_momentum": 0.0, "drop_path_rate": 0.1, "drop_path_rule": "stage", "dropout_rate": 0.25}},
)
