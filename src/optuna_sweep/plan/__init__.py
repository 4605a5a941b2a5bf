"""What a sweep will do, decided and checked before the first trial.

In: settings and the command line's overrides. Out: a Plan, with the space, the objective and the jobs of each trial.
Uses study, for names and the trials that a study has; only run may import it.
"""
