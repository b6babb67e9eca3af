"""Wide ResNet of any depth with SkipInit on CIFAR-10 images, 200 epochs: depth 6n + 4, such as 16, 100 or 1000.

Run      keras-tricks train nfnet/skipinit_depth --data-dir cifar10 --set model.options.depth=100
         model.options.norm is skipinit, batch or none; keras-tricks ablate --chain skipinit_depths has all nine
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
Paper    De & Smith 2020, arXiv:2002.10444
Differs  width 2, batch, rate and epochs are our choice: the paper's were not read
"""

from keras_tricks.recipe import About, Augment, Data, Model, Optimizer, Recipe, Schedule

RECIPE = Recipe(
    about=About(paper="arXiv:2002.10444", note="batch, rate and epochs are our choice"),
    data=Data(source="image_folder", image_size=32, eval_crop="whole", mean=(125.3, 123.0, 113.9),
              std=(63.0, 62.1, 66.7)),
    augment=Augment(crop="pad", pad=4, flip=True),
    model=Model(name="wide_resnet", options={"depth": 16, "width_factor": 2, "norm": "skipinit"}),
    optimizer=Optimizer(weight_decay=5e-4, no_bias_decay=True),
    schedule=Schedule(epochs=200, batch_size=128, base_learning_rate=0.02, base_batch_size=128, warmup_epochs=5,
                      decay="cosine"),
)
