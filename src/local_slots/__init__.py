"""The launch engine: runs Hydra jobs in slots on this machine, each job in fresh processes.

In: Hydra's context, the task function, each job's overrides. Out: a JobReturn per job, whatever became of its process.
`pool` (slots, limits) starts `process` (the handle), whose other end is `job`, forked from `server` after `preload`.
`devices` divides GPUs and threads among slots, `sharing` says how many jobs fit on a GPU, `mps` lets them run on it at
the same time. It imports Hydra and nothing of Optuna, MLflow, torch or this project's other packages;
`hydra_plugins.local_launcher` imports it.
"""
