# Completions of pouch for bash: the program itself knows its commands and your accounts.
source <(COMPLETE=bash pouch)
