"""PostgreSQL for every package: the server, transactions, migrations, outbox, jobs, backup.

The modules are the API: `database`, `embedded`, `migrations`, `copying`, `outbox`, `jobs`, `backup` and
`errors`.
"""
