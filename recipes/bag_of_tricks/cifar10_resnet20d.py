"""ResNet-20-D on CIFAR-10 images with the Bag of Tricks, sized for a laptop CPU: 20 epochs.

Run      keras-tricks train bag_of_tricks/cifar10_resnet20d --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
Result   87.18 % top-1 (n = 1) in 39 minutes on 2 shared cores; docs/results/cifar10_resnet20d
"""

from keras_tricks.recipe import About, Augment, Data, Model, Optimizer, Recipe, Schedule

RECIPE = Recipe(
    about=About(paper="arXiv:1812.01187", expected_top1=87.18, expected_from="docs/results/cifar10_resnet20d",
                measured=True, note="tricks of the paper at laptop size; not a row of the paper"),
    data=Data(source="image_folder", image_size=32, eval_crop="whole", mean=(125.3, 123.0, 113.9),
              std=(63.0, 62.1, 66.7)),
    augment=Augment(crop="pad", pad=4, flip=True),
    model=Model(name="resnet20d", zero_gamma=True),
    optimizer=Optimizer(weight_decay=5e-4, no_bias_decay=True),
    # 0.2 for 128 images: short runs need a high peak and a full cosine.
    schedule=Schedule(epochs=20, batch_size=128, base_learning_rate=0.4, warmup_epochs=1, decay="cosine"),
)
