# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_shmpipe_global_optspecs
    string join \n h/help V/version
end

function __fish_shmpipe_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_shmpipe_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_shmpipe_using_subcommand
    set -l cmd (__fish_shmpipe_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c shmpipe -n "__fish_shmpipe_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -s V -l version -d 'Print version'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "send" -d 'Write stdin into the ring of PATH'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "recv" -d 'Write the ring of PATH to stdout'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "run" -d 'Run two commands, joined by a ring'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "ls" -d 'List the rings of this host'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "stat" -d 'Show one ring, its rate, and who waits for whom'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "top" -d 'Watch all rings on a live screen'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "rm" -d 'Remove a ring'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "doctor" -d 'Look for what would hinder rings on this host'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "bench" -d 'Measure the ring beside a pipe and a socket on this host'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "demo" -d 'Stream from a child process through a ring and through a pipe'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "completions" -d 'Print completions for a shell'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "man" -d 'Write the man pages into a folder'
complete -c shmpipe -n "__fish_shmpipe_needs_command" -f -a "help" -d 'Show the verbs, or the options of a verb'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -s c -l capacity -d 'Capacity of the ring, rounded up to a power of two (65536, 64K, 4M)  [default: that of an existing ring, else 4M]' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -l project -d 'The number of the ring, if PATH names several, 1 to 255' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -s t -l timeout -d 'The longest wait for the peer to come, and for the ring to make progress (500ms, 1m30s). A bare number is seconds  [default: no limit]' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -s m -l mode -d 'Permission bits of the ring, and of PATH if it is made, as `mkfifo -m` (660) [default: 600]' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -s o -l owner -d 'Another user whose rings are trusted, by name or number. May be repeated' -r -f -a "(__fish_complete_users)"
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -l from-parent -d 'Use the ring that the parent process has handed over, instead of a PATH'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -s p -l persist -d 'Keep the ring until `shmpipe rm` removes it, and do not wait for the peer to come'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -s w -l wait-for-peer -d 'With --persist: wait for the peer to come, as without --persist'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -s P -l progress -d 'Show the progress line even if stderr is not a terminal'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -s q -l quiet -d 'Show no progress line'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -s n -l numbers -d 'Print a line of numbers each second instead: seconds, bytes, bytes per second, and percent of the ring that is full'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -l resume -d 'Continue the stream of a sender that died, and skip the bytes of stdin that it has sent. Stdin must be a file. A sender that fails with this option can be resumed, too'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -l framed -d 'Take stdin from `recv --framed`: check its length and digest, and break the stream off unless they are right'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s c -l capacity -d 'Capacity of the ring, rounded up to a power of two (65536, 64K, 4M)  [default: that of an existing ring, else 4M]' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -l project -d 'The number of the ring, if PATH names several, 1 to 255' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s t -l timeout -d 'The longest wait for the peer to come, and for the ring to make progress (500ms, 1m30s). A bare number is seconds  [default: no limit]' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s m -l mode -d 'Permission bits of the ring, and of PATH if it is made, as `mkfifo -m` (660) [default: 600]' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s o -l owner -d 'Another user whose rings are trusted, by name or number. May be repeated' -r -f -a "(__fish_complete_users)"
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -l from-parent -d 'Use the ring that the parent process has handed over, instead of a PATH'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s p -l persist -d 'Keep the ring until `shmpipe rm` removes it, and do not wait for the peer to come'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s w -l wait-for-peer -d 'With --persist: wait for the peer to come, as without --persist'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s P -l progress -d 'Show the progress line even if stderr is not a terminal'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s q -l quiet -d 'Show no progress line'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s n -l numbers -d 'Print a line of numbers each second instead: seconds, bytes, bytes per second, and percent of the ring that is full'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s f -l follow -d 'Continue with the next stream, and wait for the next sender, until interrupted. With --persist, also wait for a sender that resumes the stream of a dead one. A stream that is broken off is an error'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -l framed -d 'Append length and digest to the stream, for `send --framed` on another host'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand recv" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand run" -s c -l capacity -d 'Capacity of the ring, rounded up to a power of two  [default: 4M]' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand ls" -s s -l sort -d 'Sort by this column; numbers from the largest' -r -f -a "path\t''
id\t''
owner\t''
state\t''
capacity\t''
fill\t''
total\t''
age\t''
rate\t'Bytes per second, or total bytes if there is no rate'"
complete -c shmpipe -n "__fish_shmpipe_using_subcommand ls" -l watch -d 'Show the list again every DURATION, or every second' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand ls" -s a -l all -d 'List all segments, not only rings'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand ls" -s w -l wide -d 'Cut nothing, and add key, size, attachments, process ids and who waits'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand ls" -s b -l bytes -d 'Show exact numbers of bytes'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand ls" -l json -d 'Print JSON (version 1); with --watch, a line each time'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand stat" -l id -d 'The id of the ring\'s segment' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand stat" -l pid -d 'The rings of this process' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand stat" -l project -d 'The number of the ring, if PATH names several, 1 to 255' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand stat" -l watch -d 'Show the ring again every DURATION, or every second' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand stat" -l json -d 'Print JSON (version 1); with --watch, a line each time'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand stat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand top" -s d -l delay -d 'Time between two screens' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand top" -s s -l sort -d 'Sort by this column; numbers from the largest' -r -f -a "path\t''
id\t''
owner\t''
state\t''
capacity\t''
fill\t''
total\t''
age\t''
rate\t'Bytes per second, or total bytes if there is no rate'"
complete -c shmpipe -n "__fish_shmpipe_using_subcommand top" -s f -l filter -d 'Only rings whose path, owner, state or commands contain this' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand top" -s n -l iterations -d 'End after this many screens' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand top" -s b -l batch -d 'Print screens as text, one after the other'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand rm" -l id -d 'The id of the ring\'s segment' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand rm" -l project -d 'The number of the ring, if PATH names several, 1 to 255' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand rm" -l older-than -d 'With --stale: only rings that were made at least this long ago (10m, 1d)' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand rm" -s o -l owner -d 'For root: remove rings of this user, by name or number, and with the rights of this user' -r -f -a "(__fish_complete_users)"
complete -c shmpipe -n "__fish_shmpipe_using_subcommand rm" -l stale -d 'All rings that dead processes have left behind; never a persistent ring'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand rm" -s f -l force -d 'Remove the ring even if it is in use. Its processes continue, but nobody else can find the ring any more'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand rm" -s n -l dry-run -d 'Say what would be removed, and remove nothing'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand doctor" -l strict -d 'Exit with 1 for a warning, too'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand doctor" -l json -d 'Print JSON (version 1)'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand bench" -l bytes -d 'Bytes of each throughput measurement' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand bench" -l rounds -d 'Rounds; each measures everything once' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand bench" -l json -d 'Print JSON (version 1)'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand demo" -l bytes -d 'Bytes to stream in each run' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand demo" -s c -l capacity -d 'Capacity of the ring  [default: 4M]' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand demo" -l block -d 'Bytes of each write, and the most bytes of each read. May be repeated' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand demo" -l rounds -d 'Rounds; each measures everything once' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand demo" -l seed -d 'The seed of the pseudo-random bytes' -r
complete -c shmpipe -n "__fish_shmpipe_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c shmpipe -n "__fish_shmpipe_using_subcommand help" -s h -l help -d 'Print help'
