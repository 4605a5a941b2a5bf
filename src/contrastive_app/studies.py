"""Lets `--config-name temperature_lambda` find a study without `--config-dir`."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from contrastive_app.places import STUDIES


class StudiesSearchPath(SearchPathPlugin):
    """Adds the folder of the studies after `conf`, so that `--config-dir` and `conf` come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("studies", f"file://{STUDIES}")


def find_studies_by_name() -> None:
    """Call before Hydra starts. As a file in `hydra_plugins`, every Hydra app in this environment would search here."""
    Plugins.instance().register(StudiesSearchPath)
