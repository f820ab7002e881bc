"""The health card interface under `/cards`: signed JSON calls of institutions and apps."""

from kangshu.api.cards.description import card_paths, card_schemas
from kangshu.api.cards.door import CardDoor

__all__ = ["CardDoor", "card_paths", "card_schemas"]
