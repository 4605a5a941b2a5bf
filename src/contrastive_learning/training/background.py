"""A thread for what the next steps need not wait for: the hook of an evaluation, then the checkpoint of its epoch."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Background:
    """Does jobs one after the other, beside the thread that gives them. After one that fails, no other is begun.

    >>> done, background = [], Background()
    >>> background.do(done.append, "picture")
    >>> background.do(done.append, "checkpoint")
    >>> background.wait()
    >>> done
    ['picture', 'checkpoint']
    """

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None  # one, from the first job until it has been waited for
        self._last: Future[None] | None = None

    def do(self, job: Callable[..., None], *arguments: object) -> None:
        """Do the job once all before it are done."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="background")
        self._last = self._threads.submit(_after, self._last, job, *arguments)

    def check(self) -> None:
        """Raise what a job has raised, if all jobs have come to their end."""
        if self._last is not None and self._last.done():
            self.wait()

    def wait(self) -> None:
        """Wait for all jobs. Raises what the first that failed has raised; it is then forgotten."""
        if self._threads is None or self._last is None:
            return
        self._threads.shutdown()
        last, self._last, self._threads = self._last, None, None
        last.result()


def _after(last: "Future[None] | None", job: Callable[..., None], *arguments: object) -> None:
    if last is not None:
        last.result()
    job(*arguments)
