"""Messages and records of the budget ledger: policies, holds, spend, and its journal."""
