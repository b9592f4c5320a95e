"""Help, Doctor…: what keeps the program from working here."""
