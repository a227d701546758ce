# shellcheck shell=sh
# What kubemint runs on a host to run one command of the inventory, such as the restart of a service.
#
# Sent between braces after environment.sh, followed by the call of km_run, on standard input. The command has the login's
# environment: of that only functions and options of the shell are cleared. Lines that begin with
# the nonce are ours; between `said` and `ended` stands the end of what the command wrote, as it wrote it.
# The command has a session of its own: neither a lost connection nor our end ends it, and the time limit holds on without
# us. What it starts may keep its output open: we listen until it has ended, not until nobody can write any more.
# Must run under dash, bash and busybox, as install.sh must; programs: dd, tail, tr, sleep, setsid where there is one.
# shellcheck disable=SC2154 # the nonce is set by the line that follows
set -fu
unset IFS CDPATH
PATH=${PATH:+$PATH:}/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
cd /

# The command gets the signals that a login has by default: a daemon would inherit what is ignored. GNU env resets what was
# ignored before we began, which no shell can. busybox's shell ignores QUIT, and so does the last command of its `sh -c`, which
# takes its place: nothing takes that of `eval`, followed by `exit`. A shell without job control ignores INT and QUIT in what it runs in the background.
km_start() { # COMMAND
  # shellcheck disable=SC2016 # for the shells that are called
  km_shell='printf "%s pid %s\n" "$1" "$$"; exec sh -c "$2" sh "$3"'
  # shellcheck disable=SC2016
  set -- sh -c "$km_shell" sh "$km_nonce" 'km_command=$1; shift; eval "$km_command"; exit' "$1"
  if /usr/bin/env --default-signal true </dev/null >/dev/null; then
    set -- /usr/bin/env --default-signal "$@"
  fi
  if command -v setsid >/dev/null; then
    setsid "$@" </dev/null 2>&1
    return
  fi
  # A process group of its own will do, where the shell makes one without a terminal. dash and busybox do not.
  # Told by a builtin that they lack: a variable may be anybody's.
  if PATH=/dev/null command -v typeset >/dev/null; then
    set -m
    "$@" </dev/null 2>&1 &
    wait "$!"
  else
    "$@" </dev/null 2>&1
  fi
}

km_signal() { # SIGNAL
  kill -s "$1" -- "-$km_pid" || kill -s "$1" "$km_pid"
} 2>/dev/null

# Lets the other side know that we are there, and ends the command when its time is over.
km_watch() { # SECONDS
  trap '' HUP INT PIPE
  km_left=$1
  while [ "$km_left" -gt 0 ]; do
    # It may outlive us: it keeps nothing open.
    sleep 1 >/dev/null
    km_left=$((km_left - 1))
    [ $((km_left % 5)) -ne 0 ] || printf '%s alive\n' "$km_nonce"
  done
  # From here on it is finished, also when the command has ended by now.
  trap '' TERM ALRM
  printf '%s late\n' "$km_nonce"
  km_signal TERM
  km_left=5
  while [ "$km_left" -gt 0 ]; do
    kill -s 0 -- "-$km_pid" || kill -s 0 "$km_pid" || return 0
    sleep 1 >/dev/null
    printf '%s alive\n' "$km_nonce"
    km_left=$((km_left - 1))
  done
  km_signal KILL
} </dev/null 2>/dev/null

# Keeps the end of what comes in, until the command has ended. What is longer than a pipe holds is cut while it comes.
km_listen() { # SECONDS
  trap '' HUP INT PIPE
  LC_ALL=C
  km_said=
  km_watch=
  km_status=
  while :; do
    km_chunk=$(dd bs=65536 count=1 2>/dev/null | tr '\000' ' '; echo x)
    km_chunk=${km_chunk%x}
    [ -n "$km_chunk" ] || break
    km_said=$km_said$km_chunk
    if [ -z "$km_watch" ]; then
      case $km_said in
        *"$km_nonce pid "*"$km_newline"*)
          km_pid=${km_said#*"$km_nonce pid "}
          km_said=${km_pid#*"$km_newline"}
          km_pid=${km_pid%%"$km_newline"*}
          km_watch "$1" &
          km_watch=$!
          ;;
      esac
    fi
    case $km_said in
      *"$km_nonce status "*"$km_newline"*)
        km_status=${km_said##*"$km_nonce status "}
        km_status=${km_status%%"$km_newline"*}
        km_said=${km_said%"$km_newline$km_nonce status "*}
        break
        ;;
    esac
    [ "${#km_said}" -le 65536 ] || km_keep_end
  done
  if [ -n "$km_watch" ]; then
    # A login may ignore the first.
    kill -s TERM "$km_watch"
    kill -s ALRM "$km_watch"
    wait "$km_watch"
  fi 2>/dev/null
  km_keep_end
  printf '%s said\n%s\n%s ended %s\n' "$km_nonce" "$km_said" "$km_nonce" "$km_status"
}

# A little more than is shown: the first line of it may be cut.
km_keep_end() {
  km_said=$(printf %s "$km_said" | tail -c 4096; echo x)
  km_said=${km_said%x}
}

km_run() { # SECONDS COMMAND
  km_newline='
'
  for km_tool in dd tail tr sleep; do
    if ! command -v "$km_tool" >/dev/null; then
      printf '%s missing %s\n' "$km_nonce" "$km_tool"
      return
    fi
  done
  printf '%s begin\n' "$km_nonce"
  {
    km_start "$2"
    printf '\n%s status %s\n' "$km_nonce" "$?"
  } 2>/dev/null | km_listen "$1"
}
