"""What the commands about the safety guard need besides the connection: options, changes of policies, labelled sets."""
