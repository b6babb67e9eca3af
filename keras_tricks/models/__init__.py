"""The model zoo: one file per published family, one line per variant, and a registry of names."""

from keras_tricks.models.airbench import Airbench94, AirbenchNet
from keras_tricks.models.applications import InceptionV3, MobileNet
from keras_tricks.models.efficientnet_rs import (
    EfficientNetRS,
    EfficientNetRSB0, EfficientNetRSB1, EfficientNetRSB2, EfficientNetRSB3,
    EfficientNetRSB4, EfficientNetRSB5, EfficientNetRSB6, EfficientNetRSB7,
)
from keras_tricks.models.feature_pyramid import FeaturePyramid, feature_pyramid
from keras_tricks.models.fixup_resnet import FixupResNet, FixupResNet50
from keras_tricks.models.inception_resnet_v2 import InceptionResNet, InceptionResNetV2
from keras_tricks.models.nf_resnet import (
    NFResNet,
    NFResNet50, NFResNet101, NFResNet152, NFResNet200, NFResNet288,
    NFResNetCifar,
)
from keras_tricks.models.nfnet import (
    NFNet,
    NFNetF0, NFNetF1, NFNetF2, NFNetF3, NFNetF4, NFNetF5, NFNetF6, NFNetF7,
)
from keras_tricks.models.registry import ModelInfo, arguments_of, create_model, list_models, model_info
from keras_tricks.models.resnet import (
    ResNet,
    ResNet18, ResNet18B, ResNet18C, ResNet18D,
    ResNet20, ResNet20D,
    ResNet32, ResNet32D,
    ResNet34, ResNet34B, ResNet34C, ResNet34D,
    ResNet44, ResNet44D,
    ResNet50, ResNet50B, ResNet50C, ResNet50D,
    ResNet56, ResNet56D,
    ResNet101, ResNet101B, ResNet101C, ResNet101D,
    ResNet152, ResNet152B, ResNet152C, ResNet152D,
    ResNet200, ResNet200B, ResNet200C, ResNet200D,
    ResNeXt50_32x4d, ResNeXt101_32x4d,
    SEResNet50, SEResNet50D, SEResNet101D, SEResNet152D,
    SEResNeXt50_32x4d, SEResNeXt101_32x4d,
)
from keras_tricks.models.resnet_rs import (
    ResNetRS,
    ResNetRS26, ResNetRS50, ResNetRS101, ResNetRS152, ResNetRS200, ResNetRS270, ResNetRS300, ResNetRS350, ResNetRS400,
    ResNetRS420,
)
from keras_tricks.models.skipinit_resnet import SkipInitResNet, SkipInitResNet50, SkipInitResNetCifar
from keras_tricks.models.wide_resnet import (
    WideResNet,
    WideResNet16_1, WideResNet16_4, WideResNet16_8,
    WideResNet28_2, WideResNet28_10,
    WideResNet40_4,
    WideResNetAnyDepth,
)
