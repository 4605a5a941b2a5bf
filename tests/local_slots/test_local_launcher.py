"""Real commands on a small app (app), and a look at the processes and files they leave."""

import importlib.util
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from local_slots.devices import num_cores
from support.commands import ROOT, run, start
from support.sweeps import wait_for

pytestmark = pytest.mark.slow

SRC, CONF = ROOT / "src", ROOT / "conf"
APP = Path(__file__).parent / "app"


class App:
    """The app in a folder of its own; its processes are known by their working folder."""

    def __init__(self, folder):
        shutil.copytree(APP, folder, dirs_exist_ok=True)
        self.folder = folder

    def start(self, *overrides):
        return start("app.py", "-m", *overrides, cwd=self.folder, imports="few")

    def run(self, *overrides, module="app.py", **how):
        argv = (*module.split(), "-m", *overrides)
        return run(*argv, cwd=self.folder, **{"timeout": 120, "imports": "few"} | how)

    def stream(self, *overrides, **how):
        """Run with the streaming sweeper; the jobs' results in order."""
        done = self.run("hydra/sweeper=streaming", *overrides, **how)
        assert done.returncode == 0, done.stderr
        results = json.loads((self.folder / "results.json").read_text())
        return [results[str(i)] for i in range(len(results))]

    def facts(self, rank=0):
        name = f"facts_{rank}.json" if rank else "facts.json"
        files = sorted(self.folder.glob(f"sweep/*/{name}"), key=lambda file: int(file.parent.name))
        return [json.loads(file.read_text()) for file in files]

    def log(self, job_idx):
        return (self.folder / "sweep" / str(job_idx) / "job.log").read_text()

    def processes(self):
        """Those alive, their command lines by pid."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(self.folder):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found


@pytest.fixture
def app(tmp_path):
    app = App(tmp_path / "app")
    yield app
    try:
        wait_for(lambda: not app.processes())
    finally:
        for pid in app.processes():
            os.kill(pid, signal.SIGKILL)


def test_each_job_is_a_fresh_process_in_its_own_group(app):
    done = app.run("repeat=0,1,2", "hydra.launcher.num_slots=2", "hydra.launcher.preload=[json.tool,no_such_module]")
    assert done.returncode == 0, done.stderr
    facts = app.facts()
    assert len({job["pid"] for job in facts}) == 3
    assert all(job["group"] == job["pid"] for job in facts)
    assert len({job["server"] for job in facts}) == 1
    assert all(job["json_tool"] for job in facts)
    assert all(job["threads"] == str(max(1, num_cores() // 2)) for job in facts)
    assert (app.folder / "sweep/0/.hydra/config.yaml").exists()
    assert "Traceback" not in done.stderr


def test_a_machine_without_the_calls_of_linux_sweeps_too(app):
    """Python runs sitecustomize at the start of each process: of the command, of the server, of the jobs."""
    machine = app.folder / "machine"
    machine.mkdir()
    (machine / "sitecustomize.py").write_text(
        "import os\nfor name in ('sched_getaffinity', 'sched_setaffinity'):\n    delattr(os, name)\n"
    )
    (app.folder / "check.py").write_text("import os\nassert not hasattr(os, 'sched_getaffinity')\n")
    done = app.run("repeat=0,1", "hydra.launcher.preload=[check]", new_interpreter=True, PYTHONPATH=f"{machine}:{SRC}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert {job["threads"] for job in app.facts()} == {str(os.cpu_count())}


def test_an_app_can_say_what_its_jobs_find_imported(app):
    config = app.folder / "hydra/launcher/local.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("defaults: [local_defaults]\npreload: [json.tool]\n")
    (app.folder / "app.yaml").write_text((app.folder / "app.yaml").read_text().replace("    preload: []\n", ""))
    done = app.run("repeat=0,1")
    assert done.stderr == ""
    assert all(job["json_tool"] for job in app.facts())


def test_what_is_to_be_called_is_called_once_before_the_jobs(app):
    (app.folder / "prepared.py").write_text(
        "import os\ndef prepare():\n    print(os.getpid(), file=open('prepared.log', 'a'))\n"
    )
    done = app.run("repeat=0,1", "hydra.launcher.preload=['prepared:prepare','prepared:no_such_function']")
    assert done.returncode == 0, done.stderr
    assert "hydra.launcher.preload: prepared:no_such_function cannot be imported here: AttributeError" in done.stderr
    (server,) = {job["server"] for job in app.facts()}
    assert (app.folder / "prepared.log").read_text() == f"{server}\n"


def test_what_this_project_preloads_exists():
    preload = OmegaConf.load(CONF / "hydra/launcher/local.yaml").preload
    for entry in preload:
        name, _, function = entry.partition(":")
        assert importlib.util.find_spec(name) is not None
        assert not function or callable(getattr(importlib.import_module(name), function))


def test_the_output_stays_on_the_terminal_where_no_log_is_wanted(app):
    done = app.run("kind=sleep", "repeat=0,1", "hydra.launcher.job_log=null")
    assert done.stdout.count("sleeping 0 s") == 2
    assert not list(app.folder.glob("sweep/*/job.log"))


def test_a_job_that_fails_is_told_with_its_reason_and_the_others_go_on(app):
    reasons = {
        "raise": ("JobFailed", "ValueError: bad thing"),
        "interrupt": ("JobFailed", "the job raised KeyboardInterrupt"),
        "unpicklable": ("JobFailed", "UnpicklableError: no lock travels"),
        "unloadable": ("JobFailed", "UnloadableError: half a message"),
        "lock": (
            "JobFailed",
            "what the job returned cannot be pickled: cannot pickle '_thread.lock' object",
        ),
        "exit": ("JobFailed", "the job called sys.exit(3)"),
        "exit_message": ("JobFailed", "the job called sys.exit('error: no data')"),
        "os_exit": ("JobDied", "its process ended with exit code 0 and no result"),
        "kill": ("JobDied", "its process was killed by SIGKILL, as the system does when memory runs out"),
        "segfault": ("JobDied", "its process was killed by SIGSEGV"),
    }
    kinds = f"kind={','.join(reasons)},facts"
    *failed, fine = app.stream(kinds, "hydra.launcher.num_slots=2", new_interpreter=True)  # its traces are shorter
    for result, (kind, (name, reason)) in zip(failed, reasons.items(), strict=True):
        assert result["status"] == "FAILED"
        assert result["kind"] == name
        assert result["reason"] == reason
        assert result["overrides"] == [f"kind={kind}"]
        assert result["configured"] == kind
    by_kind = dict(zip(reasons, failed, strict=True))
    assert by_kind["raise"]["cause"] == "ValueError"
    assert by_kind["unpicklable"]["cause"] == by_kind["unloadable"]["cause"] == "NoneType"
    assert "raise error\nValueError: bad thing" in by_kind["raise"]["trace"]
    assert "Segmentation fault" in by_kind["segfault"]["trace"]
    assert by_kind["segfault"]["folder"] == str(list(reasons).index("segfault"))
    assert "ValueError: bad thing" in app.log(0)
    assert (fine["status"], fine["value"]["pid"] > 0) == ("COMPLETED", True)


def test_a_job_that_cannot_be_composed_is_a_failed_job(app):
    for result in app.stream("no_such_key=0,1"):
        assert result["kind"] == "JobFailed"
        assert "no_such_key" in result["reason"]


def test_hydras_own_sweeper_ends_with_the_reason_and_if_asked_the_trace(app):
    done = app.run("kind=raise,facts")
    assert done.returncode == 1
    assert "\nValueError: bad thing\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(app.facts()) == 2
    done = app.run("kind=raise,facts", HYDRA_FULL_ERROR="1")
    assert "raise error\nValueError: bad thing" in done.stderr


def test_a_job_past_its_time_is_stopped_even_where_it_ignores_that(app):
    limits = ["hydra.sweeper.timeout_seconds=4", "hydra.launcher.num_slots=2"]
    polite, stubborn = app.stream("kind=tidy,stubborn", *limits, "hydra.launcher.processes_per_trial=2")
    assert polite["kind"] == stubborn["kind"] == "JobTimedOut"
    assert polite["reason"] == "ran for more than 4 s"
    assert (app.folder / "tidied").exists()


def test_data_loader_workers_work_in_a_job(app):
    pytest.importorskip("torch")
    results = app.stream("kind=load", "hydra.launcher.preload=[torch]", "repeat=0,1", imports="all")
    assert [result["value"] for result in results] == [list(range(8))] * 2


def test_each_slot_has_its_own_gpu(app):
    app.stream("repeat=0,1,2,3", CUDA_VISIBLE_DEVICES="4,GPU-7")
    assert {job["gpus"] for job in app.facts()} == {"4", "GPU-7"}


def test_slurms_word_for_no_gpu_gives_two_slots_on_the_processor(app):
    app.stream("repeat=0,1", "hydra.launcher.num_slots=2", CUDA_VISIBLE_DEVICES="NoDevFiles")
    assert {job["gpus"] for job in app.facts()} == {"NoDevFiles"}


def test_gpus_are_found_without_starting_cuda(app):
    smi = app.folder / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\necho GPU-aa\necho GPU-bb\n")
    smi.chmod(0o755)
    app.stream("repeat=0,1,2", CUDA_VISIBLE_DEVICES=None, PATH=f"{smi.parent}:{os.environ['PATH']}")
    assert {job["gpus"] for job in app.facts()} == {"GPU-aa", "GPU-bb"}


def test_a_job_can_have_several_gpus_or_none(app):
    app.stream("repeat=0,1", "hydra.launcher.gpus_per_trial=2", CUDA_VISIBLE_DEVICES="0,1,2,3")
    assert {job["gpus"] for job in app.facts()} == {"0,1", "2,3"}
    assert [job["gpus"] for job in app.facts(rank=1)] == [job["gpus"] for job in app.facts()]  # LOCAL_RANK says which
    app.stream("repeat=0,1", "hydra.launcher.gpus_per_trial=0", CUDA_VISIBLE_DEVICES="0,1")
    assert {job["gpus"] for job in app.facts()} == {""}
    both = ["hydra.launcher.gpus_per_trial=2", "hydra.launcher.processes_per_trial=1"]
    app.stream("repeat=0,1", *both, CUDA_VISIBLE_DEVICES="0,1")
    assert [(job["gpus"], job["torchrun"]["RANK"]) for job in app.facts()] == [("0,1", None)] * 2


def test_two_processes_on_one_gpu_are_refused(app):
    done = app.run("repeat=0,1", "hydra.launcher.processes_per_trial=2", CUDA_VISIBLE_DEVICES="0,1")
    assert done.stderr.startswith("2 processes cannot share 1 GPU: raise hydra.launcher.gpus_per_trial")


def test_a_job_can_be_several_processes_as_torchrun_would_start_them(app):
    results = app.stream("repeat=0,1", "hydra.launcher.processes_per_trial=2", "hydra.launcher.threads_per_trial=4")
    first, second = app.facts(), app.facts(rank=1)
    assert [result["value"]["pid"] for result in results] == [job["pid"] for job in first]
    for rank, jobs in enumerate((first, second)):
        assert [(job["torchrun"]["RANK"], job["torchrun"]["LOCAL_RANK"]) for job in jobs] == [(str(rank),) * 2] * 2
        assert {(job["torchrun"]["WORLD_SIZE"], job["torchrun"]["MASTER_ADDR"]) for job in jobs} == {("2", "127.0.0.1")}
        assert {job["threads"] for job in jobs} == {"2"}
    assert [job["torchrun"]["MASTER_PORT"] for job in first] == [job["torchrun"]["MASTER_PORT"] for job in second]
    assert len({job["group"] for job in (*first, *second)}) == 4
    assert "app.log" in {file.name for file in app.folder.glob("sweep/0/*")}


def test_whichever_process_of_a_job_fails_ends_the_job_and_says_why(app):
    kinds, ranks = ("kill", "os_exit", "raise", "exit"), ("[0]", "[1]")
    overrides = [f"kind={','.join(kinds)}", f"ranks={','.join(ranks)}", "seconds=60"]
    results = app.stream(*overrides, "hydra.launcher.processes_per_trial=2", "hydra.launcher.num_slots=2")
    ends = {
        "kill": ("JobDied", "its process of rank {} was killed by SIGKILL, as the system does when memory runs out"),
        "os_exit": ("JobDied", "its process of rank {} ended with exit code 0 and no result"),
        "raise": ("JobFailed", "ValueError: bad thing"),
        "exit": ("JobFailed", "the job called sys.exit(3)"),
    }
    expected = [(kind, reason.format(rank)) for kind, reason in (ends[kind] for kind in kinds) for rank in range(2)]
    assert [(result["kind"], result["reason"]) for result in results] == expected


def test_where_all_processes_of_a_job_fail_the_first_one_says_why(app):
    """It alone may be slow to end, as it has a run to close."""
    (result,) = app.stream("kind=raise", "ranks=[1]", "others=late", "hydra.launcher.processes_per_trial=2")
    assert (result["kind"], result["reason"]) == ("JobFailed", "TimeoutError: later")


def test_more_slots_than_gpus_are_refused_in_one_line_unless_asked_for(app):
    overrides = ["repeat=0,1,2", "hydra.launcher.num_slots=3"]
    done = app.run(*overrides, CUDA_VISIBLE_DEVICES="0,1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        "3 slots of 1 GPU need more than the 2 that are visible: "
        "lower hydra.launcher.num_slots, or let trials share with hydra.launcher.slots_per_gpu=2"
    )
    assert "Traceback" not in done.stderr
    assert app.facts() == []
    app.stream(*overrides, "hydra.launcher.slots_per_gpu=2", CUDA_VISIBLE_DEVICES="0,1")
    assert {job["gpus"] for job in app.facts()} == {"0", "1"}


TORCH = """
GIB = 1 << 30
class cuda:
    is_initialized = lambda: True
    mem_get_info = lambda: (8 * GIB, 9 * GIB)
    memory_reserved = max_memory_reserved = lambda: GIB
set_num_threads = lambda number: None
"""


def test_with_auto_the_first_job_runs_by_itself_and_then_as_many_as_fit(app):
    """On a module with torch's name: of 9.6 GiB a job needs 1.85, so five fit, but three are the most wanted."""
    (app.folder / "torch.py").write_text(TORCH)
    options = ["num_slots=3", "slots_per_gpu=auto", "multi_process_service=false", "preload=[torch]"]
    jobs = ["kind=facts,outlast", "repeat=0,1"]  # the third ends only when the fourth has begun
    app.stream(*jobs, *(f"hydra.launcher.{option}" for option in options), CUDA_VISIBLE_DEVICES="0")
    first, *others = app.facts()
    assert {job["gpus"] for job in (first, *others)} == {"0"}
    assert first["threads"] == str(num_cores())
    assert [job["threads"] for job in others] == [str(max(1, num_cores() // 3))] * 3
    assert all(job["at"] > first["at"] for job in others)


@pytest.mark.parametrize(
    ("setting", "least"),
    [
        ("num_slots=0", 1),
        ("slots_per_gpu=0", 1),
        ("threads_per_trial=0", 1),
        ("gpus_per_trial=-1", 0),
        ("processes_per_trial=0", 1),
    ],
)
def test_senseless_numbers_are_refused(app, setting, least):
    done = app.run("repeat=0,1", f"hydra.launcher.{setting}")
    name, _, value = setting.partition("=")
    assert done.stderr.splitlines()[0] == f"hydra.launcher.{name} must be at least {least}, got {value}"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(("kind", "processes"), [("sleep", 1), ("stubborn", 2)])
def test_no_process_outlives_the_command(app, signum, kind, processes):
    jobs = [f"kind={kind}", "seconds=600", "repeat=0,1,2", f"hydra.launcher.processes_per_trial={processes}"]
    parent = app.start(*jobs, "hydra.launcher.num_slots=2")
    wait_for(lambda: len(app.facts()) == 2)
    parent.send_signal(signum)
    assert parent.wait(60) != 0
    wait_for(lambda: not app.processes())
    assert len(app.facts()) == 2


def test_no_process_outlives_a_command_that_ends_while_the_server_imports(app):
    (app.folder / "slow.py").write_text("import time, pathlib\npathlib.Path('importing').touch()\ntime.sleep(600)\n")
    parent = app.start("repeat=0,1", "hydra.launcher.preload=[slow]")
    wait_for((app.folder / "importing").exists)
    parent.kill()
    parent.wait()
    wait_for(lambda: not app.processes())


def test_the_leftovers_of_a_job_go_with_it(app):
    app.stream("kind=sleep", "repeat=0,1")
    assert "sleeping 0 s" in app.log(0)
    wait_for(lambda: not app.processes())


def test_a_free_slot_is_filled_at_once(app):
    """The first job ends only after the last has started, in the slot that two others have left."""
    results = app.stream("kind=outlast,facts,resolve,sleep", "hydra.launcher.num_slots=2")
    assert [result["status"] for result in results] == ["COMPLETED"] * 4


def test_a_job_starts_for_a_fraction_of_a_second_of_the_processor(app):
    app.stream("repeat=0,1,2")
    assert min(job["cpu_seconds"] for job in app.facts()) < 0.5


def test_a_module_of_a_package_and_a_resolver_of_the_command_reach_the_jobs(app):
    package = app.folder / "pack"
    package.mkdir()
    shutil.move(app.folder / "app.py", package / "app.py")
    shutil.move(app.folder / "app.yaml", package / "app.yaml")
    done = app.run("hydra/sweeper=streaming", "kind=resolve,facts", module="-m pack.app")
    assert done.returncode == 0, done.stderr
    assert json.loads((app.folder / "results.json").read_text())["0"]["value"] == 42


def test_a_task_function_without_a_name_reaches_the_jobs(app):
    call = "hydra.main(config_path='.', config_name='app', version_base='1.3')(lambda config: 7)()"
    source = (app.folder / "app.py").read_text().replace("    main()\n", f"    {call}\n")
    (app.folder / "app.py").write_text(source)
    (result,) = app.stream("repeat=0")
    assert result["value"] == 7


def test_jobs_go_on_with_a_new_server_where_the_first_has_died(app):
    died, fine = app.stream("kind=kill_server,facts")
    assert died["kind"] == "JobDied"
    assert fine["status"] == "COMPLETED"


def test_an_app_without_a_main_guard_is_told_so(app):
    source = (app.folder / "app.py").read_text()
    (app.folder / "app.py").write_text(source.partition("if __name__")[0] + "main()\n")
    done = app.run("repeat=0,1")
    assert done.returncode == 1
    assert 'if __name__ == "__main__"' in done.stderr
    assert app.facts() == []
