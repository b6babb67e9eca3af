"""MobileNet, + label smoothing 0.1.

Run      keras-tricks train bag_of_tricks/mobilenet_label_smoothing --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 5.2, table 6
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/mobilenet_cosine").replace(
    about={"differs": {"loss.smoothing": "eps / (K - 1) on the other classes, as the paper's text"}},
    loss={"label_smoothing": 0.1},
)
