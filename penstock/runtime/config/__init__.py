"""One YAML file, checked whole, turned into frozen structs."""
