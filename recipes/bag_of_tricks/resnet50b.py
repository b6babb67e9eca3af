"""ResNet-50-B, efficient training: the stride moves to the 3x3 convolution.

Run      keras-tricks train bag_of_tricks/resnet50b --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 4, table 5: 76.66 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50").replace(
    about={"expected_top1": 76.66, "expected_from": "paper, table 5"},
    model={"name": "resnet50b"},
)
