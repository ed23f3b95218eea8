# Completions of pouch for fish: the program itself knows its commands and your accounts.
COMPLETE=fish pouch | source
