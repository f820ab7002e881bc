"""Learn a model's weights from a table without any truth, by the trainer that is asked for."""

from __future__ import annotations

import pyarrow as pa

from kangshu.identity.linkage.documents import say
from kangshu.identity.linkage.errors import TrainerMissingError
from kangshu.identity.linkage.model import LinkageModel
from kangshu.identity.linkage.training import train_own

TRAINERS = ("own", "splink")


def train(
    model: LinkageModel,
    *,
    profiles: pa.Table,
    trainer: str = "own",
    seed: int = 0,
    threads: int = 2,
    memory_limit: str = "1GiB",
) -> LinkageModel:
    """Return the model with m, u, term frequencies and prior learnt from the profiles; fixed levels stay.

    The same profiles and seed give the same model. `trainer` is `own`, or `splink` for Splink 5.

    Raises:
        TrainingFailedError: no two records share a blocking key.
        TrainerMissingError: there is no such trainer, or Splink is not installed.
    """
    if trainer == "own":
        return train_own(model, profiles=profiles, seed=seed, threads=threads, memory_limit=memory_limit)
    if trainer not in TRAINERS:
        raise TrainerMissingError(say("no_such_trainer"))
    try:
        from kangshu.identity.linkage.training_splink import train_splink
    except ImportError:
        raise TrainerMissingError(say("splink_missing")) from None
    return train_splink(model, profiles=profiles, seed=seed, threads=threads)
