# shellcheck shell=sh
# What `kubemint status` asks a host beside what a probe looks at: since when its services run, when their files last
# changed, and the kubelet's own client certificate. It changes nothing there.
#
# Sent after the functions of install.sh; only status sends it. Every answer is one line of km_say that begins with `x`.
# Of the kubelet's file, which holds its key too, the certificate alone is sent. What cannot be told is left out.
# Must run under dash, bash and busybox, as install.sh must.
# shellcheck disable=SC2034,SC2154 # the variables of install.sh

km_tell() { km_say x "$@"; }

# The host's time, and how long it was up just before and just after: from these follows when a process started.
km_times() {
  km_before=
  km_after=
  { read -r km_before km_line </proc/uptime; } 2>/dev/null
  km_now=$(date +%s.%N 2>/dev/null)
  { read -r km_after km_line </proc/uptime; } 2>/dev/null
  km_boot=$(grep '^btime ' /proc/stat 2>/dev/null)
  km_boot=${km_boot#btime }
  km_ticks=$(getconf CLK_TCK 2>/dev/null)
  km_say clock "${km_now%%.*}"
  km_tell times "${km_before:--}" "${km_now:--}" "${km_after:--}" "${km_boot:--}" "${km_ticks:-100}"
}

# When files last changed: content, and then anything about them.
km_ages() { # PATH...
  km_list=$(stat -c '%n %.9Y %.9Z' "$@" 2>/dev/null)
  IFS=$km_newline
  for km_line in $km_list; do
    unset IFS
    km_tell age "$km_line"
  done
  unset IFS
}

# The processes that go by these names. The kernel cuts a name at 15 characters; ours are shorter.
km_processes() { # then for each service: NAME INDEX PATH
  # Where hidepid keeps other users' processes from us, to see none means nothing. See proc(5).
  if [ ! -r /proc/self/stat ] || [ ! -r /proc/1/stat ]; then
    km_tell blind
    return
  fi
  km_shown=0
  set +f
  for km_process in /proc/[0-9]*; do
    set -f
    km_name=
    { read -r km_name <"$km_process/comm"; } 2>/dev/null
    case " $* " in
      *" $km_name "*) km_process_of "$@" ;;
    esac
  done
  set -f
}

km_process_of() {
  while [ $# -gt 2 ]; do
    [ "$km_name" != "$1" ] || km_weigh "$2" "$3"
    shift 3
  done
}

# One process, its place being `here` (in the host's own PID namespace), `shares` (in a container that has this very file
# at this path), `other` (in one that has another there) or `untold`. One in a container without such a path is not ours.
km_weigh() { # INDEX PATH
  km_index=$1
  km_line=
  { read -r km_line <"$km_process/stat"; } 2>/dev/null
  case $km_line in
    *') '*) ;;
    *) return 0 ;;
  esac
  # shellcheck disable=SC3013 # dash, bash and busybox have -ef
  if [ "$km_process/ns/pid" -ef /proc/self/ns/pid ]; then
    km_place=here
  elif [ ! -e "$km_process/ns/pid" ]; then
    km_place=untold
  elif [ "$km_process/root$2" -ef "$2" ]; then
    km_place=shares
  elif [ -e "$km_process/root$2" ]; then
    km_place=other
  else
    return 0
  fi
  # Behind the name, which may hold blanks and brackets: state, parent, ... and as the 20th the start, in ticks.
  # shellcheck disable=SC2086 # to be split
  set -- ${km_line##*') '}
  [ $# -ge 20 ] && [ "$km_shown" -lt 50 ] || return 0
  km_state=$1 km_parent=$2
  shift 19
  km_shown=$((km_shown + 1))
  km_tell process "$km_index" "${km_process#/proc/}" "$km_parent" "$km_state" "$1" "$km_place"
}

# The kubelet's client certificate: in its kubeconfig, in the file that names, or where the kubelet keeps it by default.
km_kubelet() { # ROOT KUBECONFIG DEFAULT
  km_cr=$(printf '\r')
  km_at=$3
  if [ -f "$1$2" ] && [ -r "$1$2" ] && km_is_small "$1$2"; then
    km_named=
    km_data=
    km_kubelet_user <"$1$2"
    if [ -n "$km_data" ]; then
      km_tell kubelet data "$km_data" "$2"
      return
    fi
    case $km_named in
      '') ;;
      /*) km_at=$km_named ;;
      *) km_at=${2%/*}/$km_named ;;
    esac
  fi
  if [ -f "$1$km_at" ] && [ -r "$1$km_at" ]; then
    if km_is_small "$1$km_at" && km_certificate <"$1$km_at"; then
      km_tell kubelet pem "$km_value" "$km_at"
    else
      km_tell kubelet none - "$km_at"
    fi
  elif [ -e "$1$km_at" ] || km_is_hidden "$1$km_at"; then
    km_tell kubelet unreadable - "$km_at"
  else
    km_tell kubelet absent - "$km_at"
  fi
}

# Whether a file is of a size that a kubeconfig or certificate may have: what is larger is not read.
km_is_small() { # PATH
  # shellcheck disable=SC2012 # one file
  km_line=$(ls -lLdn "$1" 2>/dev/null) || return 1
  # shellcheck disable=SC2086 # to be split
  set -- $km_line
  km_size=${5:-}
  ! km_is_huge && [ "$km_size" -le 1048576 ]
}

km_kubelet_user() {
  km_rows=0
  while [ "$km_rows" -lt 500 ] && { IFS= read -r km_line || [ -n "$km_line" ]; }; do
    km_rows=$((km_rows + 1))
    km_line=${km_line%"$km_cr"}
    km_line=${km_line#"${km_line%%[! ]*}"}
    km_line=${km_line#- }
    km_unquote "${km_line#*: }"
    case $km_line in
      'client-certificate: '*) km_named=$km_value ;;
      'client-certificate-data: '*)
        case $km_value in
          *[!A-Za-z0-9+/=]*) ;;
          *) [ "${#km_value}" -gt 65536 ] || km_data=$km_value ;;
        esac
        ;;
    esac
  done
}

# The first certificate, without its line breaks, into km_value: whole, or not at all.
km_certificate() {
  km_value=
  km_next=
  km_rows=0
  while [ "$km_rows" -lt 500 ] && { IFS= read -r km_line || [ -n "$km_line" ]; }; do
    km_rows=$((km_rows + 1))
    km_line=${km_line%"$km_cr"}
    case $km_next:$km_line in
      ':-----BEGIN CERTIFICATE-----') km_next=yes ;;
      'yes:-----END CERTIFICATE-----') [ -n "$km_value" ] && return ;;
      yes:*[!A-Za-z0-9+/=]*) return 1 ;;
      yes:*) km_value=$km_value$km_line ;;
    esac
  done
  return 1
}

# Whether a directory on the way keeps this user from seeing if the path is there.
km_is_hidden() { # PATH
  [ "$km_uid" != 0 ] || return 1
  km_dir=${1%/*}
  while [ -n "$km_dir" ] && [ ! -d "$km_dir" ]; do
    km_dir=${km_dir%/*}
  done
  [ -n "$km_dir" ] && [ ! -x "$km_dir" ]
}
