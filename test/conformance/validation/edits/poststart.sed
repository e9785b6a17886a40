# Process and hook each append a line to a file, and the process's must be the first, though nothing orders them: the process has
# been executed when the hook is called, no more. The hook is made to wait for the process's line, which does not come if the
# hook is called before.
s|"echo 'post-start called' [^/]* \(/[^"]*\)"|"i=0; until test -s \1 \|\| test $i = 100; do i=$((i+1)); sleep 0.1; done; echo 'post-start called' >> \1"|
