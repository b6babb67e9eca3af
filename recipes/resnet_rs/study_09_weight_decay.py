"""ResNet-200, + less weight decay.

Run      keras-tricks train resnet_rs/study_09_weight_decay --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 82.2 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/study_08_dropout").replace(
    about={"expected_top1": 82.2},
    optimizer={"weight_decay": 4e-5},
)
