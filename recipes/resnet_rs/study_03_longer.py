"""ResNet-200, + longer training.

Run      keras-tricks train resnet_rs/study_03_longer --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 78.8 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/study_02_cosine").replace(
    about={"expected_top1": 78.8},
    schedule={"epochs": 350, "warmup_epochs": 19},
)
