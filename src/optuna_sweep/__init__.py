"""The sweep engine behind `hydra/sweeper: optuna`: one Optuna study, run through any launcher, mirrored in MLflow.

In (run.sweep): settings, the task, overrides. Out: trials in the study, files in the sweep's folder, MLflow runs.
Rooms: run uses plan, study and record; plan uses study; record uses no other room. The files beside the rooms are
what several rooms need; of them only trial, the job's side, uses a room (study). It knows nothing of torch or the app.
"""
