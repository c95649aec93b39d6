"""What all families share: types, messages, checks of options, and how objects guard and show their attributes."""
