"""Inception-v3, distillation and mixup.

Give the teacher's weights with --set loss.teacher_weights=FILE.
Distillation from another family lowers the accuracy (paper, section 5.3).

Run      keras-tricks train bag_of_tricks/inception_v3_distill_mixup --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, table 6
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/inception_v3_mixup").replace(
    about={"expected_top1": None, "expected_from": ""},
    loss={"teacher": "resnet152d", "temperature": 20.0},
)
