# Hydra executes the public modules of a plugin a second time: defined here, each class would exist twice
from local_slots.failures import JobDied, JobError, JobFailed, JobTimedOut

__all__ = ["JobDied", "JobError", "JobFailed", "JobTimedOut"]
