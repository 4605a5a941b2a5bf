"""Plans of sweeps, made in this process: Hydra composes, nothing is run."""

from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext
from omegaconf import OmegaConf

from hydra_plugins.contrastive_sweeper.sweeper import OptunaSweeper
from optuna_sweep.plan.make_plan import make_plan
from support.sweeps import APP


@contextmanager
def planned(*overrides):
    """Yields the plan of `app.py -m OVERRIDES` and Hydra's context."""
    ours = [line for line in overrides if line.lstrip("+").startswith(("hydra.", "hydra/"))]
    with initialize_config_dir(str(APP), version_base="1.3"):
        config = compose("config", ours, return_hydra_config=True)
        settings = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
        sweeper = OptunaSweeper(**{name: value for name, value in settings.items() if not name.startswith("_")})
        context = HydraContext(GlobalHydra.instance().config_loader(), None)
        yield make_plan(sweeper.settings, context, config, [line for line in overrides if line not in ours]), context
