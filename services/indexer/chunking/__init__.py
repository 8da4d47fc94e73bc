"""Texts to chunks along their structure: headings, definitions, paragraphs; with places and stable ids."""
