"""Files in and out: atomic writes, tables, logs, id columns, feature files."""
