# Completion for fish. The program lists its commands and your accounts.
COMPLETE=fish pouch | source
