"""What keeps the program from working here, each with the sentence that mends it."""
