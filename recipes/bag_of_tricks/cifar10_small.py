"""ResNet-20 on 10,000 CIFAR-10 images of 16 pixels, 8 epochs: the baseline of the ablations at laptop size.

Run      keras-tricks ablate bag_of_tricks/cifar10_small --chain bag_of_tricks_table_4 --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
Paper    He et al. 2018, arXiv:1812.01187, tables 4 and 6
Differs  everything is smaller: data set, images, network and epochs
Results  docs/results/ablation
"""

from keras_tricks.recipe import About, Augment, Data, Model, Optimizer, Recipe, Schedule, Train

RECIPE = Recipe(
    about=About(paper="arXiv:1812.01187", note="without the tricks of the paper; not one of its rows"),
    data=Data(source="image_folder", train_images=10_000, image_size=16, eval_crop="whole",
              mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7)),
    augment=Augment(crop="pad", pad=2),
    model=Model(name="resnet20"),
    optimizer=Optimizer(weight_decay=5e-4),
    # The paper's learning rate, 0.1 for 256 images, is for 600,000 updates. These runs have hundreds: 0.1 for 64.
    schedule=Schedule(epochs=8, batch_size=64, base_learning_rate=0.1, base_batch_size=64, decay="step",
                      milestones=(4, 6)),
    train=Train(evaluate_every=8, eval_batch_size=500, deterministic=False),
)
