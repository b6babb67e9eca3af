"""MobileNet, + distillation from ResNet-152-D at T = 20.

Give the teacher's weights with --set loss.teacher_weights=FILE.
Distillation from another family lowers the accuracy (paper, section 5.3).

Run      keras-tricks train bag_of_tricks/mobilenet_distill --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 5.3, table 6
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/mobilenet_label_smoothing").replace(
    loss={"teacher": "resnet152d", "temperature": 20.0},
)
