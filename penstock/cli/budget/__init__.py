"""What the commands about budgets and prices need besides the connection: options, changes, the limits that apply."""
