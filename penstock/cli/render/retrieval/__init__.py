"""What the commands about documents print."""
