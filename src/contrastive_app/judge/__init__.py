"""What a trained judge does with a file of responses: it scores them, and is measured if they have votes.

In: the arguments of the command, a file in any form that `data=votes` reads, the address of a judge. Out: a file of
scores beside it, lists of what to look at, and tables on the terminal. `start.py` is the entry point, and `command.py`
the command; `models.py` finds the judge, `scores.py` asks it, `whole_file.py` scores a file, `unfinished.py` keeps what
is done until then, `files.py` writes it; `measured.py` and `annotators.py` compare it and the annotators with votes;
`lists.py` says what to ask again and what may be wrong, and `annotation_tools.py` writes that for such tools;
`compared.py` compares two judges; `recorded.py` reads what a run has recorded, so that its record can hold such lists,
and the report of a sweep can compare its judges, without asking them again. `export.py` writes a judge as a folder for
other libraries, with the `card.py` that tells of its run, which `origin.py` finds, and the `speed.py` that it has
there. `scorer.py` is for MLflow's evaluations. The judge that answers is the one of `contrastive_learning.serving`,
which MLflow serves, too.
"""
