# shellcheck shell=sh
# What `kubemint doctor` asks a host beside what an install looks at. It changes nothing there, not even a temporary file.
#
# Sent after the functions of install.sh, which judge the directories and the files; only doctor sends it. Every answer is
# one line of km_say that begins with `x`. Whatever may hang gets a time limit by itself or by timeout(1).
# Must run under dash, bash and busybox, as install.sh must.
# shellcheck disable=SC2034,SC2154 # the variables of install.sh

km_tell() { km_say x "$@"; }

km_has() { command -v "$1" >/dev/null; }

# 124 when the time is over; without timeout(1) there is none.
km_within() { # SECONDS COMMAND...
  if km_has timeout; then
    timeout "$@"
  else
    shift
    "$@"
  fi
}

km_tools() { # TOOL...
  km_list=
  for km_tool; do
    km_has "$km_tool" || km_list="$km_list $km_tool"
  done
  # shellcheck disable=SC3013 # to see whether there is -ef
  [ / -ef / ] 2>/dev/null || km_list="$km_list test(-ef)"
  km_tell tools "${km_hash%% *}$km_list"
}

# What sudo lists of the user who came through it: among it, whether what we read is recorded. An empty line at least.
km_sudo() {
  km_rows=0
  km_tell sudo
  [ -n "${SUDO_USER:-}" ] && km_has sudo || return 0
  km_list=$(km_within 10 sudo -n -l -U "$SUDO_USER" 2>/dev/null)
  IFS=$km_newline
  for km_line in $km_list; do
    unset IFS
    [ "$km_rows" -lt 500 ] || break
    km_rows=$((km_rows + 1))
    km_tell sudo "$km_line"
  done
  unset IFS
}

# The directory km_look has just gone to, or what exists of the way to it, and the files it found there.
km_ground() { # DIRECTORY-INDEX
  km_value=here
  [ -z "$km_rest" ] || km_value=missing
  km_tell at "$1" "$km_value" "$PWD"
  [ -w . ] || km_tell shut "$1"
  km_mounted "$1"
  km_free blocks "$1" -Pk
  km_free inodes "$1" -Pi
  km_kept "$1"
  km_fixed "$1"
  [ -n "$km_rest" ] || km_leftovers "$1"
}

# The mount that holds the working directory: the last of those on the longest path.
km_mounted() { # DIRECTORY-INDEX
  km_at=$PWD
  while :; do
    case $km_mounts in
      *" $km_at "*)
        km_line=${km_mounts##*" $km_at "}
        km_line=${km_line%%"$km_newline"*}
        km_line=${km_line#* }
        km_tell mount "$1" "${km_line%% *}" "$km_at"
        return
        ;;
    esac
    [ "$km_at" != / ] || return 0
    km_at=${km_at%/*}
    km_at=${km_at:-/}
  done
}

# What stands before the percentage in the last line of df.
km_free() { # WHAT DIRECTORY-INDEX OPTION
  km_value=$1 km_index=$2
  km_line=$(km_within 10 df "$3" . 2>/dev/null) || return 0
  # shellcheck disable=SC2086 # to be split
  set -- ${km_line##*"$km_newline"}
  while [ $# -gt 1 ]; do
    case $2 in
      *%)
        km_tell "$km_value" "$km_index" "$1"
        return
        ;;
    esac
    shift
  done
}

# Where the version to be replaced would be kept: into km_keeps what is there already.
km_kept() { # DIRECTORY-INDEX
  km_keeps=
  for km_name in $km_names; do
    km_previous=./.${km_name#./}.kubemint-previous
    if [ -d "$km_previous" ]; then
      km_tell unkept "$1" "$km_name"
    elif [ -f "$km_previous" ] && [ ! -L "$km_previous" ]; then
      km_keeps="$km_keeps $km_previous"
    fi
  done
}

# Immutable and append-only, which stop root as well.
km_fixed() { # DIRECTORY-INDEX
  km_has lsattr || return 0
  # shellcheck disable=SC2086 # our names hold no blanks
  km_list=$(lsattr -d . $km_names $km_keeps 2>/dev/null)
  IFS=$km_newline
  for km_line in $km_list; do
    unset IFS
    case ${km_line%% *} in
      *[ia]*) km_tell fixed "$1" "${km_line##* }" ;;
    esac
  done
  unset IFS
}

km_leftovers() { # DIRECTORY-INDEX
  km_rows=0
  set +f
  for km_stale in ./.kubemint-*.tmp; do
    [ ! -f "$km_stale" ] || km_rows=$((km_rows + 1))
  done
  set -f
  [ "$km_rows" -eq 0 ] || km_tell leftovers "$1" "$km_rows"
}

km_units() { # UNIT...
  if ! km_has systemctl; then
    km_tell systemd absent
    return
  fi
  # As sd_booted(3) asks.
  if [ ! -d /run/systemd/system ]; then
    km_tell systemd idle
    return
  fi
  km_tell systemd running
  for km_unit; do
    km_list=$(km_within 10 systemctl show -p LoadState -p ActiveState -p UnitFileState "$km_unit" 2>/dev/null)
    km_load=unknown km_active=unknown km_file=unknown
    IFS=$km_newline
    for km_line in $km_list; do
      unset IFS
      km_value=${km_line#*=}
      case $km_line in
        LoadState=?*) km_load=$km_value ;;
        ActiveState=?*) km_active=$km_value ;;
        UnitFileState=?*) km_file=$km_value ;;
      esac
    done
    unset IFS
    km_tell unit "$km_unit" "$km_load" "$km_active" "$km_file"
  done
}

# Whether the apiserver answers, by whatever this host has; then whose certificate it shows.
km_reach() { # HOST PORT URL OPTION-THAT-NAMES-IT
  km_value=
  for km_tool in bash python3 nc curl openssl wget; do
    km_has "$km_tool" || continue
    case $km_tool in
      bash | nc | openssl | wget) km_has timeout || continue ;;
    esac
    km_said=$(km_dial "$@" 2>&1)
    km_name_answer $?
    case $km_value in
      '') ;;
      *) break ;;
    esac
  done
  if [ -z "$km_value" ]; then
    km_tell api untold
    return
  fi
  km_tell api "$km_value" "$km_tool"
  [ "$km_value" != open ] || [ -z "$km_trusted" ] || km_shake "$@"
}

km_dial() { # HOST PORT URL ...
  # shellcheck disable=SC2016 # for bash to expand
  case $km_tool in
    bash) timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2" ;;
    python3) python3 -c 'import socket, sys; socket.create_connection(sys.argv[1:3], 5)' "$1" "$2" ;;
    nc) timeout 6 nc -z -w 5 "$1" "$2" ;;
    curl) curl -svk -o /dev/null --noproxy '*' --connect-timeout 5 -m 8 "$3" ;;
    openssl) timeout 6 openssl s_client -connect "${3#https://}" ;;
    wget) timeout 6 wget -T 5 --no-check-certificate -O /dev/null "$3" ;;
  esac
}

# What a tool's status and words mean, into km_value; empty when that is unclear.
km_name_answer() { # STATUS
  km_value=
  case $km_tool/$1 in
    wget/[568]) km_value=open ;;
    curl/[567] | curl/28) ;;
    */0 | curl/*) km_value=open ;;
    */124) km_value=timeout ;;
  esac
  [ -z "$km_value" ] || return 0
  case $km_said in
    *CONNECTED\(* | *HTTP/*) km_value=open ;;
    *refused* | *errno=111*) km_value=refused ;;
    *'timed out'* | *'imeout was'* | *TimeoutError* | *errno=110*) km_value=timeout ;;
    *resolve* | *'not known'* | *'name resolution'* | *'o address associated'* | *'bad address'*) km_value=unresolved ;;
    *nreachable* | *'o route to host'* | *errno=113*) km_value=unreachable ;;
  esac
}

km_shake() { # HOST PORT URL OPTION
  if km_has openssl && km_has timeout; then
    km_said=$(printf '%s\n' "$km_trusted" |
      timeout 8 openssl s_client -connect "${3#https://}" -CAfile /dev/stdin "$4" "$1" 2>&1)
    case $km_said in
      *'no peer certificate'* | *'wrong version number'*) km_tell tls none openssl ;;
      *'Verify return code: '*)
        km_said=${km_said##*'Verify return code: '}
        km_tell tls "${km_said%% *}" openssl
        ;;
    esac
  elif km_has curl; then
    printf '%s\n' "$km_trusted" |
      curl -sS -o /dev/null --noproxy '*' --cacert /dev/stdin -m 8 "$3" >/dev/null 2>&1
    case $? in
      0 | 22 | 52) km_tell tls 0 curl ;;
      51 | 60) km_tell tls other curl ;;
      35) km_tell tls none curl ;;
    esac
  fi
}
