"""What a trained judge does with a file of responses: it scores them, and is measured if they have votes.

In: the arguments of the command, a file in any form that `data=votes` reads, the address of a judge. Out: a file of
scores beside it, and tables on the terminal. `command.py` is the entry point; `models.py` finds the judge, `scores.py`
asks it, `unfinished.py` keeps what is done until the file is whole, `files.py` writes it, `measured.py` compares it
with votes. The judge that answers is the one of `contrastive_learning.serving`, which MLflow serves, too.
"""
