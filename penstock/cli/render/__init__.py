"""What commands print: text for a person, made safe for a terminal."""
