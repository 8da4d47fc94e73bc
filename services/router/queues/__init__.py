"""The mailboxes: how much waits in them, in which priority, and whether there is room."""
