"""What a command line plans, before anything is run or stored."""

import pytest
from hydra.errors import ConfigCompositionException

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.preview import announcement, print_preview
from support.plans import planned
from support.sweeps import PROMOTION

INTERVAL = "x=interval(0,1)"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "points", "num_trials"),
    [
        (["x=1,2", "y=3,4"], [{"x": x, "y": y} for x in (1, 2) for y in (3, 4)], 4),
        (["x=1,2,3", "hydra.sweeper.n_trials=3"], [{"x": 1}, {"x": 2}, {"x": 3}], 3),
        (["x=1,2,3", "hydra.sweeper.n_trials=2"], None, 2),
        (["x=1,2,3", "hydra.sweeper.n_trials=2", "hydra/sweeper/sampler=grid"], [{"x": 1}, {"x": 2}], 2),
        (["x=int(interval(1,3))"], [{"x": 1}, {"x": 2}, {"x": 3}], 3),
        ([INTERVAL], None, 20),
        ([INTERVAL, "hydra.sweeper.n_trials=7"], None, 7),
        (["x=1,2", "hydra.sweeper.custom_search_space=shlex.join"], None, 20),
        ([], [{}], 1),
    ],
)
def test_a_space_with_no_more_points_than_trials_is_a_grid(overrides, points, num_trials):
    with planned(*overrides) as (plan, _):
        assert (plan.points, plan.num_trials) == (points, num_trials)


@pytest.mark.parametrize(
    ("overrides", "sampler"),
    [
        ([INTERVAL], "GPSampler"),
        ([INTERVAL, "name=a,b"], "TPESampler"),
        ([INTERVAL, "kind=pair", "hydra.sweeper.direction=[minimize,maximize]"], "TPESampler"),
        ([INTERVAL, "hydra/sweeper/sampler=random"], "RandomSampler"),
    ],
)
def test_auto_is_a_gaussian_process_for_few_numbers_and_one_objective(overrides, sampler):
    with planned(*overrides) as (plan, _):
        assert plan.sampler == f"optuna.samplers.{sampler}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["x=1,2", "hydra.sweeper.study_name=../other"],
            "study_name must be a name, as folders are called, not a path",
        ),
        (
            ["x=1,2", "hydra.sweeper.race=true"],
            "hydra.sweeper.race needs several hydra.sweeper.seeds, and one objective",
        ),
        (["x=1,2", "hydra.sweeper.choose=luck"], "hydra.sweeper.choose must be value or estimate, got luck"),
        ([INTERVAL, "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials must be at least 1, got 0"),
        ([INTERVAL, "hydra/sweeper/sampler=grid"], "sampler=grid needs choices or ranges, not intervals"),
        (["x=1,2", "hydra.sweeper.enqueue=[{y:1}]"], "enqueue: y is not swept; swept are x"),
        (["x=1,2", "hydra.sweeper.report=app.repotr"], "report: "),
        (["x=1,2", "hydra.sweeper.custom_search_space=nowhere.at_all"], "custom_search_space: "),
        (["x=1,2", "hydra.sweeper.direction=[minimize,minimize]", "hydra.sweeper.target=1"], "need one objective"),
        (
            ["x=1,2", "hydra.sweeper.direction=[minimize,minimize]", "hydra/sweeper/pruner=median"],
            "Optuna cannot prune for several objectives",
        ),
    ],
)
def test_what_cannot_work_is_refused(overrides, message):
    with pytest.raises(SweepError, match=message), planned(*overrides):
        pass


def test_a_misspelt_key_is_found_whichever_value_comes_first():
    with pytest.raises(ConfigCompositionException, match="Could not override 'xx'"), planned("xx=1,2"):
        pass


def test_the_default_name_depends_on_what_is_compared():
    names = []
    for overrides in (["x=1,2"], ["x=1,2"], ["x=1,2", "y=5"], ["x=1,2,3"], ["x=1,2", "hydra.sweeper.metric=loss"]):
        with planned(*overrides) as (plan, _):
            names.append(plan.study_name)
            assert plan.sweep_dir.name == plan.study_name
    assert names[0] == names[1]
    assert len(set(names)) == 4
    assert all(name.startswith("config-") for name in names)


def test_what_the_trials_of_a_study_share():
    with planned("x=1,2", "y=5", "hydra.sweeper.seeds=[1,2]", "hydra.sweeper.ignored_keys=[loader,epochs]") as (
        plan,
        _,
    ):
        identity = plan.identity("data-1")
    config = identity.pop("config")
    assert identity == {
        "space": {"x": "1, 2"},
        "metric": "value",
        "direction": "minimize",
        "data": "data-1",
        "seeds": "1, 2",
    }
    assert config["y"] == 5
    assert not {"x", "loader.num_workers", "epochs"} & config.keys()


def test_a_starting_point_loses_the_keys_that_the_command_line_fixes():
    with planned(INTERVAL, "y=interval(0,1)", "y=0.5", "hydra.sweeper.enqueue=[{x:0.1,y:0.2}]") as (plan, _):
        assert plan.settings.enqueue == [{"x": 0.1}]
        assert plan.space.fixed == ("y=0.5",)


def hidden(job):
    return dict(line.split("=", 1) for line in job.overrides if line.startswith("hydra."))


def test_a_job_has_the_tasks_overrides_then_the_hidden_ones():
    with planned("x=1,2", "y=5", "hydra.sweeper.study_name=s", "+hydra.sweeper.labels.x='λ'") as (plan, _):
        job = plan.job(7, {"x": 2}, 0, parent="abc", alarm=False)
    assert job.overrides[:2] == ("y=5", "x=2")
    assert job.folder == plan.sweep_dir / "007"
    assert (job.trial_number, job.index, job.seed, job.is_retry) == (7, 7, None, False)
    assert hidden(job) == {
        "hydra.sweep.dir": f"'{plan.sweep_dir}'",
        "hydra.sweep.subdir": "'007'",
        "hydra.sweeper.study_name": "'s'",
        "hydra.sweeper.trial_number": "7",
        "hydra.sweeper.trial_name": "'007 λ=2'",
        "hydra.sweeper.trial_dir": "'007'",
        "hydra.sweeper.trial_reports": "true",
        "hydra.sweeper.trial_continues": "false",
        "hydra.sweeper.trial_alarm": "null",
        "hydra.sweeper.parent_run_id": "'abc'",
        "hydra.sweeper.storage": f"'{plan.storage}'",
    }


def test_each_seed_is_a_job_of_its_own_and_only_the_first_reports():
    timeout = "hydra.sweeper.trial_timeout=9"
    with planned("x=1,2", "hydra.sweeper.seeds=[4,8]", timeout) as (plan, _):
        jobs = [plan.job(3, {"x": 2}, index, parent=None, alarm=True, continues=True) for index in (0, 1)]
    assert [(job.index, job.seed, job.folder.name) for job in jobs] == [(6, 4, "seed_4"), (7, 8, "seed_8")]
    assert [job.overrides[1] for job in jobs] == ["seed=4", "seed=8"]
    assert [hidden(job)["hydra.sweeper.trial_reports"] for job in jobs] == ["true", "false"]
    assert hidden(jobs[1])["hydra.sweeper.trial_name"] == "'003 x=2 seed=8'"
    assert {hidden(job)["hydra.sweeper.trial_alarm"] for job in jobs} == {"9.0"}
    assert {hidden(job)["hydra.sweeper.trial_continues"] for job in jobs} == {"true"}


def test_names_for_tables():
    with planned("x=1,2", "+hydra.sweeper.labels.x='λ'") as (plan, _):
        assert plan.label(12, {"x": 0.123456, "+loss.other": "a"}) == "012 λ=0.123 other=a"


def test_a_sweep_says_first_what_it_will_do():
    confirm = (
        "hydra.sweeper.confirm.top_k=1",
        "hydra.sweeper.confirm.num_seeds=5",
        "hydra.sweeper.confirm.baseline={x:9}",
    )
    early = "hydra.sweeper.confirm.stop_early=true"
    with planned("x=1,2,3", "hydra.sweeper.study_name=s", "hydra.sweeper.seeds=[1,2]", *confirm, early) as (plan, _):
        assert announcement(plan, 2) == [
            "study s: 3 trials x 2 seeds by a grid, to minimize value; 2 are done",
            "  x: 1, 2, 3",
            "then at most 10 runs of 2 configurations to confirm (none with hydra.sweeper.confirm.num_seeds=0)",
        ]


def test_it_is_said_whether_a_race_can_drop_anything():
    race = ("hydra.sweeper.seeds=[1,2,3]", "hydra.sweeper.race=true")
    with planned("x=1,2,3,4,5", *race) as (plan, _):
        never = "the race can drop none of 5 configurations: it begins when 5 have all seeds"
        assert announcement(plan, 0)[-1] == never
    with planned("x=1,2,3,4,5,6", *race) as (plan, _):
        assert announcement(plan, 0)[-1] == "the race begins when 5 configurations have all seeds"


def test_a_dry_run_prints_the_plan(capsys):
    confirm = ("hydra.sweeper.confirm.top_k=2", "hydra.sweeper.confirm.num_seeds=3")
    with planned(INTERVAL, "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=9", *confirm) as (plan, _):
        print_preview(plan)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "study s, minimize value; nothing is run or stored",
        "  x: 0.0 to 1.0",
        "9 trials by GPSampler; the first 5:",
    ]
    assert lines[-2:] == [
        "  4 more depend on the results",
        "estimate: 9 trials x 1 seeds = 9 runs; then 6 runs of 2 configurations to confirm "
        "(none with hydra.sweeper.confirm.num_seeds=0)",
    ]


def test_it_is_said_where_trials_pause(capsys):
    where = "trials pause after the epochs 2, 6, 18, … unless they are among the best 1/3 there"
    pausing = (*PROMOTION, "hydra.sweeper.discard=null", "hydra.sweeper.pruner.min_resource=2")
    with planned("x=1,2", *pausing, "hydra.sweeper.report_key=y") as (plan, _):  # an option that is not null
        assert where.replace("epochs", "reports") in announcement(plan, 0)
    with planned("x=1,2", *pausing) as (plan, _):
        assert where in announcement(plan, 0)
        print_preview(plan)
    assert capsys.readouterr().out.splitlines()[-1] == f"estimate: 2 trials x 1 seeds = 2 runs; {where}"
