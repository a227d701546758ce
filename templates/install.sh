# shellcheck shell=sh
# What kubemint runs on a host, to look (km_look) and to install (km_open ... km_settle).
#
# kubemint sends this text between braces, followed by calls of these functions with the data as quoted words. A brace
# group runs only when it is complete: a transfer that breaks off executes nothing. It arrives on standard input, so no
# secret stands in a command line, and printf must be a builtin for the same reason.
# Every answer is one line that begins with the run's nonce. All but the first are kept back to the end, since each write
# wakes the server and the client once; what programs say on standard error goes out unframed before that. Files are reached by relative names after `cd -P`.
# Sent after environment.sh, variables.sh and guard.sh, which clear what the login left and hold the time limit.
# Must run under dash, bash and busybox with GNU, busybox or BSD tools; each fork costs the host time.
# shellcheck disable=SC2034,SC2154 # nonce and states are set by the lines that follow, or through eval with an index
set -fu
exec </dev/null 2>&1
[ -z "${km_limit:-}" ] || km_guard "$km_limit"
# A lost connection must not leave the work half done; a file size limit is an error of the write, not a death.
trap '' PIPE XFSZ
km_heed() { trap 'exit 1' HUP INT TERM; }
km_heed
trap km_cleanup EXIT
# What is larger is not ours, and is neither read nor copied.
km_largest=16777216
km_count=0
km_refused=
km_due=
km_here=
km_along=
km_twin=
km_answer=
km_lefts=0
km_dirs=0
km_changed=
km_ended=
km_restoring=
km_newline='
'

km_say() { km_answer="$km_answer$km_nonce $*$km_newline"; }

# Temporary files, and directories made for files that did not come, leave no trace. The last word tells whether the host is
# as it was: every byte, mode and kept version.
km_cleanup() {
  set --
  while [ "$km_lefts" -gt 0 ]; do
    km_lefts=$((km_lefts - 1))
    eval "km_path=\$km_left_$km_lefts"
    [ ! -e "$km_path" ] && [ ! -L "$km_path" ] || set -- "$@" "$km_path"
  done
  [ $# -eq 0 ] || rm -f "$@" || rm -f "$@" || km_changed=yes
  [ -n "$km_changed" ] || km_unmake
  if [ -n "$km_ended" ]; then
    km_word=untouched
    [ -z "$km_changed" ] || km_word=changed
    km_say end "$km_word"
  fi
  # After the answer nothing is left to do.
  km_unguard
  printf %s "$km_answer"
}

km_quit() {
  km_ended=yes
  exit 0
}

# A temporary file of the working directory, which km_cleanup removes unless it is renamed.
km_note() { # NAME
  eval "km_left_$km_lefts=\${PWD%/}/\${1#./}"
  km_lefts=$((km_lefts + 1))
}

km_fail() { # INDEX STEP
  km_say fail "$1" "$2"
  km_quit
}

km_fail_dir() { # DIRECTORY-INDEX STEP
  km_say faildir "$1" "$2"
  km_quit
}

km_missing() { # TOOL
  km_say missing "$1"
  km_quit
}

km_begin() { # NUMBER-OF-FILES
  printf '%s begin\n' "$km_nonce"
  km_count=$1
  km_forget $((km_count * 2))
  # Found without any program: it is the shell's own.
  PATH=/dev/null printf '' 2>/dev/null || km_missing 'printf builtin in sh'
  km_uid=
  # Not by number: where /proc is another PID namespace's, that is somebody else's.
  [ ! -r /proc/self/status ] || km_own_ids </proc/self/status
  if [ -z "$km_uid" ]; then
    km_uid=$(id -u) || km_missing id
    km_gid=$(id -g)
  fi
  [ "$km_uid" != 0 ] || km_gid=0
  for km_hash in 'sha256sum' 'shasum -a 256' 'openssl dgst -sha256 -r' ''; do
    ! command -v "${km_hash%% *}" >/dev/null || break
  done
  [ -n "$km_hash" ] || km_missing sha256sum
}

# What is kept by an index is nobody's but ours: the environment may have variables of any name.
km_forget() { # NUMBER
  km_i=0
  while [ "$km_i" -le "$1" ]; do
    unset "km_temp_$km_i" "km_state_$km_i" "km_loose_$km_i" "km_shared_$km_i" "km_sure_$km_i" "km_sum_$km_i" "km_do_$km_i" \
      "km_now_$km_i" "km_work_$km_i" "km_kept_$km_i" "km_older_$km_i" "km_how_$km_i" "km_how_back_$km_i" "km_size_$km_i"
    km_i=$((km_i + 1))
  done
}

# Says which machine this is, where it has a machine-id(5), and whether it shows that of one of KNOWN, which were written
# already: that is the same machine, or a clone of it.
km_machine() { # KNOWN: SHA-256...
  km_id=
  [ ! -r /etc/machine-id ] || read -r km_id </etc/machine-id || :
  case $km_id in
    '' | *[!0-9a-f]*) return 0 ;;
  esac
  km_say machine "$km_id"
  [ $# -gt 0 ] || return 0
  km_sum=$(printf %s "$km_id" | $km_hash)
  km_sum=${km_sum%% *}
  for km_known; do
    if [ "$km_known" = "$km_sum" ]; then
      km_twin=yes
      km_say twin "$km_sum"
    fi
  done
}

# After the looks. A machine that was written already has nothing due: what has is a clone, or is to hold other files
# under its second name.
km_quit_if_twin() {
  if [ -n "$km_twin" ]; then
    km_say barred
    km_quit
  fi
}

# The effective ones, without a fork; see proc_pid_status(5).
km_own_ids() {
  while read -r km_word km_real km_id km_line; do
    case $km_word in
      Uid:) km_uid=$km_id ;;
      Gid:)
        km_gid=$km_id
        return
        ;;
    esac
  done
}

# Goes to DIR below ROOT, or as near to it as exists: km_rest is what is missing below the working directory. A link is
# followed only out of a directory that others cannot change: they would choose where it leads.
km_enter() { # DIRECTORY-INDEX ROOT DIR
  km_rest=${2#/}${2:+/}$3
  km_top=
  km_here=
  cd / || km_fail_dir "$1" enter
  while :; do
    # Root answers for every directory on the way; others for those below their own root.
    if [ -z "$km_top" ] && { [ "$km_uid" = 0 ] || [ "$km_rest" = "$3" ]; }; then
      km_top=$PWD
    fi
    [ -n "$km_rest" ] || return 0
    km_part=${km_rest%%/*}
    case $km_part in
      '' | .)
        km_shift_rest
        continue
        ;;
    esac
    if [ -d "./$km_part" ]; then
      km_from=$PWD
      cd -P "./$km_part" || km_fail_dir "$1" enter
      km_shift_rest
      if [ "$PWD" != "${km_from%/}/$km_part" ] && [ -n "$km_top" ]; then
        km_judge "$1" "$km_from" 0
        [ -z "$km_refused" ] || return 0
      fi
    elif [ -e "./$km_part" ] || [ -L "./$km_part" ]; then
      # Another host of this machine may have made it since.
      [ ! -d "./$km_part" ] || continue
      km_refuse_dir "$1" not-directory "${PWD%/}/$km_part"
      return
    else
      return 0
    fi
  done
}

km_shift_rest() {
  case $km_rest in
    */*) km_rest=${km_rest#*/} ;;
    *) km_rest= ;;
  esac
}

km_refuse_dir() { # DIRECTORY-INDEX WHY TEXT
  km_refused=yes
  km_say dir "$@"
}

# Refuses a directory when others than root and the caller could change it, or any directory above it up to km_top.
# ls sorts its arguments: a path before whatever lies below it, and the files of km_along, which begin with a dot, before
# all paths. One call of ls serves both.
km_judge() { # DIRECTORY-INDEX DIRECTORY 1-IF-STICKY-WILL-DO
  km_dir=$1 km_at=$2 km_spare=$3
  set --
  while :; do
    set -- "$km_at" "$@"
    case $km_at in
      "$km_top" | /) break ;;
    esac
    km_at=${km_at%/*}
    km_at=${km_at:-/}
  done
  # shellcheck disable=SC2086 # our names hold no blanks
  km_list=$(ls -ldn "$@" $km_along) || km_fail_dir "$km_dir" enter
  km_skip=0
  for km_line in $km_along; do
    km_skip=$((km_skip + 1))
  done
  IFS=$km_newline
  for km_line in $km_list; do
    unset IFS
    if [ "$km_skip" -gt 0 ]; then
      km_skip=$((km_skip - 1))
      continue
    fi
    km_at=${1:-?}
    [ $# -eq 0 ] || shift
    # A sticky directory keeps its entries from being swapped, but does not keep new ones out.
    km_above=$(($# + km_spare))
    # shellcheck disable=SC2086 # to be split
    km_judge_line $km_line || return 0
  done
  unset IFS
}

# The working directory. Where nobody can change the way to it, it is still the one that this way leads to.
km_judge_here() { # DIRECTORY-INDEX
  # There is nothing of a root yet that is not root's to answer for.
  [ -n "$km_top" ] || return 0
  km_spare=0
  [ -z "$km_rest" ] || km_spare=1
  km_judge "$1" "$PWD" "$km_spare"
  # shellcheck disable=SC3013 # dash, bash and busybox have -ef
  if [ -z "$km_refused" ] && [ ! . -ef "$PWD" ]; then
    km_refuse_dir "$1" unsafe "$PWD was exchanged"
  fi
}

km_judge_line() { # MODE LINKS UID GID ...
  km_dir_perms=$1
  km_why=
  km_who=
  case $3 in
    0 | "$km_uid") ;;
    *) km_why="is owned by uid $3" ;;
  esac
  case $1 in
    d???????w*) km_who=all ;;
    d????w????*+) km_who='its group or an ACL' ;;
    d????w*)
      # Root's own group may have members; a person's rarely has others.
      if [ "$km_uid" = 0 ] || [ "$4" != "$km_gid" ]; then
        km_who="group $4"
      fi
      ;;
    d*) ;;
    *) km_why='cannot be judged' ;;
  esac
  case $1 in
    d????????[tT]*) [ "$km_above" -eq 0 ] || km_who= ;;
  esac
  [ -z "$km_who" ] || km_why="is writable by $km_who"
  [ -n "$km_why" ] || return 0
  km_refuse_dir "$km_dir" unsafe "$km_at $km_why"
  return 1
}

# Says what is there now, and sets each file's km_state: create, update, repair or same; and km_due, where there is
# anything to do.
km_look() { # look|probe DIRECTORY-INDEX ROOT DIR, then for each file: INDEX NAME SHA256 KIND
  km_mode=$1
  km_number=$2
  km_before=$km_refused
  km_refused=
  km_names=
  km_enter "$2" "$3" "$4"
  shift 4
  if [ -z "$km_refused" ]; then
    [ -n "$km_rest" ] || km_list_files "$@"
    km_along=$km_names
    km_judge_here "$km_number"
    km_along=
  fi
  if [ -n "$km_refused" ]; then
    return
  fi
  km_refused=$km_before
  [ -n "$km_rest" ] || km_here=$km_number
  km_types "$@"
  km_find_stale
  [ -n "$km_names" ] || return 0
  km_sort_by_size
  km_sums=
  # shellcheck disable=SC2086 # our names hold no blanks
  [ -z "$km_small" ] || km_sums=$($km_hash $km_small)
  unset km_authorities
  km_compare "$@"
  [ -n "$km_restoring" ] || km_judge_swaps "$@"
}

# Refuses what could not be replaced, or its old version not kept.
km_judge_swaps() { # as km_look, from the first file on
  while [ $# -gt 0 ]; do
    eval "km_state=\${km_state_$1:-}\${km_shared_$1:-}"
    case $km_state in
      update* | repair-shared)
        km_previous=./.$2.kubemint-previous
        if km_is_mounted "./$2"; then
          km_say mounted "$1"
          km_refused=yes
        elif [ "$km_state" != repair-shared ] && { [ -d "$km_previous" ] || km_is_mounted "$km_previous"; }; then
          km_say kept "$1" unusable
          km_refused=yes
        fi
        ;;
    esac
    shift 4
  done
}

# Whether a file is a mount point: no rename replaces one. The kernel tells the mount of whatever is open, without a fork;
# where it does not (no /proc, before Linux 3.15), a link fails before anything is changed.
km_is_mounted() { # NAME
  [ -f "$1" ] && [ ! -L "$1" ] && [ -r "$1" ] && [ -r /proc/self/fdinfo/0 ] || return 1
  km_read_mount 2>/dev/null 3<"$1" || return 1
  km_of=$km_mount
  km_read_mount 2>/dev/null 3<. || return 1
  [ "$km_of" != "$km_mount" ]
}

km_read_mount() {
  km_mount=
  while read -r km_word km_value; do
    [ "$km_word" != mnt_id: ] || km_mount=$km_value
  done </proc/self/fdinfo/3
}

# The targets that are regular files, into km_names.
km_list_files() {
  while [ $# -gt 0 ]; do
    if [ -f "./$2" ] && [ ! -L "./$2" ]; then
      km_names="$km_names ./$2"
    fi
    shift 4
  done
}

# Those of km_names that are not huge, into km_small: the size is looked at before a byte is read.
km_sort_by_size() {
  km_small=
  for km_name in $km_names; do
    km_pick "$km_name"
    km_is_huge || km_small="$km_small $km_name"
  done
}

km_is_huge() {
  case $km_size in
    '' | *[!0-9]* | ?????????????????*) return 0 ;;
  esac
  [ "$km_size" -gt "$km_largest" ]
}

# What a killed run left makes work, even where every file is as it should be.
km_find_stale() {
  [ "$km_mode" = look ] && [ -n "$km_here" ] || return 0
  set +f
  for km_stale in ./.kubemint-*.tmp ./Cu??????; do
    ! km_is_stale || km_due=yes
  done
  set -f
}

# GNU ln -f, when it is killed, leaves a link named Cu and six letters: ours is one where the file has another name here.
km_is_stale() {
  [ -f "$km_stale" ] || [ -L "$km_stale" ] || return 1
  case $km_stale in
    ./.*) return 0 ;;
  esac
  for km_name in ./*; do
    # shellcheck disable=SC3013 # dash, bash and busybox have -ef
    if [ "$km_name" != "$km_stale" ] && [ "$km_name" -ef "$km_stale" ]; then
      [ ! -L "$km_name" ] && [ ! -L "$km_stale" ] && return 0
    fi
  done
  return 1
}

km_types() {
  while [ $# -gt 0 ]; do
    km_type=
    if [ -n "$km_rest" ]; then
      km_type=absent
    elif [ -L "./$2" ]; then
      km_type=symlink
    elif [ -d "./$2" ]; then
      km_type=directory
    elif [ -f "./$2" ]; then
      :
    elif [ -e "./$2" ]; then
      km_type=special
    else
      km_type=absent
    fi
    case $km_type in
      '') ;;
      absent)
        km_due=yes
        km_say found "$1" absent
        eval "km_state_$1=create"
        ;;
      *)
        km_say found "$1" "$km_type"
        km_refused=yes
        ;;
    esac
    shift 4
  done
}

# Sets km_perms, km_owner, km_group and km_size of a name in km_list.
km_pick() { # NAME
  km_perms='' km_owner='' km_group='' km_size=
  IFS=$km_newline
  for km_line in $km_list; do
    unset IFS
    case $km_line in
      *" $1")
        # shellcheck disable=SC2086 # to be split
        set -- $km_line
        km_perms=$1 km_owner=$3 km_group=$4 km_size=$5
        return
        ;;
    esac
  done
  unset IFS
}

# Sets km_sum to the digest of a name in km_sums, or to -.
km_pick_sum() { # NAME
  km_name=$1
  km_sum=-
  # shellcheck disable=SC2086 # to be split
  set -- $km_sums
  while [ $# -gt 1 ]; do
    [ "${2#\*}" != "$km_name" ] || km_sum=$1
    shift 2
  done
}

km_is_private() {
  case $km_perms in
    -rw------- | -rw-------[.@]) [ "$km_owner" = "$km_uid" ] && [ "$km_group" = "$km_gid" ] ;;
    *) return 1 ;;
  esac
}

# Whether somebody else may have a file open for writing, which no chmod takes back.
km_is_shared() {
  case $km_perms in
    ?????w* | ????????w* | *+) return 0 ;;
  esac
  [ "$km_owner" != "$km_uid" ]
}

km_compare() {
  while [ $# -gt 0 ]; do
    if [ -f "./$2" ] && [ ! -L "./$2" ]; then
      km_pick "./$2"
      [ -n "$km_perms" ] || km_fail "$1" look
      km_pick_sum "./$2"
      km_state=update
      case $km_sum/$km_perms in
        "$3"/*+) ;;
        "$3"/*) km_state=repair ;;
      esac
      if [ "$km_uid" != 0 ] && [ "$km_owner" != "$km_uid" ]; then
        km_state=foreign
        km_refused=yes
      elif km_is_private; then
        [ "$km_state" != repair ] || km_state=same
        eval "km_loose_$1= km_shared_$1="
        # This file system keeps owner and mode, and nothing in this directory gives new files others.
        case $km_dir_perms in
          d?????[sS]* | *+) ;;
          *) eval "km_sure_$km_number=yes" ;;
        esac
      else
        eval "km_loose_$1=yes km_shared_$1="
        ! km_is_shared || eval "km_shared_$1=-shared"
        # Of what others may hold open for writing a copy is kept, and of this none can be made.
        if km_is_huge && km_is_shared; then
          km_state=huge
          km_refused=yes
        fi
      fi
      [ "$km_state" = same ] || km_due=yes
      eval "km_state_$1=\$km_state km_size_$1=\$km_size"
      ! km_is_huge || km_sum=huge:$km_size
      km_say found "$1" regular "$km_state" "$km_perms" "$km_owner" "$km_group" "$km_sum"
      if [ "$km_sum" != "$3" ] && [ -r "./$2" ] && ! km_is_ours "./$2" "$4"; then
        km_read "$1" "./$2" "$4"
      fi
    fi
    shift 4
  done
}

# Whether a file is plainly a kubeconfig of our CA: it names one, in kubectl's own way of writing. To read it line by line
# takes the shell a system call for each byte.
km_is_ours() { # NAME KIND
  [ "$km_mode/$2" = look/kubeconfig ] && [ -n "$km_our_ca" ] || return 1
  if [ -z "${km_authorities+set}" ]; then
    # shellcheck disable=SC2086 # our names hold no blanks
    km_authorities=$(grep certificate-authority $km_small /dev/null 2>/dev/null)
  fi
  km_found=
  IFS=$km_newline
  for km_line in $km_authorities; do
    unset IFS
    case $km_line in
      "$1:    certificate-authority-data: $km_our_ca") km_found=$km_found. ;;
      "$1:"*) km_found=$km_found-other ;;
    esac
  done
  unset IFS
  [ "$km_found" = . ]
}

# Whether a file is another cluster's; when probing, its public facts too.
km_read() { # INDEX NAME KIND
  km_other=
  km_rows=0
  km_cr=$(printf '\r')
  km_most=1048576
  # A row for each of ten thousand nodes, and in a rotation two.
  [ "$3" != tokens ] || km_most=16777216
  if [ "$3" != tokens ] && km_is_huge; then
    # No cluster has one of that size.
    return 0
  elif [ "$km_size" -ge "$km_most" ]; then
    # In doubt it is.
    [ "$3" = tokens ] && km_other=rows || km_other=authority
  else
    case $3 in
      kubeconfig) km_kubeconfig_facts "$1" <"$2" ;;
      tokens) km_token_facts "$1" <"$2" ;;
      ca) km_ca_facts <"$2" ;;
    esac
  fi
  if [ -n "$km_other" ] && [ "$km_policy" = refuse ]; then
    km_say other "$1" "$km_other"
    km_refused=yes
  fi
}

# The first 8 hex digits of a value's SHA-256, into km_sum.
km_fingerprint() { # VALUE
  km_sum=$(printf %s "$1" | $km_hash)
  km_sum=${km_sum%"${km_sum#????????}"}
}

km_unquote() { # TEXT: into km_value
  km_value=$1
  case $km_value in
    \"*\") km_value=${km_value#\"} km_value=${km_value%\"} ;;
    \'*\') km_value=${km_value#\'} km_value=${km_value%\'} ;;
  esac
}

km_fact() { # INDEX NAME VALUE
  [ "$km_mode" != probe ] || km_say fact "$@"
}

# An address without what may be a password.
km_redact() { # URL: into km_value
  km_value=$1
  case $1 in
    *[?#]*) km_value=${1%%://*}://'[redacted]' ;;
    *@*) km_value=${1%%://*}://'[redacted]'@${1##*@} ;;
  esac
  case $1 in
    *://*) ;;
    *[?#@]*) km_value='[redacted]' ;;
  esac
}

# Only public values leave the host, and the fingerprint of the token.
km_kubeconfig_facts() { # INDEX
  km_seen=
  km_next=
  while IFS= read -r km_line || [ -n "$km_line" ]; do
    km_line=${km_line%"$km_cr"}
    km_line=${km_line#"${km_line%%[! ]*}"}
    km_line=${km_line#- }
    case $km_line in
      '#'*) continue ;;
    esac
    # The value of a key may begin on the line below it.
    case $km_next:$km_line in
      yes: | yes:*[!A-Za-z0-9+/=]*) ;;
      yes:*) km_authority "$1" "$km_line" ;;
    esac
    km_next=
    km_text=$km_line
    while :; do
      case $km_text in
        *certificate-authority-data*)
          km_text=${km_text#*certificate-authority-data}
          km_authority "$1" "$km_text"
          ;;
        *) break ;;
      esac
    done
    case $km_seen in
      *" ${km_line%%:*} "*) continue ;;
    esac
    km_unquote "${km_line#*: }"
    case $km_line in
      'server: '*)
        km_redact "$km_value"
        km_fact "$1" server "$km_value"
        ;;
      'client-certificate-data: '*) km_fact "$1" certificate "$km_value" ;;
      'token: '*)
        if [ "$km_mode" = probe ]; then
          km_fingerprint "$km_value"
          km_fact "$1" token "$km_sum"
        fi
        ;;
      *) continue ;;
    esac
    km_seen="$km_seen ${km_line%%:*} "
  done
}

# Takes the base64 at the front of TEXT for the data of a CA. km_next: there is none, look on the next line.
km_authority() { # INDEX TEXT
  km_value=$2
  km_value=${km_value#"${km_value%%[A-Za-z0-9+/=]*}"}
  km_value=${km_value%%[!A-Za-z0-9+/=]*}
  case $km_value in
    null) return ;;
    '')
      km_next=yes
      return
      ;;
  esac
  case $km_seen in
    *' authority '*) ;;
    *) km_fact "$1" authority "$km_value" ;;
  esac
  km_seen="$km_seen authority "
  [ -n "$km_our_ca" ] && [ -z "$km_other" ] || return 0
  case $km_our_ca/$km_next in
    "$km_value/" | "$km_value"*/yes) ;;
    *) km_other="authority $km_value" ;;
  esac
}

# The certificates of a PEM file without their line breaks.
km_ca_facts() {
  km_value=
  km_next=
  while IFS= read -r km_line || [ -n "$km_line" ]; do
    km_line=${km_line%"$km_cr"}
    case $km_line in
      '-----BEGIN '*) km_next=yes ;;
      '-----END '*)
        km_next=
        km_value=$km_value.
        ;;
      *) [ -z "$km_next" ] || km_value=$km_value$km_line ;;
    esac
  done
  [ -z "$km_our_pem" ] || [ -z "$km_value" ] || [ "$km_value" = "$km_our_pem" ] || km_other="authority ${km_value%%.*}"
}

# Cuts the first field off km_line, which is a row of comma-separated values, into km_value.
km_field() {
  case $km_line in
    \"*)
      km_line=${km_line#\"}
      km_value=
      while :; do
        case $km_line in
          *\"*) ;;
          *) return 1 ;;
        esac
        km_value=$km_value${km_line%%\"*}
        km_line=${km_line#*\"}
        case $km_line in
          \"*) km_value=$km_value\" km_line=${km_line#\"} ;;
          ,*)
            km_line=${km_line#,}
            return 0
            ;;
          '') return 0 ;;
          *) return 1 ;;
        esac
      done
      ;;
    *,*) km_value=${km_line%%,*} km_line=${km_line#*,} ;;
    *) km_value=$km_line km_line= ;;
  esac
}

# A row's user is named when it is one of ours only: in a damaged row anything may stand there, the token too.
km_token_facts() { # INDEX
  km_shown=0
  while IFS= read -r km_line || [ -n "$km_line" ]; do
    km_line=${km_line%"$km_cr"}
    case $km_line in
      *,*) ;;
      *) continue ;;
    esac
    # A row that cannot be read, such as one that goes on in the next line, is not one of ours.
    if ! km_field; then
      km_rows=$((km_rows + 1))
      continue
    fi
    km_token=$km_value
    if ! km_field; then
      km_rows=$((km_rows + 1))
      continue
    fi
    case $km_our_users in
      *"$km_newline$km_value$km_newline"*) km_known="is $km_value" ;;
      *)
        km_known=
        # A row of one node's own, by a name that a node may have.
        case $km_value in
          "${km_our_below:-,}"*[!a-z0-9.-]* | "${km_our_below:-,}") ;;
          "${km_our_below:-,}"*) km_known="is $km_value" ;;
        esac
        [ -z "$km_value" ] || [ -n "$km_known" ] || km_rows=$((km_rows + 1))
        ;;
    esac
    if [ "$km_mode" = probe ] && [ "$km_shown" -lt 50 ]; then
      if [ -z "$km_known" ]; then
        km_fingerprint "$km_value"
        km_known="other $km_sum"
      fi
      km_fingerprint "$km_token"
      km_say fact "$1" row "$km_sum" "$km_known"
      km_shown=$((km_shown + 1))
    fi
  done
  [ "$km_rows" -eq 0 ] || [ -z "$km_our_users" ] || km_other="rows $km_rows"
}

km_go_unless_refused() {
  [ -z "$km_refused" ] || km_quit
}

km_quit_unless_due() {
  [ -z "$km_due" ] || return 0
  km_i=0
  while [ "$km_i" -lt "$km_count" ]; do
    km_say "done" "$km_i" same -
    km_i=$((km_i + 1))
  done
  km_quit
}

# A host is given no certificate that its own clock calls expired or not yet valid. Asked only where something is to be
# written, since it takes a fork. A clock that cannot be read is nobody's fault here.
km_check_clock() { # NOT-BEFORE NOT-AFTER INDEX...
  km_from=$1 km_until=$2
  shift 2
  km_list=
  for km_index; do
    eval "km_list=\$km_list\${km_state_$km_index:-}"
  done
  case $km_list in
    *create* | *update*) ;;
    *) return 0 ;;
  esac
  km_now=$(date +%s) || return 0
  case $km_now in
    '' | *[!0-9]*) return 0 ;;
  esac
  km_say clock "$km_now"
  if [ "$km_now" -lt "$km_from" ] || [ "$km_now" -gt "$km_until" ]; then
    km_say untimely
    km_quit
  fi
}

# A larger file would be cut off by the limit of whoever runs this shell. Told in whole units of 512 bytes (POSIX, ulimit), by
# bash too: it is in POSIX mode.
km_check_limit() { # for each file: INDEX SIZE
  km_ceiling=$(ulimit -f 2>/dev/null)
  case $km_ceiling in
    '' | *[!0-9]* | ????????*) return 0 ;;
  esac
  km_ceiling=$((km_ceiling * 512 + 511))
  while [ $# -gt 0 ]; do
    eval "km_state=\${km_state_$1:-}\${km_shared_$1:-} km_copied=\${km_loose_$1:+copy} km_size=\${km_size_$1:-0}"
    case $km_state/$km_copied in
      create* | update*/ | repair-shared*) km_size=$2 ;;
      # Its old version is copied.
      update*) [ "$km_size" -ge "$2" ] && [ "$km_size" -le "$km_largest" ] || km_size=$2 ;;
      *) km_size=0 ;;
    esac
    if [ "$km_size" -gt "$km_ceiling" ]; then
      km_say limited "$1" "$km_ceiling"
      km_refused=yes
    fi
    shift 2
  done
  km_go_unless_refused
}

# Goes to DIR again, which must be there. If it was left in between, the way is judged again; if not, the names we use are
# in the directory that was judged, whatever becomes of the way to it.
km_return() { # DIRECTORY-INDEX ROOT DIR
  if [ "$km_here" = "$1" ]; then
    # shellcheck disable=SC3013 # dash, bash and busybox have -ef
    if [ ! . -ef "$PWD" ]; then
      # By their paths, km_cleanup would not find them any more.
      set +f
      rm -f "./.kubemint-$km_nonce-"*.tmp || km_changed=yes
      set -f
      [ -d "$PWD" ] || km_fail_dir "$1" enter
      km_refuse_dir "$1" unsafe "$PWD was exchanged"
    fi
  else
    km_enter "$@"
    [ -n "$km_refused" ] || [ -z "$km_rest" ] || km_fail_dir "$1" enter
    [ -n "$km_refused" ] || km_judge_here "$1"
  fi
  km_go_unless_refused
  km_here=$1
}

# Goes to DIR, makes what is missing of it, and sweeps what a killed run left.
km_open() { # DIRECTORY-INDEX ROOT DIR
  km_number=$1
  [ "$km_here" = "$1" ] || km_make "$@"
  km_return "$@"
  set +f
  for km_stale in ./.kubemint-*.tmp ./Cu??????; do
    case $km_stale in
      "./.kubemint-$km_nonce-"*) continue ;;
    esac
    if km_is_stale; then
      km_changed=yes
      km_sweep
    fi
  done
  set -f
}

# The version that a killed rollback took out of its place is the one to be kept: it had put the kept one there already, so
# that both names are of one file.
km_sweep() {
  case $km_stale in
    ./.kubemint-*-previous-*.tmp)
      km_name=${km_stale#./.kubemint-*-previous-}
      km_name=${km_name%.tmp}
      km_previous=./.$km_name.kubemint-previous
      # shellcheck disable=SC3013 # dash, bash and busybox have -ef
      if [ "./$km_name" -ef "$km_previous" ] && ! [ "./$km_name" -ef "$km_stale" ]; then
        mv -f "$km_stale" "$km_previous" && return
      fi
      ;;
  esac
  rm -f "$km_stale"
}

km_make() { # DIRECTORY-INDEX ROOT DIR
  km_enter "$@"
  [ -n "$km_refused" ] || km_judge_here "$1"
  km_go_unless_refused
  while [ -n "$km_rest" ]; do
    km_part=${km_rest%%/*}
    case $km_part in
      '' | .) ;;
      *)
        # By -m and not the umask alone: a default ACL above takes the umask's place.
        # Another host of this machine may have made it in the meantime: it is judged below.
        if mkdir -m 700 "./$km_part"; then
          eval "km_dir_$km_dirs=\${PWD%/}/\$km_part"
          km_dirs=$((km_dirs + 1))
        elif [ -d "./$km_part" ]; then
          # Whose it is cannot be told: a mkdir that may not set the mode fails after it has made it.
          km_changed=yes
        else
          km_fail_dir "$1" mkdir
        fi
        sync . || km_fail_dir "$1" sync
        cd -P "./$km_part" || km_fail_dir "$1" enter
        ;;
    esac
    km_shift_rest
  done
}

# Directories that were made, the last one first. One in which something lies by now stays.
km_unmake() {
  while [ "$km_dirs" -gt 0 ]; do
    km_dirs=$((km_dirs - 1))
    eval "km_path=\$km_dir_$km_dirs"
    rmdir "$km_path" 2>/dev/null || km_changed=yes
  done
}

# Empty temporary files first, so that no byte is written to one that others may read (default ACLs, setgid, file systems
# that know no modes).
km_create() { # INDEX...
  km_new=
  km_list=
  for km_index; do
    eval "km_state=\${km_state_$km_index:-}\${km_shared_$km_index:-}"
    case $km_state in
      create | update | update-shared | repair-shared) ;;
      *) continue ;;
    esac
    km_temp=./.kubemint-$km_nonce-$km_index.tmp
    set -C
    printf '' >"$km_temp" || km_fail "$km_index" create
    set +C
    km_note "$km_temp"
    eval "km_temp_$km_index=\$km_temp"
    km_new="$km_new $km_temp"
  done
  eval "km_sure=\${km_sure_$km_number:-}"
  [ -n "$km_new" ] && [ -z "$km_sure" ] || return 0
  # shellcheck disable=SC2086 # our names hold no blanks
  km_made=$(ls -ldn $km_new) || km_fail "$km_index" look
  for km_temp in $km_new; do
    km_list=$km_made
    km_index=${km_temp##*-}
    km_index=${km_index%.tmp}
    km_pick "$km_temp"
    km_is_private || km_restrict "$km_index" "$km_temp"
  done
}

# Gives the file that km_pick has looked at our owner and mode, and nobody else any right.
km_restrict() { # INDEX NAME
  case $km_perms in
    *+) setfacl -b "$2" || km_fail "$1" acl ;;
  esac
  if [ "$km_owner:$km_group" != "$km_uid:$km_gid" ]; then
    if [ "$km_uid" = 0 ]; then
      chown "$km_uid:$km_gid" "$2" || km_fail "$1" chown
    else
      chgrp "$km_gid" "$2" || km_fail "$1" chown
    fi
  fi
  chmod 600 "$2" || km_fail "$1" chmod
  km_all=$(ls -ldn "$2")
  km_confirm "$1" "$2"
}

km_stage() { # INDEX CONTENT
  eval "km_temp=\${km_temp_$1:-}"
  [ -n "$km_temp" ] || return 0
  printf %s "$2" >"$km_temp" && return
  # Not every shell's printf says why: dd does.
  dd if=/dev/zero of="$km_temp" bs=65536 count=1
  km_fail "$1" write
}

# Nothing is renamed before every byte of it has been read back.
km_flush() { # for each file: INDEX SHA256
  [ -n "$km_new" ] || return 0
  # shellcheck disable=SC2086 # our names hold no blanks
  sync $km_new || km_fail "$1" sync
  # shellcheck disable=SC2086
  km_sums=$($km_hash $km_new)
  while [ $# -gt 0 ]; do
    eval "km_temp=\${km_temp_$1:-}"
    if [ -n "$km_temp" ]; then
      km_pick_sum "$km_temp"
      [ "$km_sum" = "$2" ] || km_fail "$1" digest
      eval "km_sum_$1=\$km_sum"
    fi
    shift 2
  done
}

# From here to km_heed no signal stops the work, nor a program it calls.
km_hold() { trap '' HUP INT TERM; }

# A second name of a file; or, where others may have rights to it or hold it open, a copy that is ours alone. The file itself
# stays as it is. One that is too large for a copy is made ours when it is out of use.
km_double() { # INDEX NAME NEW-NAME link|copy|large
  km_note "$3"
  if [ "$4" != copy ]; then
    ln "$2" "$3" || km_fail "$1" link
    return 0
  fi
  set -C
  printf '' >"$3" || km_fail "$1" create
  set +C
  km_list=$(ls -ldn "$3") || km_fail "$1" look
  km_pick "$3"
  km_is_private || km_restrict "$1" "$3"
  cat "$2" >"$3" || km_fail "$1" copy
  # Which of two versions is the older counts where nothing else tells.
  touch -r "$2" "$3" 2>/dev/null || :
  sync "$3" || km_fail "$1" sync
}

# Before anything is changed: what shall be the kept version lies ready under a temporary name, and the one kept so far has a
# second name, by which it comes back if the swap fails. One of the right content that others could write to is not kept.
km_keep() { # INDEX NAME
  eval "km_state=\${km_state_$1:-} km_loose=\${km_loose_$1:-} km_size=\${km_size_$1:-0}"
  [ "$km_state" = update ] || return 0
  km_previous=./.$2.kubemint-previous
  km_how='link'
  if [ -n "$km_loose" ]; then
    km_how='copy'
    [ "$km_size" -le "$km_largest" ] || km_how=large
  fi
  # shellcheck disable=SC3013 # dash, bash and busybox have -ef; a killed run may have kept it already
  [ $km_how = link ] && [ "./$2" -ef "$km_previous" ] && return
  [ ! -d "$km_previous" ] || km_fail "$1" previous
  eval "km_kept_$1=./.kubemint-$km_nonce-$1-kept.tmp km_how_$1=$km_how"
  km_double "$1" "./$2" "./.kubemint-$km_nonce-$1-kept.tmp" "$km_how"
  if [ -f "$km_previous" ] && [ ! -L "$km_previous" ]; then
    km_double "$1" "$km_previous" "./.kubemint-$km_nonce-$1-older.tmp" link
    eval "km_older_$1=yes"
  fi
}

# The version to be replaced becomes the kept one first: at every moment a file that is new has its old version beside it.
# What fails takes the kept one back, so that a file that is old has what it had.
km_swap() { # INDEX NAME
  eval "km_state=\${km_state_$1:-} km_temp=\${km_temp_$1:-} km_kept=\${km_kept_$1:-} km_how=\${km_how_$1:-}"
  if [ -z "$km_temp" ]; then
    [ "$km_state" != repair ] || km_repair "$1" "./$2"
    return 0
  fi
  km_previous=./.$2.kubemint-previous
  [ -z "$km_kept" ] || [ ! -d "$km_previous" ] || km_fail "$1" previous
  km_odd=
  if [ -L "$km_previous" ] || { [ -e "$km_previous" ] && ! [ -f "$km_previous" ]; }; then
    km_odd=yes
  fi
  km_before=$km_changed
  km_changed=yes
  if { [ -n "$km_kept" ] && ! mv -f "$km_kept" "$km_previous"; } || ! mv -f "$km_temp" "./$2"; then
    [ ! -f "$km_temp" ] || km_keep_older "$1"
    km_fail "$1" rename
  fi
  [ "$km_how" != large ] || km_repair "$1" "$km_previous"
}

# The swap of this file did not happen. A mv that fails may have renamed all the same, as when it was killed right after it.
km_keep_older() { # INDEX
  km_older=./.kubemint-$km_nonce-$1-older.tmp
  eval "km_had=\${km_older_$1:-}"
  if [ -z "$km_kept" ]; then
    :
  elif [ -n "$km_odd" ]; then
    return 0
  elif [ -f "$km_older" ]; then
    # shellcheck disable=SC3013 # dash, bash and busybox have -ef
    [ "$km_older" -ef "$km_previous" ] || mv -f "$km_older" "$km_previous" || return 0
  elif [ -n "$km_had" ]; then
    # Another run has swept it: what has the name now stays.
    return 0
  else
    [ ! -e "$km_previous" ] || rm -f "$km_previous" || return 0
  fi
  km_changed=$km_before
}

# In its place: where nobody else could have written to it, or where it is out of use.
km_repair() { # INDEX NAME
  km_list=$(ls -ldn "$2") || km_fail "$1" look
  km_pick "$2"
  km_is_private && return
  km_changed=yes
  km_restrict "$1" "$2"
}

km_settle() { # for each file: INDEX NAME
  eval "km_sure=\${km_sure_$km_here:-}"
  km_names=
  km_suspects=
  km_index=$1
  km_sort_files "$@"
  [ -z "$km_names" ] || sync . || km_fail "$km_index" sync
  # shellcheck disable=SC2086 # our names hold no blanks
  [ -z "$km_suspects" ] || km_all=$(ls -ldn $km_suspects)
  while [ $# -gt 0 ]; do
    eval "km_state=\${km_state_$1:-} km_sum=\${km_sum_$1:--}"
    case " $km_suspects " in
      *" ./$2 "*) km_confirm "$1" "./$2" ;;
    esac
    [ -f "./$2" ] && [ ! -L "./$2" ] || km_fail "$1" attributes
    km_say "done" "$1" "$km_state" "$km_sum"
    shift 2
  done
}

# Some file systems take chmod and chown and forget them.
km_confirm() { # INDEX NAME
  km_list=$km_all
  km_pick "$2"
  km_is_private && return
  printf '%s\n' "it is $km_perms $km_owner:$km_group"
  km_fail "$1" attributes
}

# km_names: what was worked on; km_suspects: of that, what may have another owner or mode than it was given.
km_sort_files() {
  while [ $# -gt 0 ]; do
    eval "km_state=\${km_state_$1:-}"
    case $km_state in
      create | update | repair) km_names="$km_names ./$2" ;;
    esac
    case $km_state/$km_sure in
      create/ | update/ | repair/*) km_suspects="$km_suspects ./$2" ;;
    esac
    shift 2
  done
}
