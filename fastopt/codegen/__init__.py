"""How the text of a rule becomes source code for a compiler: one file per compiler."""
