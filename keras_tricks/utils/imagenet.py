"""ImageNet's pixel statistics from the Bag of Tricks (arXiv:1812.01187, section 2.1): RGB, 0-255 scale."""

MEAN = (123.68, 116.779, 103.939)
STD = (58.393, 57.12, 57.375)
