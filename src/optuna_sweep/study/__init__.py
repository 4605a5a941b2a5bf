"""The Optuna study, the single truth about the trials: its storage, its lock, who owns a trial, what jobs report.

In: the address of a storage, the name and the identity of a study. Out: a Ledger to claim and finish trials with.
Uses no other room; plan, run and the job's side (optuna_sweep.trial) may import it.
"""
