"""ResNet-50-D, distillation and mixup: the paper's best.

Give the teacher's weights, a run of bag_of_tricks/resnet152d_teacher:
--set loss.teacher_weights=runs/bag_of_tricks-resnet152d_teacher/checkpoints/best.safetensors

Run      keras-tricks train bag_of_tricks/resnet50d_distill_mixup --data-dir ~/tensorflow_datasets
Paper    He et al. 2018, arXiv:1812.01187, abstract and table 6: 79.29 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50d_mixup").replace(
    about={"expected_top1": 79.29, "expected_from": "paper, abstract"},
    loss={"teacher": "resnet152d", "temperature": 20.0},
)
