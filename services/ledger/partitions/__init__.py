"""Partitions of the ledger: who owns each, its one writer, its journal and snapshots, and the usage that it settles."""
