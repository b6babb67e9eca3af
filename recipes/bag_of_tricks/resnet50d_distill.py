"""ResNet-50-D, + distillation from ResNet-152-D at T = 20.

Give the teacher's weights, a run of bag_of_tricks/resnet152d_teacher:
--set loss.teacher_weights=runs/bag_of_tricks-resnet152d_teacher/checkpoints/best.safetensors

Run      keras-tricks train bag_of_tricks/resnet50d_distill --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, section 5.3, table 6
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50d_label_smoothing").replace(
    about={
        "expected_top1": None,
        "expected_from": "",
        "note": "the paper's number is not quoted: it was available only from a secondary source",
    },
    loss={"teacher": "resnet152d", "temperature": 20.0},
)
