"""Runs a plan: slots, the loop over trials, limits, the confirm stage, and the end of a sweep.

In: settings, Hydra's context and the task (sweep.sweep). Out: a finished study, and an Outcome for record.
Uses all other rooms; only the plugin imports it. The states of a trial:

    WAITING -claimed-> RUNNING -its last job ends-> COMPLETE | PRUNED | FAIL
    RUNNING -pauses at a rung-> PAUSED (WAITING for Optuna, with the rung in an attribute) -promoted-> RUNNING
    PAUSED -the search ends, or too many are paused-> PRUNED
    FAIL, if its process died     -> a new WAITING trial with its parameters, up to max_retries times
    RUNNING, if its sweep is gone -> the next command recovers it: it takes the results that the jobs have left, or
                                     puts it back to WAITING (continue_interrupted), or FAIL and a new WAITING trial
"""
