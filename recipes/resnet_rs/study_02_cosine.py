"""ResNet-200, + cosine decay.

Run      keras-tricks train resnet_rs/study_02_cosine --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 79.3 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/study_01_resnet200").replace(
    about={"expected_top1": 79.3},
    schedule={"decay": "cosine", "milestones": ()},
)
