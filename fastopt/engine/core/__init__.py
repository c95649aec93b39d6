"""What every family uses: intake of arrays, codecs, checks of hyperparameters, scratch memory."""
