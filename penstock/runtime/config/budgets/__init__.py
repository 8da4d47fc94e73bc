"""The section `budgets`: its structs, its amounts, and the checks of it."""
