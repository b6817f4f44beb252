"""The coordinator's database: tables, migrations, and what is read and written."""
