"""How fast the app is, against whom, and by which command: see README.md."""
