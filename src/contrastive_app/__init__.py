"""The application: what `python -m src.train` and the commands of an installed wheel are made of.

In: a composed Hydra configuration. Out: the objective of one training run, its output folder, its record; for a sweep,
its report. It joins the library with the sweep engine; both know nothing of it, and nobody imports it but the entry
points and the configuration (`contrastive_app.sweep_checks.preflight`, `contrastive_app.report.report`).
"""
