"""What people look at: the files of a sweep, the table at its end, plots, and its runs in MLflow.

In: an Outcome, and during the search Optuna's frozen trials. Out: files, and addresses of pages in MLflow's UI.
Uses no other room, so that all of it can be tested with a literal Outcome; only run may import it.
"""
