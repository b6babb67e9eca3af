"""WRN-16-4 on CIFAR-10, learning rate divided by 5 at epochs 60, 120 and 160: the baseline schedule.

Run      keras-tricks train dont_decay/cifar10_decay --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
"""

from keras_tricks.recipe import About, Augment, Data, Model, Optimizer, Recipe, Schedule

RECIPE = Recipe(
    about=About(paper="arXiv:1711.00489", note="section 5.1; 78,000 updates: an incomplete last batch is dropped",
                follows="paper, section 5; wide-residual-networks, train_cifar.sh"),
    data=Data(source="image_folder", image_size=32, eval_crop="whole", mean=(125.3, 123.0, 113.9),
              std=(63.0, 62.1, 66.7)),
    augment=Augment(crop="pad", pad=4, flip=True),
    model=Model(name="wide_resnet16_4", options={"ghost_batch_size": 128}),
    optimizer=Optimizer(weight_decay=5e-4),
    schedule=Schedule(epochs=200, batch_size=128, base_learning_rate=0.1, base_batch_size=128, decay="step",
                      milestones=(60, 120, 160), factor=0.2),
)
