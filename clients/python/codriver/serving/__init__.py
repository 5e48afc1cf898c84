"""What servers of codriver share: where they listen, who may call them, and how their errors travel."""
