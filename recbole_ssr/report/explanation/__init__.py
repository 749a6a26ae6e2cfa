"""Why a user gets an item: record, tables, picture."""
