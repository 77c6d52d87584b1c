"""The machinery that runs the book: pages, runner, reader, records, ledger. No chapter imports it."""
