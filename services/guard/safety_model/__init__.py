"""A guard model, called through a role of the catalogue: the formats of Llama Guard and of gpt-oss-safeguard."""
