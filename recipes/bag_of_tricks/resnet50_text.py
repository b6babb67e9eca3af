"""ResNet-50 as the text of the paper: the baseline with a jitter of hue, saturation and brightness.

The text scales hue by a factor from U[0.6, 1.4]; the authors' code, gluon-cv, changes brightness, contrast and
saturation. Read literally, the text turns colours by 17 degrees on average, the code by 1.

Run      keras-tricks train bag_of_tricks/resnet50_text --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 2.1
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50_baseline").replace(
    about={"follows": "paper, section 2", "differs": {}},
    augment={"color_jitter": "paper"},
)
