# Completions of pouch for bash: the program prints its commands and your accounts.
source <(COMPLETE=bash pouch)
