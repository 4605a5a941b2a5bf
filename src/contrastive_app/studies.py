"""Lets `--config-name temperature_lambda` find a study without `--config-dir`."""

from collections.abc import Sequence

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from contrastive_app.places import STUDIES

CONFIG_NAME = ("--config-n", "-cn")  # argparse accepts every beginning that only --config-name has


class StudiesSearchPath(SearchPathPlugin):
    """Adds the folder of the studies after `conf`, so that `--config-dir` and `conf` come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("studies", f"file://{STUDIES}")


def find_studies_by_name(arguments: Sequence[str]) -> None:
    """Call before Hydra starts, with the arguments of the command line; does nothing unless they name a configuration.

    Hydra looks into each folder of the search path 300 times to write --help. As a file in `hydra_plugins`, every Hydra
    application in this environment would search the studies.
    """
    if any(argument.startswith(CONFIG_NAME) for argument in arguments):
        Plugins.instance().register(StudiesSearchPath)
