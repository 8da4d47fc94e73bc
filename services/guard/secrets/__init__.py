"""The local detector of secrets: kingfisher's rules for hundreds of vendors, and rules for what they miss."""
