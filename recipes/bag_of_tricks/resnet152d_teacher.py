"""ResNet-152-D, the teacher of the distillation rows.

Run      keras-tricks train bag_of_tricks/resnet152d_teacher --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 5.3
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50d_label_smoothing").replace(
    about={
        "expected_top1": None,
        "expected_from": "",
        "note": "the paper trains it with cosine decay and label smoothing; its accuracy is not quoted",
    },
    model={"name": "resnet152d"},
)
