"""Texts that threads share as processes share them."""

import threading


class Store:
    """Texts shared by threads. As in the services of TensorFlow and JAX, the first text of a key stays."""

    def __init__(self):
        self.texts, self.changed = {}, threading.Condition()

    def set(self, key, text):
        with self.changed:
            self.texts.setdefault(key, text)
            self.changed.notify_all()

    def get(self, key, seconds):
        with self.changed:
            self.changed.wait_for(lambda: key in self.texts, seconds)
            return self.texts.get(key)
