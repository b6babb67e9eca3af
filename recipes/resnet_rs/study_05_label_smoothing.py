"""ResNet-200, + label smoothing.

Run      keras-tricks train resnet_rs/study_05_label_smoothing --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 80.4 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/study_04_ema").replace(
    about={"expected_top1": 80.4},
    loss={"label_smoothing": 0.1, "smoothing": "uniform"},
)
