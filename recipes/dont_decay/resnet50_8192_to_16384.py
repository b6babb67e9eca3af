"""ResNet-50 on ImageNet: batch 8192 for 30 epochs, 16384 for the other 60.

Run      keras-tricks train dont_decay/resnet50_8192_to_16384 --data-dir DIR
Data     imagenet2012, prepared by TFDS
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("bag_of_tricks/resnet50").replace(
    about={"paper": "arXiv:1711.00489", "expected_top1": 76.1, "expected_from": "paper, abstract", "measured": False,
           "differs": {}, "follows": "paper, section 5.4",
           "note": "9,360 updates. The paper gives the batch sizes; the decay that they replace is our choice"},
    schedule={"epochs": 90, "batch_size": 8192, "warmup_epochs": 5, "decay": "step", "milestones": (30, 60, 80),
              "factor": 0.1, "mode": "hybrid", "growth_factor": 2, "max_batch_size": 16_384},
    train={"max_batch_per_replica": 256},
)
