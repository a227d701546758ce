# shellcheck shell=sh
# What kubemint runs on a host to put the kept version of files back. It is sent after install.sh, whose functions it
# calls, and obeys the same rules: all targets of a host are judged before one is changed, each file changes places with
# its kept version by renames, and no signal stops that halfway.
#
# A kill between the two renames leaves both names on the version that was put back: a second run finds it in its place.
# shellcheck disable=SC2034,SC2154 # states are set by install.sh, or through eval with an index

# Each file has two temporary names, which km_cleanup removes: one of its index, one of km_half more.
km_count_twice() {
  km_half=$km_count
  km_host_way=
  km_count=$((km_count * 2))
}

# Right after km_look of the same directory, whose files these are. Decides what km_do there is: swap, lone, drop, leave.
# HOW is swap (with the kept version), drop (the file goes), or any (swap, whatever the file holds now). INSTALLED is what
# the file must hold, REPLACED what its kept version must, or - where that is not known.
km_weigh() { # DIRECTORY-INDEX, then for each file: INDEX NAME HOW INSTALLED REPLACED
  km_work=$1
  shift
  km_kept=
  km_kept_sums=
  km_open_to_others=
  [ -n "$km_rest" ] || km_find_kept "$@"
  [ -z "$km_kept" ] || km_hash_kept
  while [ $# -gt 0 ]; do
    eval "km_state=\${km_state_$1:-}"
    # Without a state it was refused already.
    [ -z "$km_state" ] || km_decide "$@"
    shift 5
  done
}

km_find_kept() {
  while [ $# -gt 0 ]; do
    eval "km_state=\${km_state_$1:-}"
    km_previous=./.$2.kubemint-previous
    if [ -z "$km_state" ] || [ "$3" = drop ]; then
      :
    elif [ -L "$km_previous" ] || { [ -e "$km_previous" ] && [ ! -f "$km_previous" ]; }; then
      km_refuse_kept "$1" unusable
      eval "km_state_$1="
    elif [ -f "$km_previous" ]; then
      km_kept="$km_kept $km_previous"
    fi
    shift 5
  done
}

# One that is huge is not read: it is known by its name alone, and its sum is `huge`.
km_hash_kept() {
  # shellcheck disable=SC2086 # our names hold no blanks
  km_list=$(ls -ldn $km_kept) || km_fail_dir "$km_work" look
  km_held=$km_names
  km_names=$km_kept
  km_sort_by_size
  km_names=$km_held
  # shellcheck disable=SC2086
  [ -z "$km_small" ] || km_kept_sums=$($km_hash $km_small)
  for km_name in $km_kept; do
    case " $km_small " in
      *" $km_name "*) continue ;;
    esac
    km_kept_sums="$km_kept_sums${km_kept_sums:+$km_newline}huge $km_name"
    km_pick "$km_name"
    ! km_is_shared || km_open_to_others="$km_open_to_others $km_name"
  done
}

km_refuse_kept() { # INDEX WHY
  km_say kept "$@"
  km_refused=yes
}

# shellcheck disable=SC3013 # dash, bash and busybox have -ef
km_decide() { # INDEX NAME HOW INSTALLED REPLACED
  km_now=none
  if [ "$km_state" != create ]; then
    km_pick_sum "./$2"
    km_now=$km_sum
  fi
  km_found=${km_sums:-}
  km_sums=$km_kept_sums
  km_pick_sum "./.$2.kubemint-previous"
  km_sums=$km_found
  km_do=leave
  case $3/$km_now in
    drop/none) ;;
    "drop/$4") km_do=drop ;;
    "swap/$4")
      case $km_sum/$5 in
        -/* | "$5/$5") ;;
        */-) ;;
        *) km_sum=- ;;
      esac
      if [ "$km_sum" = - ]; then
        km_refuse_kept "$1" absent
      else
        km_do=swap
      fi
      ;;
    # It cannot be read.
    swap/- | drop/-) km_refuse_kept "$1" changed ;;
    # It was put back already.
    "swap/$5") ;;
    any/none) [ "$km_sum" = - ] || km_do=lone ;;
    any/*)
      if [ "$km_sum" != - ] && ! [ "./$2" -ef "./.$2.kubemint-previous" ]; then
        km_do=swap
        km_turn "$@"
      fi
      ;;
    *) km_refuse_kept "$1" changed ;;
  esac
  # A copy takes the place of what others may hold open for writing, and of this none can be made.
  case $km_do/$km_open_to_others' ' in
    leave/* | drop/*) ;;
    *" ./.$2.kubemint-previous "*) km_refuse_kept "$1" huge ;;
  esac
  eval "km_do_$1=\$km_do km_now_$1=\$km_now"
  [ "$km_do" = leave ] || eval "km_work_$km_work=yes"
}

# Without digests to go by, all files of a host go the same way: each to its older version, or each to its newer one. One
# that differs was exchanged alone, as by a run that was killed between two files.
# shellcheck disable=SC3013
km_turn() { # INDEX NAME
  [ "$km_sum" != "$km_now" ] || return 0
  km_way=
  [ "./$2" -nt "./.$2.kubemint-previous" ] && km_way=back
  [ "./.$2.kubemint-previous" -nt "./$2" ] && km_way=forth
  case $km_way/${km_host_way:=$km_way} in
    /* | back/back | forth/forth) ;;
    *) km_refuse_kept "$1" mixed ;;
  esac
}

# A second name for both versions, before either loses its first.
km_ready() { # INDEX NAME
  eval "km_do=\${km_do_$1:-}"
  km_previous=./.$2.kubemint-previous
  case $km_do in
    swap | lone) km_make_private "$1" "$km_previous" ;;
  esac
  [ "$km_do" = swap ] || return 0
  km_make_private "$1" "./$2"
  km_temp=./.kubemint-$km_nonce-$1.tmp
  eval "km_temp_$1=\${PWD%/}/\${km_temp#./}"
  ln "$km_previous" "$km_temp" || km_fail "$1" link
  km_temp=./.kubemint-$km_nonce-$1-previous.tmp
  eval "km_temp_$(($1 + km_half))=\${PWD%/}/\${km_temp#./}"
  ln "./$2" "$km_temp" || km_fail "$1" link
}

km_put() { # INDEX NAME
  eval "km_do=\${km_do_$1:-}"
  km_previous=./.$2.kubemint-previous
  case $km_do in
    swap)
      mv -f "./.kubemint-$km_nonce-$1.tmp" "./$2" || km_fail "$1" rename
      mv -f "./.kubemint-$km_nonce-$1-previous.tmp" "$km_previous" || km_fail "$1" rename
      eval "km_temp_$1= km_temp_$(($1 + km_half))="
      ;;
    lone) mv -f "$km_previous" "./$2" || km_fail "$1" rename ;;
    drop) rm -f "./$2" || km_fail "$1" remove ;;
  esac
}

# In the directory of these files, where there was something to do.
km_finish() { # for each file: INDEX NAME
  sync . || km_fail "$1" sync
  while [ $# -gt 0 ]; do
    eval "km_do=\${km_do_$1:-}"
    case $km_do in
      swap | lone)
        km_all=$(ls -ldn "./$2")
        km_confirm "$1" "./$2"
        km_sums=
        km_is_huge || km_sums=$($km_hash "./$2")
        km_pick_sum "./$2"
        eval "km_now_$1=\$km_sum"
        ;;
      drop) [ ! -e "./$2" ] || km_fail "$1" remove ;;
    esac
    shift 2
  done
}

km_report() { # INDEX...
  for km_index; do
    eval "km_do=\${km_do_$km_index:-} km_now=\${km_now_$km_index:-}"
    case $km_do in
      swap | lone) km_say "done" "$km_index" restored "$km_now" ;;
      drop) km_say "done" "$km_index" removed - ;;
      *) km_say "done" "$km_index" same "$km_now" ;;
    esac
  done
}
