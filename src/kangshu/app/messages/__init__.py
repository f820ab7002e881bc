"""The message lane's way through the house: read, map, link, store, stage, record, commit, acknowledge.

Everything that arrives while a transaction is under way becomes the next transaction (group commit), so the
cost of a durable commit is shared and messages take effect in the order in which they came.
"""
