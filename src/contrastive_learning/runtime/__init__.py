"""The machine under training: device and precision, several processes, signals.

In: the settings `device` and `precision`, tensors to gather, the environment of torchrun. Out: an Accelerator, the rows
of all processes, held signals. It imports nothing of this library but `choices`; every other room may import it.
"""
