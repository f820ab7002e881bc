"""The institutions that send messages instead of files in the last month: HL7 v2, FHIR, shared documents.

What happens is the same as in files (`world`); here it is said as it happens, with the slips that real
senders make, and with the truth about every message.
"""

from kangshu.simulation.speech.post import Posted, post_messages
from kangshu.simulation.speech.speakers import MESSAGE_DATASETS, Speakers

__all__ = ["MESSAGE_DATASETS", "Posted", "Speakers", "post_messages"]
