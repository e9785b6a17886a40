# The program starts `true`, waits until it sees it running and kills it, which must not fail: it passes if true has not ended by
# then. It is given a process that stays.
/"args": *\[/,/\]/ s/"true"/"sleep", "60"/
