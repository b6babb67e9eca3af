"""`python -m keras_tricks` is `keras-tricks`."""

from keras_tricks.cli import main

main()
