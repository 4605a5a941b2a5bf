"""The launch engine: runs Hydra jobs in slots on this machine, each job in fresh processes.

In: Hydra's context, the task function, each job's overrides. Out: a JobReturn per job, whatever became of its process.
`pool` (slots, limits) starts `process` (the handle), whose other end is `job`, forked from `server` after `preload`.
Knows Hydra and nothing of Optuna, MLflow, torch or this project's other packages; `hydra_plugins.local_launcher`
imports it.
"""
