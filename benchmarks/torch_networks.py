"""Networks for 32-pixel images in PyTorch, which timm lacks: a side of `train_step.py` and `airbench_torch.py`.

airbench94        Jordan 2024, arXiv:2404.00498
wide_resnet16_4   Zagoruyko and Komodakis 2016, arXiv:1605.07146, as `kt.models.WideResNet16_4`
resnet20          He et al. 2015, section 4.2, as `kt.models.ResNet20`
"""

import math

from torch import nn
from torch.nn import functional


class Airbench(nn.Module):
    """A whitening layer and six convolutions. Input `(batch, 3, 32, 32)`, output `(batch, classes)`."""

    def __init__(self, classes=10, widths=(64, 256, 256)):
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad_(False)
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        channels = 24
        for width in widths:
            for inputs in (channels, width):
                convolution = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
                nn.init.dirac_(convolution.weight[: convolution.in_channels])
                norm = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
                norm.weight.requires_grad_(False)
                self.convolutions.append(convolution)
                self.norms.append(norm)
            channels = width
        self.head = nn.Linear(channels, classes, bias=False)
        nn.init.uniform_(self.head.weight, -math.sqrt(3.0), math.sqrt(3.0))

    def forward(self, x):
        x = functional.gelu(self.whiten(x))
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = convolution(x)
            if i % 2 == 0:
                x = functional.max_pool2d(x, 2)
            x = functional.gelu(norm(x))
        x = functional.max_pool2d(x, 3).flatten(1)
        return self.head(x) / x.shape[1]


class WideBlock(nn.Module):
    """Two pre-activated 3x3 convolutions with a shortcut."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        same = inputs == width and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, width, 1, stride, bias=False)

    def forward(self, x):
        active = functional.relu(self.norm1(x))
        x = x if self.shortcut is None else self.shortcut(active)
        return x + self.conv2(functional.relu(self.norm2(self.conv1(active))))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalization; where the size changes, a projection."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        same = inputs == width and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def groups(block, widths, blocks):
    """Three groups of blocks; the second and the third halve the image."""
    layers, inputs = [], 16
    for group, width in enumerate(widths):
        for index in range(blocks):
            layers.append(block(inputs, width, 2 if group and not index else 1))
            inputs = width
    return layers


def wide_resnet16_4(classes):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), *groups(WideBlock, (64, 128, 256), 2), nn.BatchNorm2d(256), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, classes))


def resnet20(classes):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *groups(BasicBlock, (16, 32, 64), 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


NETWORKS = {"airbench94": Airbench, "wide_resnet16_4": wide_resnet16_4, "resnet20": resnet20}
