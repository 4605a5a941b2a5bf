"""Requests per second of a judge on MLflow's own server, and rows per second of the same judge called in one process.

    python tests/benchmarks/serving.py [MODEL --data FILE] [--clients 32] [--requests 960] [--rows 1 8]

MODEL: what the judge command takes, such as a run's folder, or an exported judge for another runtime; FILE: responses
in any form that it reads. Without both, one epoch is trained on the sample data. The clients are threads of this
process on the same machine, each with one connection, and send the same responses as often as asked; p50 and p95 are of
the time from sending a request to having read its answer. In the end, bad requests must get 400 and one line.
"""

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.ports import free_port  # noqa: E402

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command and a served judge have it

SMALL = [f"data.source.{split}_size=400" for split in ("train", "valid", "test", "test_ood")]
START_SECONDS = 120
BAD = [{"context": ["안녕"]}, {"response": " "}, {"response": 3}, {"response": "네", "context": [1]}]
Row = dict[str, Any]


def trained(folder: Path) -> tuple[Path, Path]:
    """The judge of a short run on the sample data, and its test responses."""
    from contrastive_app.python import train

    os.chdir(folder)
    run = train([*SMALL, "trainer.epochs=1", "tracking=none"])
    return run.folder / "judge", run.folder / "test.parquet"


def rows_of(file: Path) -> list[Row]:
    import pyarrow.parquet as pq

    from contrastive_learning.data.reading import Reader, ReadingRules

    if file.name == "test.parquet":  # as a run records it
        rows: list[Row] = pq.read_table(file, columns=["context", "response"]).to_pylist()
        return rows
    responses = Reader(ReadingRules("auto", None, False, None)).each("row", file)
    return [{"context": list(item.context), "response": item.response} for item in responses]


def in_process(model: Path, rows: Sequence[Row], seconds: float) -> None:
    """Rows per second, one row per call and all of them in one; `seconds` for each at least."""
    import mlflow
    import pandas as pd

    judge = mlflow.pyfunc.load_model(str(model))
    table = pd.DataFrame(rows)
    judge.predict(table[:32])
    for name, calls in (
        ("one row per call", [table[row : row + 1] for row in range(len(table))]),
        ("at once", [table]),
    ):
        started, done = time.perf_counter(), 0
        for call in cycle(calls):
            judge.predict(call)
            done += len(call)
            if (spent := time.perf_counter() - started) > seconds:
                break
        print(f"in one process, {name:17} {done / spent:8.1f} rows/s", flush=True)


@contextmanager
def served(model: Path) -> Iterator[int]:
    """MLflow's server, with one worker. Yields its port."""
    port, mlflow = free_port(), Path(sys.executable).with_name("mlflow")
    command = [mlflow, "models", "serve", "-m", model, "--env-manager", "local", "--host", "127.0.0.1", "-p", port]
    log = model.parent / "server.log"
    environment = os.environ | {"PATH": f"{mlflow.parent}{os.pathsep}{os.environ['PATH']}"}
    with log.open("wb") as out:
        server = subprocess.Popen(
            list(map(str, command)), env=environment, stdout=out, stderr=out, start_new_session=True
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not is_up(port):
                if time.monotonic() > deadline or server.poll() is not None:
                    raise RuntimeError(log.read_text(encoding="utf-8"))
                time.sleep(0.3)
            yield port
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def is_up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def under_load(port: int, rows: Sequence[Row], num_clients: int, num_requests: int, num_rows: int) -> None:
    """Requests of `num_rows` rows each, from all clients at the same time."""
    endless = cycle(rows)
    bodies = [body_of(list(islice(endless, num_rows))) for _ in range(num_requests)]
    seconds: list[float] = []
    failed: list[bytes] = []

    def client(share: Sequence[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        for body in share:
            started = time.perf_counter()
            status, answer = ask(connection, body)
            seconds.append(time.perf_counter() - started)
            if status != 200:
                failed.append(answer)
        connection.close()

    clients = [threading.Thread(target=client, args=(bodies[first::num_clients],)) for first in range(num_clients)]
    started = time.perf_counter()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    spent = time.perf_counter() - started
    if failed:
        raise RuntimeError(f"{len(failed)} of {num_requests} requests failed, such as with {failed[0]!r}")
    cuts = statistics.quantiles(seconds, n=20)
    print(
        f"server, {num_clients} clients, {num_rows:2} rows each {num_requests / spent:8.1f} requests/s "
        f"{num_requests * num_rows / spent:8.1f} rows/s  p50 {1000 * cuts[9]:6.0f} ms  p95 {1000 * cuts[18]:6.0f} ms",
        flush=True,
    )


def bad_requests(port: int) -> None:
    for row in BAD:
        status, answer = ask(http.client.HTTPConnection("127.0.0.1", port, timeout=30), body_of([row]))
        told = json.loads(answer)
        if status != 400 or "stack_trace" in told or "\n" in told["message"]:
            raise RuntimeError(f"{row} is answered with {status} and {answer!r}")
        print(f"bad request: {status} {told['message']}")


def body_of(rows: Sequence[Row]) -> bytes:
    return json.dumps({"dataframe_records": rows}, ensure_ascii=False).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=960)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8], help="of a request")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement in one process, at least")
    chosen = parser.parse_args()
    if (chosen.model is None) != (chosen.data is None):
        parser.error("MODEL and --data FILE belong together")
    from contrastive_app.judge.models import find_judge, settings_of
    from contrastive_learning.tracking.models import write_model

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if chosen.model is None:
            judge, data = trained(scratch)
        else:
            judge, data = find_judge(chosen.model, None, scratch)[0], chosen.data
        model, rows = scratch / "model", rows_of(data)
        write_model(model, judge, settings_of(judge)["criteria"])
        print(f"{len(rows):,} responses, {os.cpu_count()} cores, {settings_of(judge).get('runtime', 'torch')}")
        in_process(model, rows, chosen.seconds)
        with served(model) as port:
            under_load(port, rows, chosen.clients, 2 * chosen.clients, 1)  # warms up
            for num_rows in chosen.rows:
                under_load(port, rows, chosen.clients, chosen.requests, num_rows)
            bad_requests(port)


if __name__ == "__main__":
    main()
