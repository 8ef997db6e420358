"""The database: connection, tables, migrations, the embedded server. Queries live with the nouns they serve."""
