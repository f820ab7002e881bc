"""Whether two records are one person: comparisons, weights, models, and linking whole tables by them."""

from kangshu.identity.linkage.batch import Linkage, link_table, score_pairs
from kangshu.identity.linkage.blocking import key_texts
from kangshu.identity.linkage.declared import default_model
from kangshu.identity.linkage.documents import (
    dump_model,
    load_model,
    read_condition,
    versioned,
    write_condition,
)
from kangshu.identity.linkage.errors import (
    LinkageError,
    ModelUnreadableError,
    TableUnusableError,
    TrainerMissingError,
    TrainingFailedError,
)
from kangshu.identity.linkage.evaluating import (
    Evaluation,
    PersonTable,
    evaluate_column,
    evaluate_pairs,
    link_persons,
    prepare_table,
    read_table,
    record_names,
)
from kangshu.identity.linkage.model import (
    Account,
    BlockingKey,
    Cap,
    Comparison,
    Guard,
    Level,
    LinkageModel,
    Part,
    Verdict,
)
from kangshu.identity.linkage.profiles import PROFILE_COLUMNS, Registration, prepare, prepare_one
from kangshu.identity.linkage.roles import ColumnRole, Role, guess_roles
from kangshu.identity.linkage.scoring import score
from kangshu.identity.linkage.trainers import TRAINERS, train

__all__ = [
    "PROFILE_COLUMNS",
    "TRAINERS",
    "Account",
    "BlockingKey",
    "Cap",
    "ColumnRole",
    "Comparison",
    "Evaluation",
    "Guard",
    "Level",
    "Linkage",
    "LinkageError",
    "LinkageModel",
    "ModelUnreadableError",
    "Part",
    "PersonTable",
    "Registration",
    "Role",
    "TableUnusableError",
    "TrainerMissingError",
    "TrainingFailedError",
    "Verdict",
    "default_model",
    "dump_model",
    "evaluate_column",
    "evaluate_pairs",
    "guess_roles",
    "key_texts",
    "link_persons",
    "link_table",
    "load_model",
    "prepare",
    "prepare_one",
    "prepare_table",
    "read_condition",
    "read_table",
    "record_names",
    "score",
    "score_pairs",
    "train",
    "versioned",
    "write_condition",
]
