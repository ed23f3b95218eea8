# Completion for bash. The program lists its commands and your accounts.
source <(COMPLETE=bash pouch)
