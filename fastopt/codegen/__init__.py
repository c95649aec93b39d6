"""Generates source code for compilers from the text of rules: one module or package per compiler."""
