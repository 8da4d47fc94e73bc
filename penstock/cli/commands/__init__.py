"""One module per command of `penstock`."""
