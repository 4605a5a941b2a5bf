"""No message prints a password: each form of address through each failure, on the real commands.

The commands run one after another in one process of their own, because to start each one anew would take minutes.
"""

import json

import pytest

from contrastive_app.secrets import append
from support.commands import run

COMMANDS = """
import contextlib, io, json, os, sys, traceback
from hydra.core.global_hydra import GlobalHydra
from contrastive_app.train import main

with open(sys.argv[1], encoding="utf-8") as file:
    commands = json.load(file)
for argv in commands:
    printed = io.StringIO()
    sys.argv = ["train", *argv]
    os.environ.pop("HYDRA_FULL_ERROR", None)  # which main sets
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main()
        except SystemExit as error:
            print(error.code, file=sys.stderr)  # as the interpreter does
        except BaseException:
            traceback.print_exc()
    GlobalHydra.instance().clear()
    print(json.dumps([argv, printed.getvalue()]))
"""
ADDRESSES = {
    "http": "http://kim:xyzzy@127.0.0.1:9",
    "https": "https://kim:xyzzy@127.0.0.1:9/mlflow",
    "encoded": "http://kim:xy%2Fzzy%40@127.0.0.1:9",
    "spaces": "'http://kim:xyz zy@127.0.0.1:9'",
    "user only": "https://xyzzytoken@127.0.0.1:9",
    "query": "'https://127.0.0.1:9/mlflow?token=xyzzy'",
    "key in the query": "'https://127.0.0.1:9/mlflow?x=1&api_key=xyzzy'",
    "postgresql": "postgresql://kim:xyzzy@127.0.0.1:9/db",
    "password in the query": "'postgresql://127.0.0.1:9/db?user=kim&password=xyzzy'",
    "slashes": "postgresql://kim:xy/zzy@127.0.0.1:9/db",
    "mysql": "mysql+pymysql://kim:xyzzy@127.0.0.1:9/db",
    "mssql": "'mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BODBC%7D%3BPWD%3Dxyzzy'",
    "unknown": "ftp://kim:xyzzy@127.0.0.1",
    "no port": "http://kim:xyzzy@127.0.0.1:port",
    "from the environment": "${oc.env:STORE_OF_THE_TEST}",
}
STORAGES = {
    "url": "postgresql://kim:xyzzy@127.0.0.1:9/db",
    "encoded": "postgresql://kim:xy%2Fzzy@127.0.0.1:9/db",
    "mapping": "{_target_:optuna.storages.RDBStorage,url:'postgresql://kim:xyzzy@127.0.0.1:9/db'}",
    "redis": "redis://:xyzzy@127.0.0.1:9/0",
    "journal in redis": "{_target_:optuna.storages.JournalStorage,log_storage:"
    "{_target_:optuna.storages.journal.JournalRedisBackend,url:'redis://:xyzzy@127.0.0.1:9/0'}}",
}


UNJUDGED = ["data=votes", "data.path=unjudged.jsonl"]  # so that no command trains, whatever it does before
SWEEP = ["-m", "loss.temperature=0.1,0.2", *UNJUDGED]


def uses(option, address):
    """A command in which it depends on the address what is said."""
    return [*(UNJUDGED if option == "tracking.uri" else SWEEP), f"{option}={address}"]


def mistakes(option, address):
    """Commands with a mistake beside the address, or in it: Hydra shows the override, or the whole configuration."""
    given = f"{option}={address}"
    yield ["-m", f"{option}={address},{address}", *UNJUDGED, "hydra.sweeper.dry_run=true"]
    yield ["-m", "loss.temperature=interval(0.2,0.1)", *UNJUDGED, given]
    for mistake in ("losss=supcon", "loss.temperatur=0.1", "loss=nonesuch", "trainer.epochs=many", "-x"):
        yield [given, *UNJUDGED, mistake]
    for wrong in (f"{option}i={address}", f"+{option}.more={address}", f"{option}='{address}", f"{option}={address}]"):
        yield [wrong, *UNJUDGED]
    yield [f"~{option}={address}", *UNJUDGED]
    yield ["--cfg", "all", given]
    yield ["--info", "all", given]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """What each command has printed."""
    folder = tmp_path_factory.mktemp("secrets")
    commands = [uses("tracking.uri", address) for address in ADDRESSES.values()]
    commands += [uses("hydra.sweeper.storage", address) for address in STORAGES.values()]
    every = enumerate((*ADDRESSES.values(), *STORAGES.values()))
    commands += [["--cfg", "job", *(f"+address_{number}={address}" for number, address in every)]]
    commands += [["--help", f"tracking.uri={ADDRESSES['spaces']}"]]
    commands += [[*SWEEP, f"tracking.uri={ADDRESSES['spaces']}"]]
    commands += mistakes("tracking.uri", ADDRESSES["spaces"])
    commands += mistakes("hydra.sweeper.storage", STORAGES["url"])
    (folder / "unjudged.jsonl").write_text('{"response": "no votes"}\n' * 40)
    (folder / "run_all.py").write_text(COMMANDS)
    (folder / "commands.json").write_text(json.dumps(commands))
    address = {"STORE_OF_THE_TEST": "http://kim:xyzzy@127.0.0.1:9"}
    done = run(folder / "run_all.py", folder / "commands.json", cwd=folder, check=True, **address)
    ended = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[[")]
    assert [argv for argv, _ in ended] == commands, done.stderr[-2000:]
    assert sum("***" in printed for _, printed in ended) > len(ended) / 2  # the addresses were seen
    return ended


@pytest.mark.slow
def test_no_command_prints_a_password_or_a_trace(ended):
    leaks = [argv for argv, printed in ended if "xyz" in printed or "zzy" in printed]
    assert leaks == []
    traces = [argv for argv, printed in ended if "Traceback" in printed or "object has no attribute" in printed]
    assert traces == []


def test_what_is_kept_of_the_output_holds_no_credentials(tmp_path):
    for line in ("Recorded: run 1 in http://kim:xyzzy@127.0.0.1:9\n", "epoch 1/2\n"):
        append(tmp_path / "train.log", line)
    assert (tmp_path / "train.log").read_text() == "Recorded: run 1 in http://***@127.0.0.1:9\nepoch 1/2\n"
