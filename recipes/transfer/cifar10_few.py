"""ResNet-20-D on 100 images of each of the ten classes of CIFAR-10: fine-tuning with little data.

Run      keras-tricks train transfer/cifar10_few --data-dir few --weights NINE/checkpoints/best.safetensors
         NINE is the folder of a run of `transfer/cifar10_nine`;
         --freeze stem,stage1,stage2 freezes those parts
Data     few/{train,test}/<class>/*.jpg; benchmarks/transfer.py makes it
Result   77.5 to 79.1 % top-1 (n = 3), 35.3 % from random weights; docs/results/transfer
Differs  a demonstration of this package, not a row of a paper: a tenth of the learning rate, decayed to zero
"""

from keras_tricks.recipe import About, load_recipe

RECIPE = load_recipe("bag_of_tricks/cifar10_resnet20d").replace(
    about=About(paper="arXiv:1812.01187", expected_top1=77.48, expected_from="docs/results/transfer", measured=True,
                note="with --weights and nothing frozen; not a row of the paper"),
    optimizer={"weight_decay": 5e-4},
    schedule={"epochs": 30, "batch_size": 50, "base_learning_rate": 0.05, "warmup_epochs": 2},
    train={"evaluate_every": 30},
)
