"""ResNet-50-D, + cosine decay.

Run      keras-tricks train bag_of_tricks/resnet50d_cosine --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 5.1, table 6: 77.91 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50d").replace(
    about={"expected_top1": 77.91, "expected_from": "paper, table 6"},
    schedule={"decay": "cosine"},
)
