"""ResNet-50-C, efficient training: B and the deep stem.

Run      keras-tricks train bag_of_tricks/resnet50c --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 4, table 5: 76.87 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50").replace(
    about={"expected_top1": 76.87, "expected_from": "paper, table 5"},
    model={"name": "resnet50c"},
)
