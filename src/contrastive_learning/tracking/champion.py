"""Registers the judge of a run under a name, and makes it the champion of that name, if wanted only a better one."""

import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from contrastive_learning.tracking.models import as_tracking_uri
from mlflow_stores import creation_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
CONDITIONS = ("always", "better")
TEST = "embeddings/test.parquet"  # the artifact of a run with its test responses and their votes


class Gain(NamedTuple):
    """By how much more often the second of two judges decides as the majority does, as a share of the decisions."""

    mean: float
    low: float  # of the 95 % interval
    high: float
    num_responses: int


def register_champion(client: "MlflowClient", name: str, run_id: str, champion_if: str) -> str:
    """Register the model that the run recorded under `name`, and make it the champion.

    champion_if: of CONDITIONS; "better" leaves a champion that is not right less often on its own recorded test
    responses. Returns the addresses, in that case with what was compared.
    """
    with creation_lock(client.tracking_uri):
        champion = champion_of(client, name)
        if champion is not None and champion.run_id == run_id:  # a continued sweep may have the same best trial
            return f"models:/{name}/{champion.version}, also models:/{name}@{ALIAS}"
        if champion is None and not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        version = _registered(client, name, run_id)
    address, compared = f"models:/{name}/{version.version}", ""
    if champion is not None and champion_if == "better":
        gain = _gain(client, champion, version)
        if gain is None:
            compared = ", as no test responses with votes on common criteria are recorded to compare the two on"
        else:
            often = "less often" if gain.mean < 0 else "more often"
            compared = (
                f": on the {gain.num_responses} test responses of version {champion.version} the new one is right "
                f"{abs(gain.mean):.3f} {often} ({gain.low:+.3f} to {gain.high:+.3f})"
            )
        if gain is None or gain.mean <= 0:
            return f"{address}; models:/{name}@{ALIAS} stays version {champion.version}{compared}"
    client.set_registered_model_alias(name, ALIAS, version.version)
    return f"{address}, also models:/{name}@{ALIAS}{compared}"


def champion_of(client: "MlflowClient", name: str) -> Any:
    """The version of the model `name` that is its champion; None if there is none, or no such name."""
    (model,) = client.search_registered_models(f"name = '{name}'") or [None]
    if model is None or ALIAS not in model.aliases:
        return None
    return client.get_model_version(name, model.aliases[ALIAS])


def gain_of(first: ArrayLike, second: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike) -> Gain | None:
    """Of the decisions of two judges, each array [responses, criteria]; None without votes.

    A response counts with the mean over its criteria with votes. The interval is normal, over responses, since a judge
    errs alike on several criteria of one. A tied vote is a "no", as everywhere.

    >>> gain_of([[False], [True]], [[True], [True]], [[3], [3]], [[3], [3]]).mean
    0.5
    """
    yes, total = np.asarray(yes_votes), np.asarray(num_votes)
    voted = total > 0
    majority = 2 * yes > total
    change = (np.asarray(second) == majority).astype(float) - (np.asarray(first) == majority)
    rows = voted.any(axis=1)
    if not rows.any():
        return None
    changes = (change * voted).sum(axis=1)[rows] / voted.sum(axis=1)[rows]
    mean, error = float(changes.mean()), float(changes.std() / np.sqrt(len(changes)))
    return Gain(mean, mean - 1.96 * error, mean + 1.96 * error, len(changes))


def _registered(client: "MlflowClient", name: str, run_id: str) -> Any:
    """The version of the run's model under `name`, which is new unless an earlier call made it."""
    (output,) = client.get_run(run_id).outputs.model_outputs
    before = [found for found in client.search_model_versions(f"name = '{name}'") if found.run_id == run_id]
    if before:
        return before[0]
    source = f"models:/{output.model_id}"
    with as_tracking_uri(client.tracking_uri):
        return client.create_model_version(name, source, run_id=run_id, model_id=output.model_id, await_creation_for=0)


def _gain(client: "MlflowClient", champion: Any, version: Any) -> Gain | None:
    """Of the model `version` over the champion, on the test responses that the champion's run has recorded."""
    import mlflow
    import pyarrow.parquet as pq

    if TEST not in [item.path for item in client.list_artifacts(champion.run_id, TEST.partition("/")[0])]:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        file = client.download_artifacts(champion.run_id, TEST, scratch)
        table = pq.read_table(file, columns=["context", "response", "yes_votes", "num_votes"]).to_pandas()
    with as_tracking_uri(client.tracking_uri):
        first, second = (mlflow.pyfunc.load_model(each.source).predict(table) for each in (champion, version))
    kind = "decision/"
    own = [name for name in first if name.startswith(kind)]  # in the order of the votes
    common = [index for index, name in enumerate(own) if name in second]
    decisions = (each[[own[index] for index in common]].to_numpy() for each in (first, second))
    votes = (np.stack(table[name])[:, common] for name in ("yes_votes", "num_votes"))
    return gain_of(*decisions, *votes)
