"""ResNet-50-D, + label smoothing 0.1.

Run      keras-tricks train bag_of_tricks/resnet50d_label_smoothing --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 5.2, table 6: 78.31 %
"""

from keras_tricks.recipe import load_recipe

BEFORE = load_recipe("bag_of_tricks/resnet50d_cosine")
RECIPE = BEFORE.replace(
    about={"expected_top1": 78.31, "expected_from": "paper, table 6",
           "differs": BEFORE.about.differs | {
               "loss.smoothing": "eps / (K - 1) on the other classes, as the paper's text"}},
    loss={"label_smoothing": 0.1},
)
