"""ResNet-50-D, efficient training: C and average-pooled shortcuts.

Run      keras-tricks train bag_of_tricks/resnet50d --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 4, table 5: 77.16 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50").replace(
    about={"expected_top1": 77.16, "expected_from": "paper, table 5"},
    model={"name": "resnet50d"},
)
