"""What people decide about persons: queue, opinions, why two are alike, samples of links, figures."""

from kangshu.identity.reviewing.estimating import FalseLinkEstimate, estimate_false_links
from kangshu.identity.reviewing.explaining import Explanation, Side, explain
from kangshu.identity.reviewing.opinions import Opinion, Said, give_opinion, list_opinions, needs_two
from kangshu.identity.reviewing.queue import HasRecords, QueueEntry, review_queue, weigh_reviews
from kangshu.identity.reviewing.sampling import (
    SampledLink,
    Seen,
    false_link_estimate,
    get_sampled,
    judge_link,
    list_sampled,
    sample_links,
)
from kangshu.identity.reviewing.statistics import BAND_BITS, Decided, ReviewStatistics, review_statistics

__all__ = [
    "BAND_BITS",
    "Decided",
    "Explanation",
    "FalseLinkEstimate",
    "HasRecords",
    "Opinion",
    "QueueEntry",
    "ReviewStatistics",
    "Said",
    "SampledLink",
    "Seen",
    "Side",
    "estimate_false_links",
    "explain",
    "false_link_estimate",
    "get_sampled",
    "give_opinion",
    "judge_link",
    "list_opinions",
    "list_sampled",
    "needs_two",
    "review_queue",
    "review_statistics",
    "sample_links",
    "weigh_reviews",
]
