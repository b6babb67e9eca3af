"""ResNet-50 by torchvision's recipe of 2021, the weights IMAGENET1K_V2: 600 epochs at 176 pixels, evaluated at 224.

Run      keras-tricks train torchvision/resnet50_v2 --data-dir ~/tensorflow_datasets
Source   Vryniotis 2021, pytorch.org/blog/how-to-train-state-of-the-art-models-using-torchvision-latest-primitives:
         every value but those named here
Differs  the average advances at every update with the decay that gives the same memory: there every 32 updates, with
         1 - 2e-5 * (1024 * 32 / 600). Biases are not decayed either. Mixup pairs an image with the reversed batch,
         there with its neighbour. The warmup starts at one step's rate, there at 0.01 of the peak
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule

RECIPE = Recipe(
    about=About(paper="pytorch.org/blog, 2021", expected_top1=80.858, expected_from="the blog, best of 3 runs"),
    data=Data(source="tfds:imagenet2012", image_size=176, test_image_size=224, eval_crop="short_side", short_side=232,
              antialias=True),
    augment=Augment(crop="random_resized", flip=True, trivial_augment=True, random_erasing=0.1, mixup_alpha=0.2,
                    cutmix_alpha=1.0, mix_both="either", repeats=4),
    model=Model(name="resnet50b"),
    loss=Loss(label_smoothing=0.1, smoothing="uniform"),
    optimizer=Optimizer(momentum=0.9, nesterov=False, weight_decay=2e-5, no_bias_decay=True,
                        ema_decay=1 - 2e-5 * (1024 * 32 / 600) / 32),
    schedule=Schedule(epochs=600, batch_size=1024, base_batch_size=1024, base_learning_rate=0.5, warmup_epochs=5,
                      decay="cosine"),
)
