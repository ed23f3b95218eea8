# Completions of pouch for fish: the program prints its commands and your accounts.
COMPLETE=fish pouch | source
