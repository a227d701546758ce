# shellcheck shell=sh
# The time limit of a script on a host: when kubemint has given up, or is gone, nothing of ours runs on there.
#
# kubemint sends km_limit, in seconds, in front of the script. A second shell sleeps that long; a script that ends before ends
# it. When the time is over, the script and what it called are told to end, so that temporary files are removed; what is
# still there three seconds later is killed, the programs first: a script in the part that no signal stops goes on without the
# program that hung, as after any failure of it, and is killed itself only when it is still there after five more.
# Processes are found below /proc by their parents, each known by pid and start time. In a PID namespace whose /proc is another's
# their numbers are told by NSpid (proc_pid_status(5)). Without that, the process group, which is ours alone, is all there is to go by.
# Must run under dash, bash and busybox. Two forks and one program (sleep); the rest only when the time is over.
# shellcheck disable=SC2154 # the limit is set by a line in front
km_guard=

km_guard() { # SECONDS
  {
    # A login may ignore the first, and the sleep with it.
    trap 'kill -s KILL "${!-}"; exit' TERM ALRM
    sleep "$1" &
    km_find_ourselves
    # Where there is no sleep there is no limit.
    wait "$!" || exit
    trap '' HUP INT TERM ALRM
    km_end_late
    exit
  } </dev/null >/dev/null 2>&1 &
  km_guard=$!
}

# This shell, as /proc numbers it, into km_self; the script into km_main, which is empty where that cannot be told.
km_find_ourselves() {
  km_main=
  { read -r km_self km_line </proc/self/stat; } 2>/dev/null || return 0
  km_born "$km_self" || return 0
  km_main=$km_parent
  km_born "$km_main" || km_main=
  km_started=$km_born
  [ "$km_main" != "$$" ] || return 0
  # The numbers in /proc are those of another namespace.
  if ! km_inner "$km_main" || [ "$km_number" != "$$" ]; then
    km_main=
  fi
}

km_unguard() {
  [ -z "$km_guard" ] || kill "$km_guard" 2>/dev/null
  [ -z "$km_guard" ] || kill -s ALRM "$km_guard" 2>/dev/null
  km_guard=
}

km_end_late() {
  set +f
  if [ -z "$km_main" ]; then
    kill -s TERM 0
    sleep 3
    kill -s KILL 0
    exit
  fi
  km_climb
  km_all=$km_tree
  km_signal_all TERM
  km_round=0
  while [ "$km_round" -lt 8 ]; do
    sleep 1
    km_round=$((km_round + 1))
    if [ "$km_round" -ge 3 ]; then
      # What it has called since, too.
      km_climb
      for km_entry in $km_tree; do
        case " $km_all " in
          *" $km_entry "*) ;;
          *) km_all="$km_all $km_entry" ;;
        esac
      done
      km_first=${km_all%% *}
      [ "$km_round" -ge 8 ] || km_all=${km_all#"$km_first"}
      km_signal_all KILL
      [ "$km_round" -ge 8 ] || km_all=$km_first$km_all
    fi
    km_is_there || return 0
  done
}

# The start of a process in ticks, as the 20th word behind its name (proc_pid_stat(5)), and its parent.
km_born() { # PID: into km_born and km_parent
  km_born=
  km_line=
  { read -r km_line <"/proc/$1/stat"; } 2>/dev/null
  case $km_line in
    *') '*) ;;
    *) return 1 ;;
  esac
  # shellcheck disable=SC2086 # to be split
  set -- ${km_line##*') '}
  [ $# -ge 20 ] && [ "$1" != Z ] || return 1
  km_parent=$2
  shift 19
  km_born=$1
}

# The number by which we can signal a process that /proc calls PID.
km_inner() { # PID: into km_number
  km_number=
  {
    while read -r km_word km_line; do
      case $km_word in
        NSpid:)
          km_number=${km_line##*[!0-9]}
          break
          ;;
      esac
    done <"/proc/$1/status"
  } 2>/dev/null
  # A kernel that does not tell has our own numbers, or none that we could use.
  [ -n "$km_number" ] || [ "$km_main" != "$$" ] || km_number=$1
  [ -n "$km_number" ]
}

# The script and all that is below it but this guard, as PID:BORN, into km_tree: the script comes first. Empty when the script
# has ended: its number may be another's by then.
km_climb() {
  km_tree=
  km_born "$km_main" && [ "$km_born" = "$km_started" ] || return 0
  km_tree=$km_main:$km_started
  km_seen=
  for km_process in /proc/[0-9]*; do
    ! km_born "${km_process#/proc/}" || km_seen="$km_seen ${km_process#/proc/}:$km_parent:$km_born"
  done
  km_level=" $km_main "
  while [ "$km_level" != ' ' ]; do
    km_next=' '
    for km_entry in $km_seen; do
      km_pid=${km_entry%%:*}
      km_parent=${km_entry#*:}
      case $km_level in
        *" ${km_parent%%:*} "*)
          [ "$km_pid" != "$km_self" ] || continue
          km_tree="$km_tree $km_pid:${km_entry##*:}"
          km_next="$km_next$km_pid "
          ;;
      esac
    done
    km_level=$km_next
  done
}

km_signal_all() { # SIGNAL
  for km_entry in $km_all; do
    if km_born "${km_entry%%:*}" && [ "$km_born" = "${km_entry##*:}" ] && km_inner "${km_entry%%:*}"; then
      kill -s "$1" "$km_number"
    fi
  done
}

km_is_there() {
  for km_entry in $km_all; do
    km_born "${km_entry%%:*}" && [ "$km_born" = "${km_entry##*:}" ] && return
  done
  return 1
}
