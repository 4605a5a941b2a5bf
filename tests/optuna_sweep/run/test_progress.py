"""What a person sees of a search while it runs."""

from dataclasses import replace

import optuna
from rich.console import Console

from optuna_sweep.run.progress import Progress
from optuna_sweep.study.ledger import open_ledger, open_patiently
from optuna_sweep.study.storage import storage_lock
from support.plans import planned
from support.sweeps import PROMOTION


def test_the_live_table_shows_paused_trials_with_their_rungs_and_counts_them(tmp_path):
    storage = str(tmp_path / "study.journal")
    with planned(*PROMOTION, "hydra.sweeper.discard=null", "x=1,2,3", "hydra.sweeper.study_name=s") as (plan, _):
        ledger = open_ledger(
            open_patiently(storage, 1.0), storage_lock(storage), "s", ["minimize"], {}, optuna.pruners.NopPruner()
        )
        ledger.add_missing(plan.points)
        for rung, epochs in enumerate((1, 3)):
            trial = ledger.claim(ledger.trials[rung])
            trial.suggest_categorical("x", [1, 2, 3])
            for epoch in range(1, epochs + 1):
                trial.report(0.5 / epoch, epoch)
            ledger.storage.set_trial_user_attr(trial._trial_id, "seconds", 2.0 * epochs)
            ledger.pause(ledger.trials[rung], rung)
        running = ledger.claim(ledger.trials[2])
        running.suggest_categorical("x", [1, 2, 3])
        progress = Progress(plan, 1, live=True)
        console = Console(width=100, force_terminal=False)
        with console.capture() as captured:
            console.print(progress._table(ledger, [2]))
    lines = captured.get().splitlines()
    # of three trials one continues from epoch 1 to 3: five epochs of 2 s, of which four are done
    assert lines[0].strip() == "s  0/3, 2 paused, rungs 2 1, at least 2 s left"
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert rows == [
        ["000", "1", "1", "0.5000", "PAUSED at rung 0"],
        ["001", "2", "3", "0.1667", "PAUSED at rung 1"],
        ["002", "3", "-", "-", "RUNNING"],
    ]


def test_of_a_confirm_stage_no_single_run_is_called_the_best(tmp_path, capsys):
    storage = str(tmp_path / "study.journal")
    with planned("x=1,2", "hydra.sweeper.study_name=s") as (plan, _):
        stage = replace(plan, named=lambda number, params: f"confirm baseline seed={params['x']}")
        ledger = open_ledger(
            open_patiently(storage, 1.0), storage_lock(storage), "s", ["minimize"], {}, optuna.pruners.NopPruner()
        )
        ledger.study.tell(ledger.study.ask(plan.space.distributions), 0.5)
        for each in (plan, stage):
            Progress(each, 1, live=False).finished(ledger, ledger.trials[0])
    search, confirm = capsys.readouterr().err.splitlines()
    assert search.startswith("trial 000 x=")
    assert "best 0.5 (000)" in search
    assert confirm.startswith("confirm baseline seed=")
    assert "best" not in confirm
