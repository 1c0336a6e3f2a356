"""Executed by alembic: runs the steps on the connection it was handed."""

from alembic import context

from storage.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
