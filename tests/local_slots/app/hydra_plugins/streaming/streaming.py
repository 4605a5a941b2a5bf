"""A sweeper that fills a slot as soon as it is free, and writes what came of each job to results.json."""

import json
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


@dataclass
class StreamingConf:
    _target_: str = "hydra_plugins.streaming.streaming.Streaming"
    timeout_seconds: float | None = None


class Streaming(Sweeper):
    def __init__(self, timeout_seconds):
        self.timeout_seconds = timeout_seconds

    def setup(self, *, hydra_context, task_function, config):
        self.loader = hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        overrides = OverridesParser.create(config_loader=self.loader).parse_overrides(arguments)
        (waiting,) = BasicSweeper.split_arguments(overrides, None)
        results, running, number = {}, 0, 0
        while waiting or running:
            while waiting and running < self.launcher.num_slots:
                self.launcher.start(waiting.pop(0), number, timeout_seconds=self.timeout_seconds)
                running, number = running + 1, number + 1
            for job_idx, answer in self.launcher.wait(0) or self.launcher.wait(None):
                running -= 1
                results[job_idx] = describe(answer)
        assert self.launcher.wait(None) == []
        self.launcher.stop()
        self.launcher.stop()
        Path("results.json").write_text(json.dumps(results))


def describe(answer):
    value = answer._return_value
    failed = isinstance(value, Exception)
    return {
        "status": answer.status.name,
        "kind": type(value).__name__ if failed else None,
        "reason": value.reason if failed else None,
        "trace": value.trace if failed else None,
        "cause": type(value.__cause__).__name__ if failed else None,
        "value": None if failed else value,
        "overrides": list(answer.overrides),
        "configured": None if answer.cfg is None else answer.cfg.kind,
        "folder": None if answer.hydra_cfg is None else Path(answer.hydra_cfg.hydra.runtime.output_dir).name,
    }


ConfigStore.instance().store(group="hydra/sweeper", name="streaming", node=StreamingConf)
