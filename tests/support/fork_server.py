"""The process from which commands under test are forked, so that they find everything that they import imported.

python fork_server.py FD IMPORTS, where FD is a socket and IMPORTS `all` or `few`. Each message there starts a command;
its three descriptors are the command's stdout, its stderr, and a socket on which the command's number is sent at once
and its exit code at its end.
A command is a process in a session of its own; it starts with the folder, environment and arguments of the message,
and ends as the interpreter ends.
"""

import atexit
import gc
import importlib
import json
import multiprocessing.process
import multiprocessing.util
import os
import runpy
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from fcntl import F_DUPFD, fcntl
from pathlib import Path

FEW = ("hydra", "omegaconf._impl", "local_slots.pool", "local_slots.job", "optuna_sweep.settings", "optuna_sweep.trial")
ALL = (
    *("contrastive_app.training_run", "contrastive_app.train", "contrastive_app.report"),
    *("optuna_sweep.run.sweep", "local_slots.pool"),
    *("contrastive_learning.data.sample", "contrastive_learning.training.trainer", "contrastive_learning.serving"),
    *("contrastive_learning.data.tokenized", "contrastive_learning.losses", "contrastive_learning.samplers"),
    *("contrastive_learning.model", "contrastive_learning.training.optimizers", "contrastive_learning.pictures"),
    *("contrastive_learning.training.progress", "contrastive_learning.tracking.provenance"),
    *("contrastive_learning.tracking.mlflow_run", "contrastive_learning.metrics.evaluation"),
    *("contrastive_learning.model.segmented", "sklearn.metrics"),
    *("optuna", "optuna.visualization.matplotlib", "alembic.command", "mlflow.store.tracking.sqlalchemy_store"),
    *("mlflow.pyfunc", "mlflow.system_metrics.system_metrics_monitor", "psycopg", "cmaes"),
)
MESSAGE_BYTES = 1 << 20
LIBRARIES = sys.path[1 + len(os.environ.get("PYTHONPATH", "").split(os.pathsep)) :]


def prepare(imports):
    if imports == "all":
        import_all()
    else:
        for name in FEW:
            importlib.import_module(name)
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    threads = [name for name in threads if name != "jemalloc_bg_thd"]  # pyarrow's; it follows a fork itself
    assert len(threads) == 1, f"a process with the threads {threads} must not fork"
    gc.collect()
    gc.freeze()  # else the first collection in each command copies everything


def import_all():
    from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

    from mlflow_stores import quiet_client_settings

    quiet_client_settings()
    for name in ALL:
        with suppress(ModuleNotFoundError):  # an extra that is not installed; a command that needs it tells
            importlib.import_module(name)
    warn_dependency_requirement_mismatches(["mlflow"])  # reads once which packages are installed, for half a second


def serve(control):
    """Fork a command per message. Returns in the command: its message and descriptors."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda signum, frame: None)
    answers = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            answer_ended(answers)
        if control not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 3)
        if not message:  # the tests have ended
            for pid in answers:
                os.killpg(pid, signal.SIGKILL)
            sys.exit()
        out, errors, answer = descriptors
        pid = os.fork()
        if pid == 0:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (control.detach(), woken, waker, answer, *answers.values()):
                os.close(descriptor)
            return json.loads(message), (out, errors)
        os.close(out)
        os.close(errors)
        os.write(answer, str(pid).encode())
        answers[pid] = answer


def answer_ended(answers):
    while answers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        answer = answers.pop(pid)
        with suppress(BrokenPipeError, ConnectionResetError):  # the test has not waited
            os.write(answer, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(answer)


def run_command(message, descriptors):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(message["cwd"])
    os.environ.clear()
    os.environ.update(message["env"])
    if has_become_launchers_server():
        return
    take_state_of_a_fresh_start()
    try:
        run_main(*message["argv"])
        code = 0
    except SystemExit as error:  # any other exception ends the interpreter in its own, slower way
        code = error.code or 0
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # to take all modules apart would take half a second


def run_main(first, *rest):
    """As `python FIRST REST` does."""
    if first == "-m":
        set_path(str(Path.cwd()))
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        set_path(str(Path(first).resolve().parent))
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


def set_path(first):
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [first, *paths, *LIBRARIES]
    importlib.invalidate_caches()


def take_state_of_a_fresh_start():
    """What Python, NumPy and torch set at their import."""
    multiprocessing.process.ORIGINAL_DIR = str(Path.cwd())  # the jobs find the script by it
    if "torch" not in sys.modules:
        return
    import numpy as np
    import torch

    np.random.seed()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))


def has_become_launchers_server():
    """Fork a second process, which waits to become the fork server that hydra/launcher=local starts.

    A new interpreter would import for each sweep what is imported here already. True in the second process at its end.
    """
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    twin = os.fork()
    if twin == 0:
        mine.close()
        serve_launcher(its)
        return True
    its.close()
    start_interpreter = multiprocessing.util.spawnv_passfds

    def start(path, args, descriptors):
        if "multiprocessing.forkserver" not in args[-1]:
            return start_interpreter(path, args, descriptors)
        multiprocessing.util.spawnv_passfds = start_interpreter  # should this server end, a real one follows
        blocked = [int(signum) for signum in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
        order = {"code": args[-1], "env": dict(os.environ), "blocked": blocked, "descriptors": descriptors}
        with mine:
            socket.send_fds(mine, [json.dumps(order).encode()], descriptors)
        return twin

    multiprocessing.util.spawnv_passfds = start
    return False


def serve_launcher(orders):
    message, received, _, _ = socket.recv_fds(orders, MESSAGE_BYTES, 8)
    orders.close()
    if not message:  # the command has ended without such a launcher
        os._exit(0)
    order = json.loads(message)
    signal.pthread_sigmask(signal.SIG_SETMASK, order["blocked"])
    apart = [fcntl(descriptor, F_DUPFD, 100) for descriptor in received]  # away from the numbers that they shall have
    for descriptor in received:
        os.close(descriptor)
    for descriptor, number in zip(apart, order["descriptors"], strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["env"])
    set_path("")
    sys.argv = ["-c"]
    exec(order["code"], {"__name__": "__main__"})


if __name__ == "__main__":
    prepare(sys.argv[2])
    run_command(*serve(socket.socket(fileno=int(sys.argv[1]))))
