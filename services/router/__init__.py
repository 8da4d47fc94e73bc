"""The intent router: from a request event to one role's mailbox."""
