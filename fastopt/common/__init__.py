"""Code that all families share: types, messages, checks of options, and display and protection of attributes."""
