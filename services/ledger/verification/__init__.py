"""Whether the books of the ledger agree: journal, snapshots, spend history and recorded usage."""
